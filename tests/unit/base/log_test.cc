#include "holdfast/base/log.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <rapidcheck.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <map>
#include <optional>
#include <sstream>
#include <thread>
#include <vector>

#include "holdfast/base/clock.h"

using namespace holdfast;
using namespace std::chrono_literals;

namespace {

class Pipe {
 public:
  Pipe() { REQUIRE(pipe(ends_.data()) == 0); }
  ~Pipe() {
    close_reader();
    close_writer();
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  int writer() const { return ends_[1]; }
  void close_reader() { close_end(ends_[0]); }
  void close_writer() { close_end(ends_[1]); }

  /// Leaves no room for a byte; returns how many bytes that took.
  std::size_t fill_up() {
    const int flags = fcntl(writer(), F_GETFL);
    REQUIRE(fcntl(writer(), F_SETFL, flags | O_NONBLOCK) == 0);
    std::size_t filled = 0;
    for (ssize_t n = 0; (n = write(writer(), "f", 1)) > 0;) filled += static_cast<std::size_t>(n);
    REQUIRE(fcntl(writer(), F_SETFL, flags) == 0);
    return filled;
  }

  /// What is there; waits for something.
  std::string read_some() {
    std::array<char, 4096> bytes{};
    const ssize_t count = read(ends_[0], bytes.data(), bytes.size());
    return std::string(bytes.data(), static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
  }

  /// Everything up to the end of the stream; every writer must be closed or about to be.
  std::string read_all() {
    std::string text;
    std::array<char, 4096> bytes{};
    for (ssize_t n = 0; (n = read(ends_[0], bytes.data(), bytes.size())) > 0;) {
      text.append(bytes.data(), static_cast<std::size_t>(n));
    }
    return text;
  }

 private:
  static void close_end(int& end) {
    if (end >= 0) close(end);
    end = -1;
  }
  std::array<int, 2> ends_{};
};

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::string numbered_line(int number) {
  return "line " + std::to_string(number) + " " + std::string(200, 'x') + "\n";
}

// Fills the sink until it drops a line; returns how many lines it took.
int fill(LogSink& sink) {
  int accepted = 0;
  while (sink.append(numbered_line(accepted))) ++accepted;
  return accepted;
}

std::string logged(LogLevel threshold, LogFormat format, LogLevel level, std::string_view message,
                   std::initializer_list<LogField> fields = {}) {
  Pipe pipe;
  {
    LogSink sink(pipe.writer());
    Logger(sink, threshold, format).log(level, message, fields);
  }
  pipe.close_writer();
  return pipe.read_all();
}

}  // namespace

TEST_CASE("a reader that has stopped never blocks append, and lines are dropped and counted") {
  Pipe pipe;
  const std::size_t filled = pipe.fill_up();
  std::optional<LogSink> sink(pipe.writer());
  const int accepted = fill(*sink);
  CHECK(sink->dropped() == 1);
  CHECK_FALSE(sink->append(numbered_line(0)));
  CHECK(sink->dropped() == 2);
  CHECK(static_cast<std::size_t>(accepted) * 200 <= LogSink::max_buffered + 65536);

  SUBCASE("when it reads again it gets every accepted line, whole and in order") {
    std::thread stopping([&] {
      sink.reset();
      pipe.close_writer();
    });
    const std::vector<std::string> lines = lines_of(pipe.read_all().substr(filled));
    stopping.join();
    REQUIRE(lines.size() == static_cast<std::size_t>(accepted));
    for (int i = 0; i < accepted; ++i) {
      REQUIRE(lines[static_cast<std::size_t>(i)] + "\n" == numbered_line(i));
    }
  }
  SUBCASE("when it does not, the sink gives up after a second") {
    const SystemClock clock;
    const TimePoint start = clock.now();
    sink.reset();
    CHECK(clock.now() - start < 5s);
  }
}

TEST_CASE("a file gets every line, whole and in order") {
  std::FILE* file = std::tmpfile();
  REQUIRE(file != nullptr);
  constexpr int lines = 2000;  // more than is gathered before a write
  {
    LogSink sink(fileno(file));
    for (int i = 0; i < lines; ++i) REQUIRE(sink.append(numbered_line(i)));
  }
  std::rewind(file);
  std::string text;
  std::array<char, 4096> bytes{};
  while (const std::size_t count = std::fread(bytes.data(), 1, bytes.size(), file)) {
    text.append(bytes.data(), count);
  }
  std::fclose(file);
  const std::vector<std::string> read = lines_of(text);
  REQUIRE(read.size() == lines);
  for (int i = 0; i < lines; ++i) {
    REQUIRE(read[static_cast<std::size_t>(i)] + "\n" == numbered_line(i));
  }
}

TEST_CASE("a line that comes alone, and the last of many, are written without another") {
  Pipe pipe;
  LogSink sink(pipe.writer());
  CHECK(sink.append("alone\n"));
  CHECK(pipe.read_some() == "alone\n");
  CHECK(sink.append("soon after\n"));
  CHECK(sink.append("and last\n"));
  std::string rest = pipe.read_some();
  if (rest.size() < 20) rest += pipe.read_some();
  CHECK(rest == "soon after\nand last\n");
}

TEST_CASE("a write that blocks against all signs does not keep the sink from ending") {
  // To this one 1 can be added still, so that poll(2) calls it writable; but not what the eight
  // characters of the line stand for.
  const int counter = eventfd(0, 0);
  REQUIRE(counter >= 0);
  std::uint64_t number = UINT64_MAX - 2;
  REQUIRE(write(counter, &number, sizeof number) == sizeof number);
  const SystemClock clock;
  const TimePoint start = clock.now();
  {
    LogSink sink(counter);
    CHECK(sink.append("blocked\n"));
  }
  CHECK(clock.now() - start < 5s);
  // Lets the writer go: what it was about to write can be read then.
  REQUIRE(read(counter, &number, sizeof number) == sizeof number);
  REQUIRE(read(counter, &number, sizeof number) == sizeof number);
  CHECK(std::memcmp(&number, "blocked\n", sizeof number) == 0);
  close(counter);
}

TEST_CASE("the descriptor may be non-blocking") {
  Pipe pipe;
  REQUIRE(fcntl(pipe.writer(), F_SETFL, O_NONBLOCK) == 0);
  std::optional<LogSink> sink(pipe.writer());
  const int accepted = fill(*sink);
  std::thread stopping([&] {
    sink.reset();
    pipe.close_writer();
  });
  CHECK(lines_of(pipe.read_all()).size() == static_cast<std::size_t>(accepted));
  stopping.join();
}

TEST_CASE("lines for a reader that is gone are dropped and counted, and kill nobody") {
  Pipe pipe;
  pipe.close_reader();
  LogSink sink(pipe.writer());
  REQUIRE(sink.append("lost\nand lost\n"));
  while (sink.dropped() < 2) std::this_thread::yield();
  CHECK(sink.dropped() == 2);
}

TEST_CASE("a line larger than the buffer is dropped") {
  Pipe pipe;
  LogSink sink(pipe.writer());
  CHECK_FALSE(sink.append(std::string(LogSink::max_buffered + 1, 'x')));
  CHECK(sink.dropped() == 1);
}

TEST_CASE("a line larger than one write arrives whole") {
  Pipe pipe;
  const std::string line = std::string(50000, 'y') + "\n";
  {
    LogSink sink(pipe.writer());
    CHECK(sink.append(line));
  }
  pipe.close_writer();
  CHECK(pipe.read_all() == line);
}

TEST_CASE("threads and sinks that share a pipe do not mix their lines") {
  Pipe pipe;
  constexpr int lines_each = 2000;
  std::thread writing([&] {
    LogSink one(pipe.writer());
    LogSink two(pipe.writer());
    std::vector<std::thread> threads;
    for (LogSink* sink : {&one, &one, &two}) {
      const std::string who = std::to_string(threads.size());
      threads.emplace_back([sink, who] {
        for (int i = 0; i < lines_each; ++i) {
          sink->append(who + " " + std::to_string(i) + " " + std::string(60, 'z') + "\n");
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(one.dropped() + two.dropped() == 0);
  });
  std::thread closing([&] {
    writing.join();
    pipe.close_writer();
  });
  const std::vector<std::string> lines = lines_of(pipe.read_all());
  closing.join();

  std::map<std::string, int> next;
  for (const std::string& line : lines) {
    const std::string who = line.substr(0, 1);
    REQUIRE(line == who + " " + std::to_string(next[who]++) + " " + std::string(60, 'z'));
  }
  CHECK(lines.size() == 3 * lines_each);
}

TEST_CASE("a log line is one JSON object") {
  const std::string line = logged(LogLevel::info, LogFormat::json, LogLevel::warn, "said \"no\"",
                                  {{"file", "a\nb"}, {"size", std::int64_t{-5}}, {"route", "r"}});
  const std::string_view time = std::string_view(line).substr(0, 35);
  CHECK(time.substr(0, 9) == R"({"time":")");
  CHECK(time[19] == 'T');
  CHECK(time.substr(32) == R"(Z",)");
  CHECK(line.substr(35) ==
        R"("level":"warn","message":"said \"no\"","file":"a\nb","size":-5,"route":"r"})"
        "\n");
}

TEST_CASE("a log line in text is readable and stays one line") {
  const std::string line = logged(
      LogLevel::debug, LogFormat::text, LogLevel::error, "said \"no\"\nforged",
      {{"file", "a b"}, {"count", 3}, {"plain", "x/y:1"}, {"empty", ""}, {"sly", "a\nb=\"c"}});
  CHECK(line.substr(24) ==
        " error said \"no\" forged file=\"a b\" count=3 plain=x/y:1 empty=\"\" "
        "sly=\"a\\nb=\\\"c\"\n");
}

TEST_CASE("lines below the level are not written, and the level can change") {
  CHECK(logged(LogLevel::warn, LogFormat::json, LogLevel::info, "quiet").empty());
  CHECK_FALSE(logged(LogLevel::warn, LogFormat::json, LogLevel::warn, "loud").empty());

  Pipe pipe;
  {
    LogSink sink(pipe.writer());
    Logger logger(sink, LogLevel::error, LogFormat::json);
    logger.log(LogLevel::debug, "before");
    logger.configure(LogLevel::debug, LogFormat::text);
    logger.log(LogLevel::debug, "after");
  }
  pipe.close_writer();
  CHECK(pipe.read_all().substr(24) == " debug after\n");
}

TEST_CASE("every level has its name") {
  CHECK(name(LogLevel::debug) == "debug");
  CHECK(name(LogLevel::info) == "info");
  CHECK(name(LogLevel::warn) == "warn");
  CHECK(name(LogLevel::error) == "error");
}

TEST_CASE("times are RFC 3339 in UTC with milliseconds, cut and not rounded") {
  using namespace std::chrono;
  const auto text = [](WallTime time) {
    std::string out = "at ";
    out += rfc3339(time);
    return out;
  };
  CHECK(text(WallTime{}) == "at 1970-01-01T00:00:00.000Z");
  CHECK(text(sys_days(2026y / January / 2) + 3h + 4min + 5s + 678ms) ==
        "at 2026-01-02T03:04:05.678Z");
  CHECK(text(sys_days(2024y / February / 29) + 23h + 59min + 59s + 999999999ns) ==
        "at 2024-02-29T23:59:59.999Z");
  CHECK(text(sys_days(1969y / December / 31) + 23h) == "at 1969-12-31T23:00:00.000Z");
}
