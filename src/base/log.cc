#include "holdfast/base/log.h"

#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <condition_variable>
#include <mutex>

#include "holdfast/base/clock.h"
#include "holdfast/base/text.h"

namespace holdfast {
namespace {

// Lines that come in quick succession are written together: a wake-up and a write(2) for each would
// cost more than the line. One that comes alone goes out at once.
constexpr Duration between_writes = std::chrono::milliseconds(10);
constexpr std::size_t enough_to_write = 32 * 1024;

constexpr Duration stop_within = std::chrono::seconds(1);
constexpr Duration stop_grace = std::chrono::milliseconds(500);
constexpr Duration poll_slice = std::chrono::milliseconds(100);

TimePoint now() {
  return SystemClock().now();
}

// What one write(2) is given: at most PIPE_BUF bytes, which a pipe that polls as writable takes
// without blocking and without mixing them with another writer's; whole lines where they fit.
std::string_view next_piece(std::string_view text) {
  if (text.size() <= PIPE_BUF) return text;
  const std::size_t newline = text.rfind('\n', PIPE_BUF - 1);
  return text.substr(0, newline == std::string_view::npos ? std::size_t{PIPE_BUF} : newline + 1);
}

// A file never makes its writer wait for a reader.
bool is_file(int fd) {
  struct stat status;
  return ::fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
}

// Signals belong to the other threads; and a SIGPIPE that is blocked here is only an EPIPE.
void block_signals_in_this_thread() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
}

}  // namespace

/// The buffer and what empties it. Belongs to the sink and to the writing thread, whichever is
/// later.
class LogSink::Writer {
 public:
  explicit Writer(int fd) : fd_(fd), is_file_(is_file(fd)) {}

  bool append(std::string_view line);
  std::uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }
  /// Tells the thread to end. False if it has not ended in time: a write(2) holds it.
  bool stop();
  /// The thread.
  void run();

 private:
  void write_all(std::string_view text);
  bool wait_writable();
  Duration time_to_stop();

  const int fd_;
  const bool is_file_;
  std::atomic<std::uint64_t> dropped_{0};
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable ended_wake_;
  std::string pending_;
  std::size_t writing_ = 0;  // bytes the thread has taken out of pending_ and not finished
  bool stopping_ = false;
  bool ended_ = false;
  TimePoint stop_deadline_{};
};

LogSink::LogSink(int fd)
    : writer_(std::make_shared<Writer>(fd)), thread_([writer = writer_] { writer->run(); }) {}

LogSink::~LogSink() {
  if (writer_->stop()) {
    thread_.join();
  } else {
    thread_.detach();
  }
}

bool LogSink::append(std::string_view line) {
  return writer_->append(line);
}

std::uint64_t LogSink::dropped() const {
  return writer_->dropped();
}

bool LogSink::Writer::stop() {
  std::unique_lock lock(mutex_);
  stop_deadline_ = after(now(), stop_within);
  stopping_ = true;
  wake_.notify_one();
  return ended_wake_.wait_for(lock, stop_within + stop_grace, [this] { return ended_; });
}

bool LogSink::Writer::append(std::string_view line) {
  std::unique_lock lock(mutex_);
  const std::size_t before = pending_.size();
  const bool fits = before + writing_ + line.size() <= max_buffered;
  if (fits) pending_.append(line);
  const std::size_t size = pending_.size();
  lock.unlock();

  if (!fits) dropped_.fetch_add(1, std::memory_order_relaxed);
  const bool is_first = before == 0 && size > 0;
  const bool is_enough = before < enough_to_write && size >= enough_to_write;
  if (is_first || is_enough) wake_.notify_one();
  return fits;
}

void LogSink::Writer::run() {
  block_signals_in_this_thread();
  std::string batch;
  TimePoint next_write = now();
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return stopping_ || !pending_.empty(); });
    wake_.wait_for(lock, next_write - now(),
                   [this] { return stopping_ || pending_.size() >= enough_to_write; });
    if (pending_.empty()) break;
    next_write = now() + between_writes;
    batch.clear();
    batch.swap(pending_);
    writing_ = batch.size();
    lock.unlock();
    write_all(batch);
    lock.lock();
    writing_ = 0;
  }
  ended_ = true;
  ended_wake_.notify_one();
}

void LogSink::Writer::write_all(std::string_view text) {
  while (!text.empty()) {
    if (!wait_writable()) break;
    const std::string_view piece = is_file_ ? text : next_piece(text);
    const ssize_t written = ::write(fd_, piece.data(), piece.size());
    if (written >= 0) {
      text.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno != EINTR && errno != EAGAIN) {
      break;
    }
  }
  const auto lost = std::ranges::count(text, '\n');
  dropped_.fetch_add(static_cast<std::uint64_t>(lost), std::memory_order_relaxed);
}

bool LogSink::Writer::wait_writable() {
  while (true) {
    const Duration patience = std::min(poll_slice, time_to_stop());
    if (patience <= Duration::zero()) return false;
    pollfd descriptor{fd_, POLLOUT, 0};
    const auto timeout = std::chrono::ceil<std::chrono::milliseconds>(patience);
    // An error of the descriptor counts as writable: write(2) then says which one it is.
    if (::poll(&descriptor, 1, static_cast<int>(timeout.count())) > 0) return true;
  }
}

Duration LogSink::Writer::time_to_stop() {
  const std::lock_guard lock(mutex_);
  return stopping_ ? stop_deadline_ - now() : Duration::max();
}

std::string_view name(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return "debug";
    case LogLevel::info:
      return "info";
    case LogLevel::warn:
      return "warn";
    case LogLevel::error:
      break;
  }
  return "error";
}

namespace {

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  append_json_escaped(out, text);
  out += '"';
}

void append_json_line(std::string& out, LogLevel level, std::string_view message,
                      std::initializer_list<LogField> fields, WallTime time) {
  out += R"({"time":")";
  out += rfc3339(time);
  out += R"(","level":")";
  out += name(level);
  out += R"(","message":)";
  append_json_string(out, message);
  for (const LogField& field : fields) {
    out += ',';
    append_json_string(out, field.key);
    out += ':';
    if (field.is_number) {
      out += std::to_string(field.number);
    } else {
      append_json_string(out, field.text);
    }
  }
  out += "}\n";
}

bool is_plain(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return c > ' ' && c < '\x7f' && c != '"' && c != '=' && c != '\\';
  });
}

// A person reads it, so quotes stay quotes; but no value may begin a line of its own.
void append_on_one_line(std::string& out, std::string_view text) {
  for (const char c : text) out += static_cast<unsigned char>(c) < ' ' || c == '\x7f' ? ' ' : c;
}

void append_text_line(std::string& out, LogLevel level, std::string_view message,
                      std::initializer_list<LogField> fields, WallTime time) {
  out += rfc3339(time);
  out += ' ';
  out += name(level);
  out += ' ';
  append_on_one_line(out, message);
  for (const LogField& field : fields) {
    out += ' ';
    append_on_one_line(out, field.key);
    out += '=';
    if (field.is_number) {
      out += std::to_string(field.number);
    } else if (is_plain(field.text)) {
      out += field.text;
    } else {
      append_json_string(out, field.text);
    }
  }
  out += '\n';
}

}  // namespace

void Logger::log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields) {
  if (level < level_.load(std::memory_order_relaxed)) return;
  const WallTime time = SystemClock().wall_now();
  std::string line;
  if (format_.load(std::memory_order_relaxed) == LogFormat::json) {
    append_json_line(line, level, message, fields, time);
  } else {
    append_text_line(line, level, message, fields, time);
  }
  sink_.append(line);
}

namespace {

using Second = std::chrono::sys_seconds;

struct WrittenTime {
  Second second = Second::min();
  std::array<char, 24> text{};  // up to the second; the milliseconds are written each time
};

void write_digits(char* at, unsigned value, std::size_t width) {
  for (std::size_t i = width; i > 0; --i, value /= 10)
    at[i - 1] = static_cast<char>('0' + value % 10);
}

WrittenTime written(Second second) {
  const auto day = std::chrono::floor<std::chrono::days>(second);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(second - day);
  WrittenTime written{second, std::to_array("0000-00-00T00:00:00.000")};
  written.text.back() = 'Z';
  char* text = written.text.data();
  write_digits(text, static_cast<unsigned>(static_cast<int>(date.year())), 4);
  write_digits(text + 5, static_cast<unsigned>(date.month()), 2);
  write_digits(text + 8, static_cast<unsigned>(date.day()), 2);
  write_digits(text + 11, static_cast<unsigned>(clock.hours().count()), 2);
  write_digits(text + 14, static_cast<unsigned>(clock.minutes().count()), 2);
  write_digits(text + 17, static_cast<unsigned>(clock.seconds().count()), 2);
  return written;
}

}  // namespace

std::string_view rfc3339(WallTime time) {
  thread_local WrittenTime last;
  const auto second = std::chrono::floor<std::chrono::seconds>(time);
  if (second != last.second) last = written(second);
  const auto rest = std::chrono::floor<std::chrono::milliseconds>(time - second);
  write_digits(last.text.data() + 20, static_cast<unsigned>(rest.count()), 3);
  return {last.text.data(), last.text.size()};
}

}  // namespace holdfast
