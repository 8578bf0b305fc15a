#include "holdfast/net/stream.h"

#include <doctest/doctest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "holdfast/runtime/task.h"

namespace holdfast::net {
namespace {

using runtime::Task;

class ManualTimers final : public runtime::Timers {
 private:
  void wake_at(TimePoint) override {}
};

// A stream that is told by hand what arrives.
class HandStream final : public Stream {
 public:
  explicit HandStream(runtime::Timers& timers) : Stream(timers) {}
  using Stream::deliver;
  using Stream::deliver_end;
  using Stream::deliver_failure;
  using Stream::deliver_sent;
  using Stream::keep;

  using Stream::send;
  bool send(std::span<const std::string_view>) override {
    sending_ = true;
    return false;
  }
  void finish() override {}
  void abort() override {}

  std::vector<bool> reading_changes;

 private:
  void set_reading(bool reading) override { reading_changes.push_back(reading); }
};

struct Fixture {
  ManualTimers timers;
  std::unique_ptr<HandStream> stream = std::make_unique<HandStream>(timers);
};

const Error reset{ErrorType::connection_terminated, "reset"};
const TimePoint soon{std::chrono::seconds(1)};

Task<void> read_once(Stream& stream, TimePoint deadline, std::optional<bool>& result) {
  const bool in_time = co_await stream.until_input(deadline);
  result = in_time;
}
Task<void> wait_sent(Stream& stream, TimePoint deadline, std::optional<bool>& result) {
  const bool in_time = co_await stream.until_sent(deadline);
  result = in_time;
}
Task<void> wait_failed(Stream& stream, TimePoint deadline, std::optional<bool>& result) {
  const bool in_time = co_await stream.until_failed(deadline);
  result = in_time;
}

// Takes at most `at_once` bytes of each delivery, until the input is over.
Task<void> read_all(Stream& stream, std::size_t at_once, std::string& text) {
  for (;;) {
    while (stream.input().empty() && stream.open_for_input()) co_await stream.until_input(never);
    if (stream.input().empty()) co_return;
    const std::string_view taken = stream.input().substr(0, at_once);
    text += taken;
    stream.consume(taken.size());
  }
}

TEST_CASE("what nobody awaits is kept, in order, whatever was consumed between") {
  for (std::size_t consumed = 0; consumed <= 3; ++consumed) {
    Fixture f;
    f.stream->deliver("abc");
    CHECK(f.stream->input() == "abc");
    f.stream->consume(consumed);
    f.stream->deliver("def");
    CHECK(f.stream->input() == std::string("abcdef").substr(consumed));
  }
}

TEST_CASE("what is delivered does not have to outlive the call") {
  for (const std::size_t at_once : {1, 2, 5, 100}) {
    Fixture f;
    std::string text;
    Task<void> reader = read_all(*f.stream, at_once, text);
    reader.start();
    for (const char* part : {"one ", "two ", "three"}) {
      std::string bytes(part);
      f.stream->deliver(bytes);
      bytes.assign(bytes.size(), '#');
    }
    f.stream->deliver_end();
    CHECK(reader.done());
    CHECK(text == "one two three");
  }
}

Task<void> take_one_byte(Stream& stream, char& byte) {
  co_await stream.until_input(never);
  byte = stream.input().front();
  stream.consume(1);
}

// What stands on a stream: it takes two bytes of each delivery.
struct Rider final : Stream::Carried {
  explicit Rider(std::unique_ptr<HandStream>& of) : stream(of) { stream->carry(*this); }
  void on_input() override {
    ++inputs;
    if (destroys) return stream.reset();
    const std::string_view part = stream->input().substr(0, 2);
    text += part;
    stream->consume(part.size());
  }
  void on_sent() override { ++sends; }

  std::unique_ptr<HandStream>& stream;
  bool destroys = false;
  std::string text;
  int inputs = 0;
  int sends = 0;
};

TEST_CASE("what a stream carries is told instead of tasks, once for each event") {
  Fixture f;
  Rider rider(f.stream);
  f.stream->deliver("abc");
  CHECK(f.stream->input() == "c");
  f.stream->deliver("d");
  CHECK(rider.text == "abcd");
  f.stream->send("x");
  f.stream->deliver_sent();
  CHECK(rider.sends == 1);
  f.stream->deliver_end();
  f.stream->deliver_failure(reset);
  CHECK(rider.inputs == 4);
}

TEST_CASE("what a stream carries may destroy it while it is told") {
  for (int news = 0; news < 3; ++news) {
    Fixture f;
    Rider rider(f.stream);
    rider.destroys = true;
    if (news == 0) f.stream->deliver("abc");
    if (news == 1) f.stream->deliver_end();
    if (news == 2) f.stream->deliver_failure(reset);
    CHECK(f.stream == nullptr);
  }
}

TEST_CASE("the rest of a delivery is kept when its reader goes") {
  Fixture f;
  char byte = 0;
  {
    std::string bytes = "xyz";
    Task<void> reader = take_one_byte(*f.stream, byte);
    reader.start();
    f.stream->deliver(bytes);
    bytes.assign("###");
  }
  CHECK(byte == 'x');
  CHECK(f.stream->input() == "yz");
}

TEST_CASE("after the end the unread input is still there") {
  Fixture f;
  f.stream->deliver("last words");
  f.stream->deliver_end();
  CHECK(f.stream->ended());
  CHECK_FALSE(f.stream->open_for_input());
  CHECK_FALSE(f.stream->failure());
  f.stream->deliver("too late");
  CHECK(f.stream->input() == "last words");
  std::string text;
  Task<void> reader = read_all(*f.stream, 3, text);
  reader.start();
  CHECK(reader.done());
  CHECK(text == "last words");
}

TEST_CASE("after a failure the unread input is still there") {
  Fixture f;
  f.stream->deliver("half a res");
  f.stream->keep("ponse");
  f.stream->deliver_failure(reset);
  CHECK(f.stream->input() == "half a response");
  CHECK_FALSE(f.stream->open_for_input());
  CHECK_FALSE(f.stream->ended());
}

TEST_CASE("reading stops at the limit and goes on below it") {
  Fixture f;
  f.stream->deliver(std::string(Stream::read_ahead_limit - 1, 'a'));
  CHECK(f.stream->reading_changes.empty());
  f.stream->deliver("b");
  CHECK(f.stream->reading_changes == std::vector<bool>{false});
  f.stream->consume(0);
  CHECK(f.stream->reading_changes == std::vector<bool>{false});
  f.stream->consume(1);
  CHECK(f.stream->reading_changes == std::vector<bool>{false, true});
  f.stream->consume(f.stream->input().size());
  CHECK(f.stream->reading_changes == std::vector<bool>{false, true});
}

TEST_CASE("reading is not started again after the end or a failure") {
  for (const bool failed : {false, true}) {
    Fixture f;
    f.stream->deliver(std::string(Stream::read_ahead_limit, 'a'));
    failed ? f.stream->deliver_failure(reset) : f.stream->deliver_end();
    f.stream->consume(f.stream->input().size());
    CHECK(f.stream->reading_changes == std::vector<bool>{false});
  }
}

TEST_CASE("a delivery that its reader consumes at once never stops the reading") {
  Fixture f;
  std::string text;
  Task<void> reader = read_all(*f.stream, 1 << 20, text);
  reader.start();
  for (int i = 0; i < 4; ++i) f.stream->deliver(std::string(Stream::read_ahead_limit, 'a'));
  CHECK(f.stream->reading_changes.empty());
  CHECK(text.size() == 4 * Stream::read_ahead_limit);
}

TEST_CASE("the deadline of each wait is told as false") {
  Fixture f;
  f.stream->send("x");
  std::optional<bool> input;
  std::optional<bool> sent;
  std::optional<bool> failed;
  Task<void> a = read_once(*f.stream, soon, input);
  Task<void> b = wait_sent(*f.stream, soon, sent);
  Task<void> c = wait_failed(*f.stream, soon, failed);
  for (Task<void>* task : {&a, &b, &c}) task->start();
  f.timers.run_due(soon);
  CHECK(input == false);
  CHECK(sent == false);
  CHECK(failed == false);
}

TEST_CASE("who waits for what has happened does not wait") {
  Fixture f;
  std::optional<bool> sent;
  Task<void> nothing_to_send = wait_sent(*f.stream, never, sent);
  nothing_to_send.start();
  CHECK(sent == true);

  f.stream->deliver_failure(reset);
  std::optional<bool> input;
  std::optional<bool> failed;
  Task<void> a = read_once(*f.stream, never, input);
  Task<void> b = wait_failed(*f.stream, never, failed);
  a.start();
  b.start();
  CHECK(input == true);
  CHECK(failed == true);
}

TEST_CASE("a failure is told to reader, writer and watcher, whichever of them there are") {
  for (int awaited = 0; awaited < 8; ++awaited) {
    CAPTURE(awaited);
    const bool reads = (awaited & 1) != 0;
    const bool writes = (awaited & 2) != 0;
    const bool watches = (awaited & 4) != 0;
    Fixture f;
    f.stream->send("x");
    std::optional<bool> input;
    std::optional<bool> sent;
    std::optional<bool> failed;
    Task<void> reader = read_once(*f.stream, never, input);
    Task<void> writer = wait_sent(*f.stream, never, sent);
    Task<void> watcher = wait_failed(*f.stream, never, failed);
    if (reads) reader.start();
    if (writes) writer.start();
    if (watches) watcher.start();
    f.stream->deliver_failure(reset);
    CHECK(input.has_value() == reads);
    CHECK(sent.has_value() == writes);
    CHECK(failed.has_value() == watches);
    CHECK_FALSE(f.stream->sending());
    CHECK(f.stream->failure()->type == ErrorType::connection_terminated);
  }
}

TEST_CASE("the end is told to the reader only") {
  Fixture f;
  f.stream->send("x");
  std::optional<bool> input;
  std::optional<bool> sent;
  Task<void> reader = read_once(*f.stream, never, input);
  Task<void> writer = wait_sent(*f.stream, never, sent);
  reader.start();
  writer.start();
  f.stream->deliver_end();
  CHECK(input == true);
  CHECK_FALSE(sent);
  CHECK(f.stream->sending());
  f.stream->deliver_sent();
  CHECK(sent == true);
  CHECK_FALSE(f.stream->sending());
}

Task<void> destroy_after_input(std::unique_ptr<HandStream>& stream) {
  co_await stream->until_input(never);
  stream.reset();
}
Task<void> destroy_after_sent(std::unique_ptr<HandStream>& stream) {
  co_await stream->until_sent(never);
  stream.reset();
}
Task<void> destroy_after_failed(std::unique_ptr<HandStream>& stream) {
  co_await stream->until_failed(never);
  stream.reset();
}

TEST_CASE("a stream may be destroyed by whoever it wakes, at every delivery") {
  using Deliver = void (*)(HandStream&);
  const Deliver by_input[] = {[](HandStream& s) { s.deliver("bytes"); },
                              [](HandStream& s) { s.deliver_end(); },
                              [](HandStream& s) { s.deliver_failure(reset); }};
  for (const Deliver deliver : by_input) {
    Fixture f;
    Task<void> task = destroy_after_input(f.stream);
    task.start();
    deliver(*f.stream);
    CHECK(f.stream == nullptr);
  }
  const Deliver by_sent[] = {[](HandStream& s) { s.deliver_sent(); },
                             [](HandStream& s) { s.deliver_failure(reset); }};
  for (const Deliver deliver : by_sent) {
    Fixture f;
    f.stream->send("x");
    Task<void> task = destroy_after_sent(f.stream);
    task.start();
    deliver(*f.stream);
    CHECK(f.stream == nullptr);
  }
  Fixture f;
  Task<void> task = destroy_after_failed(f.stream);
  task.start();
  f.stream->deliver_failure(reset);
  CHECK(f.stream == nullptr);
}

}  // namespace
}  // namespace holdfast::net
