// ChildProcess: a program that a test starts, with its output captured line by line.
//
// Contract: the destructor kills the child it started, and no other process. A child also dies with
// the test program. Lines of an output that nobody reads stay in the pipe.
#pragma once

#include <sys/types.h>

#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/socket.h"

namespace holdfast::testing {

/// Lines that a thread reads from a pipe.
class LineLog {
 public:
  LineLog() = default;
  ~LineLog();
  LineLog(const LineLog&) = delete;
  LineLog& operator=(const LineLog&) = delete;

  /// Reads `descriptor`, which it owns from now on, to its end.
  void follow(int descriptor);
  /// Waits for the end of the pipe. REQUIRES: the writer has ended or will.
  void join();
  std::vector<std::string> lines() const;
  std::string text() const;
  /// Waits until a line has `part` in it; the line, or nullopt after `within`.
  std::optional<std::string> wait_for(std::string_view part, Milliseconds within = patience) const;

 private:
  void read_lines();

  Socket pipe_;
  std::thread reader_;
  mutable std::mutex mutex_;
  mutable std::condition_variable arrived_;
  std::vector<std::string> lines_;
};

enum class Output { captured, unread };

using Environment = std::vector<std::pair<std::string, std::string>>;

class ChildProcess {
 public:
  explicit ChildProcess(const std::vector<std::string>& command,
                        const Environment& environment = {},
                        Output standard_output = Output::captured);
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  pid_t pid() const { return pid_; }
  void signal(int number);
  bool running();
  /// The exit code, 128 + the number of the signal that ended it, or nullopt if it runs on.
  std::optional<int> wait_for_exit(Milliseconds within = patience);
  const LineLog& standard_output() const { return output_; }
  const LineLog& standard_error() const { return error_; }
  /// Resident memory now.
  std::size_t resident_bytes() const;
  /// Its address space now.
  std::size_t virtual_bytes() const;
  std::size_t open_descriptors() const;

 private:
  pid_t pid_ = -1;
  std::optional<int> exit_code_;
  Socket unread_output_;
  LineLog output_;
  LineLog error_;
};

/// A program that ran to its end.
struct CommandResult {
  int exit_code = -1;
  std::string output;
  std::string error;
};

CommandResult run_command(const std::vector<std::string>& command,
                          const Environment& environment = {});

/// All that a file holds; "" where it cannot be read.
std::string file_text(const std::string& path);

/// A folder that goes away with everything in it.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::string& path() const { return path_; }
  /// Writes a file whole, so that a reader sees the old or the new text; returns its path.
  std::string write(std::string_view name, std::string_view text) const;

 private:
  std::string path_;
};

}  // namespace holdfast::testing
