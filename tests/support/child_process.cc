#include "tests/support/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>

namespace holdfast::testing {
namespace {

struct Pipe {
  Socket read_end;
  Socket write_end;

  Pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe");
    read_end = Socket(ends[0]);
    write_end = Socket(ends[1]);
  }
};

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (std::string& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

std::vector<std::string> environment_with(const Environment& additions) {
  std::vector<std::string> all;
  for (const auto& [key, value] : additions) all.push_back(key + "=" + value);
  // Of two with one name the first counts.
  for (char** entry = environ; *entry != nullptr; ++entry) all.emplace_back(*entry);
  return all;
}

}  // namespace

LineLog::~LineLog() {
  join();
}

void LineLog::follow(int descriptor) {
  pipe_ = Socket(descriptor);
  reader_ = std::thread([this] { read_lines(); });
}

void LineLog::join() {
  if (reader_.joinable()) reader_.join();
}

void LineLog::read_lines() {
  std::string partial;
  char buffer[16384];
  for (;;) {
    const ssize_t count = ::read(pipe_.descriptor(), buffer, sizeof buffer);
    if (count <= 0) break;
    partial.append(buffer, static_cast<std::size_t>(count));
    const std::lock_guard lock(mutex_);
    for (auto end = partial.find('\n'); end != partial.npos; end = partial.find('\n')) {
      lines_.push_back(partial.substr(0, end));
      partial.erase(0, end + 1);
    }
    arrived_.notify_all();
  }
  const std::lock_guard lock(mutex_);
  if (!partial.empty()) lines_.push_back(partial);
  arrived_.notify_all();
}

std::vector<std::string> LineLog::lines() const {
  const std::lock_guard lock(mutex_);
  return lines_;
}

std::string LineLog::text() const {
  std::string all;
  for (const std::string& line : lines()) all += line + "\n";
  return all;
}

std::optional<std::string> LineLog::wait_for(std::string_view part, Milliseconds within) const {
  std::optional<std::string> found;
  std::unique_lock lock(mutex_);
  arrived_.wait_for(lock, within, [&] {
    for (const std::string& line : lines_) {
      if (line.find(part) != line.npos) found = line;
    }
    return found.has_value();
  });
  return found;
}

ChildProcess::ChildProcess(const std::vector<std::string>& command, const Environment& environment,
                           Output standard_output) {
  Pipe out;
  Pipe err;
  std::vector<std::string> words = command;
  std::vector<std::string> variables = environment_with(environment);
  const std::vector<char*> arguments = pointers(words);
  const std::vector<char*> settings = pointers(variables);
  // A signal that comes before exec must end the child, not run a handler of the test's framework
  // in a copy of this process whose other threads, and whatever they had locked, stand still.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  pid_ = ::fork();
  if (pid_ != 0) ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid_ < 0) throw std::runtime_error("fork");
  if (pid_ == 0) {
    // Only calls that are safe between fork and exec.
    for (int number = 1; number < NSIG; ++number) ::signal(number, SIG_DFL);
    ::sigprocmask(SIG_SETMASK, &before, nullptr);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::dup2(out.write_end.descriptor(), STDOUT_FILENO);
    ::dup2(err.write_end.descriptor(), STDERR_FILENO);
    ::execve(arguments[0], arguments.data(), settings.data());
    ::_exit(127);
  }
  error_.follow(::dup(err.read_end.descriptor()));
  if (standard_output == Output::captured) {
    output_.follow(::dup(out.read_end.descriptor()));
  } else {
    unread_output_ = std::move(out.read_end);
  }
}

ChildProcess::~ChildProcess() {
  if (running()) {
    signal(SIGKILL);
    wait_for_exit();
  }
}

void ChildProcess::signal(int number) {
  if (!exit_code_) ::kill(pid_, number);
}

bool ChildProcess::running() {
  return !wait_for_exit(0ms);
}

std::optional<int> ChildProcess::wait_for_exit(Milliseconds within) {
  eventually(
      [this] {
        if (exit_code_) return true;
        int status = 0;
        if (::waitpid(pid_, &status, WNOHANG) != pid_) return false;
        exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        output_.join();
        error_.join();
        return true;
      },
      within);
  return exit_code_;
}

std::size_t ChildProcess::resident_bytes() const {
  std::ifstream file("/proc/" + std::to_string(pid_) + "/statm");
  std::size_t total = 0, resident = 0;
  file >> total >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

std::size_t ChildProcess::virtual_bytes() const {
  std::ifstream file("/proc/" + std::to_string(pid_) + "/statm");
  std::size_t total = 0;
  file >> total;
  return total * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

std::size_t ChildProcess::open_descriptors() const {
  const std::filesystem::directory_iterator entries("/proc/" + std::to_string(pid_) + "/fd");
  return static_cast<std::size_t>(std::distance(begin(entries), end(entries)));
}

CommandResult run_command(const std::vector<std::string>& command, const Environment& environment) {
  ChildProcess process(command, environment);
  CommandResult result;
  result.exit_code = process.wait_for_exit().value_or(-1);
  result.output = process.standard_output().text();
  result.error = process.standard_error().text();
  return result;
}

std::string file_text(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

TemporaryFolder::TemporaryFolder() {
  path_ = (std::filesystem::temp_directory_path() / "holdfast-test-XXXXXX").string();
  if (::mkdtemp(path_.data()) == nullptr) throw std::runtime_error("mkdtemp");
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string TemporaryFolder::write(std::string_view name, std::string_view text) const {
  const std::filesystem::path target = std::filesystem::path(path_) / name;
  const std::filesystem::path draft = target.string() + ".new";
  std::ofstream(draft, std::ios::binary) << text;
  std::filesystem::rename(draft, target);
  return target.string();
}

}  // namespace holdfast::testing
