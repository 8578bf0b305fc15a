// Logging that never blocks the thread that logs. Lines go into a bounded buffer for each sink; one
// writer thread empties it with write(2). A full buffer drops the line and counts it.
//
// Contract: LogSink is thread-safe; append() holds a lock only to copy the line. Lines appear whole
// and in order for each thread. The destructor writes what is left, for about a second at most, so
// that a reader that is gone cannot keep the process: not even where another writer fills the pipe
// between our look at it and our write(2), which then blocks. Such a thread is left behind; it
// writes nothing more.
// Lines that come within a hundredth of a second of the last write go out together.
// Limits: 1 MiB of unwritten lines for each sink.
#pragma once

#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "holdfast/base/time.h"

namespace holdfast {

class LogSink {
 public:
  /// Writes to `fd`, which stays the caller's.
  explicit LogSink(int fd);
  ~LogSink();
  LogSink(const LogSink&) = delete;
  LogSink& operator=(const LogSink&) = delete;

  /// Queues one line; `line` carries its newline. Returns false if it was dropped (and counted).
  bool append(std::string_view line);
  /// Lines dropped since the start because the buffer was full or the descriptor failed.
  std::uint64_t dropped() const;

  static constexpr std::size_t max_buffered = 1u << 20;

 private:
  class Writer;

  const std::shared_ptr<Writer> writer_;  // the thread's as well
  std::thread thread_;
};

enum class LogLevel : std::uint8_t { debug, info, warn, error };
enum class LogFormat : std::uint8_t { json, text };

std::string_view name(LogLevel level);

/// One key and value of a log line. Numbers stay numbers in JSON.
struct LogField {
  LogField(std::string_view k, std::string_view v) : key(k), text(v) {}
  LogField(std::string_view k, const char* v) : key(k), text(v) {}
  LogField(std::string_view k, const std::string& v) : key(k), text(v) {}
  LogField(std::string_view k, std::int64_t v) : key(k), number(v), is_number(true) {}
  LogField(std::string_view k, int v) : LogField(k, std::int64_t{v}) {}
  LogField(std::string_view k, std::size_t v) : LogField(k, static_cast<std::int64_t>(v)) {}

  std::string_view key;
  std::string_view text;
  std::int64_t number = 0;
  bool is_number = false;
};

/// The operational log: events of the process (start, reload, breaker), on stderr.
/// Secrets never go in: no query, no Authorization, no Cookie, no key.
class Logger {
 public:
  Logger(LogSink& sink, LogLevel level, LogFormat format)
      : sink_(sink), level_(level), format_(format) {}

  void log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields = {});
  void configure(LogLevel level, LogFormat format) {
    level_ = level;
    format_ = format;
  }

 private:
  LogSink& sink_;
  std::atomic<LogLevel> level_;
  std::atomic<LogFormat> format_;
};

/// RFC 3339 in UTC with milliseconds, "2026-01-02T03:04:05.678Z". The view lasts until the next
/// call on this thread.
std::string_view rfc3339(WallTime time);

}  // namespace holdfast
