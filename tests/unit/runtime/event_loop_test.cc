#include "holdfast/runtime/event_loop.h"

#include <doctest/doctest.h>
#include <unistd.h>
#include <uv.h>

#include <atomic>
#include <csignal>
#include <functional>
#include <optional>
#include <thread>
#include <vector>

#include "holdfast/runtime/task.h"

namespace holdfast::runtime {
namespace {

using std::chrono::milliseconds;

Task<void> sleep_and_stop(EventLoop& loop, TimePoint until, TimePoint& woken) {
  co_await sleep_until(loop.context().timers, until);
  woken = loop.context().now();
  loop.stop();
}

TEST_CASE("a sleep ends not before its time") {
  EventLoop loop;
  // Off the whole millisecond, where rounding down would show.
  for (const int microseconds : {1, 300, 999, 1001, 5700}) {
    CAPTURE(microseconds);
    const TimePoint until = loop.context().now() + std::chrono::microseconds(microseconds);
    TimePoint woken{};
    Task<void> task = sleep_and_stop(loop, until, woken);
    task.start();
    loop.run();
    REQUIRE(task.done());
    CHECK(woken >= until);
  }
}

TEST_CASE("a shorter timer armed later fires first") {
  EventLoop loop;
  const TimePoint start = loop.context().now();
  TimePoint late{};
  TimePoint soon{};
  Task<void> hour = sleep_and_stop(loop, start + std::chrono::hours(1), late);
  Task<void> millisecond = sleep_and_stop(loop, start + milliseconds(1), soon);
  hour.start();
  millisecond.start();
  loop.run();
  CHECK(millisecond.done());
  CHECK_FALSE(hour.done());
}

class Restless final : private Timer {
 public:
  explicit Restless(EventLoop& loop) : loop_(loop) { again(); }
  int fired = 0;

 private:
  void again() { loop_.context().timers.arm(*this, loop_.context().now()); }
  void fire() override {
    ++fired;
    again();
  }
  EventLoop& loop_;
};

TEST_CASE("a timer that is always due lets the loop do its other work") {
  EventLoop loop;
  Restless restless(loop);
  loop.post([&] { loop.stop(); });
  loop.run();
  CHECK(restless.fired > 0);
}

Task<void> be_held_up(EventLoop& loop, bool& arrived) {
  const TimePoint until = loop.context().now() + milliseconds(1);
  co_await sleep_until(loop.context().timers, until);
  std::thread([&] { loop.post([&arrived] { arrived = true; }); }).join();
  std::this_thread::sleep_for(milliseconds(100));  // as if the process had been stopped
}

Task<void> see_what_arrived(EventLoop& loop, const bool& arrived, bool& seen) {
  const TimePoint until = loop.context().now() + milliseconds(10);
  co_await sleep_until(loop.context().timers, until);
  seen = arrived;
  loop.stop();
}

TEST_CASE("after a pause what arrived in time comes before the timers that it made late") {
  EventLoop loop;
  bool arrived = false;
  bool seen = false;
  Task<void> pause = be_held_up(loop, arrived);
  Task<void> look = see_what_arrived(loop, arrived, seen);
  pause.start();
  look.start();
  loop.run();
  CHECK(seen);
}

TEST_CASE("what is posted from another thread runs on the loop, in order") {
  EventLoop loop;
  std::vector<int> ran;
  const std::thread::id loop_thread = std::this_thread::get_id();
  bool elsewhere = false;
  std::thread poster([&] {
    for (int i = 0; i < 1000; ++i) {
      loop.post([&, i] {
        ran.push_back(i);
        elsewhere |= std::this_thread::get_id() != loop_thread;
      });
    }
    loop.stop();
  });
  loop.run();
  poster.join();
  REQUIRE(ran.size() == 1000);
  for (int i = 0; i < 1000; ++i) CHECK(ran[static_cast<std::size_t>(i)] == i);
  CHECK_FALSE(elsewhere);
}

TEST_CASE("what was posted and never run is run by the destructor, even what it posts itself") {
  int ran = 0;
  {
    EventLoop loop;
    loop.post([&] {
      ++ran;
      loop.post([&] {
        ++ran;
        loop.stop();
      });
    });
  }
  CHECK(ran == 2);
}

TEST_CASE("time stands still while one event is handled, and has moved on in the next") {
  EventLoop loop;
  const Clock& clock = loop.context().clock;
  const SystemClock system;
  const auto busy = [&system](Duration duration) {
    const TimePoint end = system.now() + duration;
    while (system.now() < end) {
    }
  };
  TimePoint first_end{};
  TimePoint second{};
  loop.post([&] {
    const TimePoint begin = clock.now();
    const WallTime wall = clock.wall_now();
    busy(milliseconds(2));
    CHECK(clock.now() == begin);
    CHECK(clock.wall_now() == wall);
    first_end = system.now();
  });
  loop.post([&] {
    second = clock.now();
    loop.stop();
  });
  loop.run();
  CHECK(second >= first_end);

  const TimePoint outside = clock.now();
  busy(milliseconds(1));
  CHECK(clock.now() > outside);
}

TEST_CASE("a timer that is due after the event's time and before the loop's own fires") {
  EventLoop loop;
  TimePoint woken{};
  Task<void> task;
  loop.post([&] {
    const TimePoint event = loop.context().now();
    std::this_thread::sleep_for(milliseconds(20));  // while the event lasts
    uv_update_time(loop.uv());
    task = sleep_and_stop(loop, event + milliseconds(5), woken);
    task.start();
  });
  loop.run();
  CHECK(woken > TimePoint{});
}

class BusyTimer final : private Timer {
 public:
  BusyTimer(EventLoop& loop, TimePoint at) : loop_(loop) { loop.context().timers.arm(*this, at); }
  TimePoint seen{};
  TimePoint ended{};

 private:
  void fire() override {
    seen = loop_.context().now();
    const SystemClock system;
    ended = system.now();
    while (system.now() < ended + milliseconds(2)) {
    }
    ended = system.now();
  }
  EventLoop& loop_;
};

TEST_CASE("timers that are due together are an event each") {
  EventLoop loop;
  const TimePoint due = loop.context().now();
  BusyTimer first(loop, due);
  BusyTimer second(loop, due);
  TimePoint woken{};
  Task<void> last = sleep_and_stop(loop, due, woken);
  last.start();
  loop.run();
  CHECK(second.seen >= first.ended);
  CHECK(woken >= second.ended);
}

TEST_CASE("blocking work runs elsewhere and answers on the loop") {
  EventLoop loop;
  std::thread::id worked;
  std::thread::id answered;
  loop.run_blocking([&] { worked = std::this_thread::get_id(); },
                    [&] {
                      answered = std::this_thread::get_id();
                      loop.stop();
                    });
  loop.run();
  CHECK(worked != std::this_thread::get_id());
  CHECK(answered == std::this_thread::get_id());
}

TEST_CASE("the destructor waits for blocking work and what it posts") {
  bool done = false;
  bool posted = false;
  {
    EventLoop loop;
    loop.run_blocking([] {},
                      [&] {
                        done = true;
                        loop.post([&] { posted = true; });
                      });
  }
  CHECK(done);
  CHECK(posted);
}

TEST_CASE("a signal calls its handler for each delivery") {
  EventLoop loop;
  int seen = 0;
  loop.on_signal(SIGUSR1, [&] {
    if (++seen == 2) {
      loop.stop();
    } else {
      ::kill(::getpid(), SIGUSR1);
    }
  });
  loop.post([] { ::kill(::getpid(), SIGUSR1); });
  loop.run();
  CHECK(seen == 2);
}

TEST_CASE("a loop runs again after it was stopped") {
  EventLoop loop;
  int runs = 0;
  for (int i = 0; i < 3; ++i) {
    loop.post([&] {
      ++runs;
      loop.stop();
    });
    loop.run();
  }
  CHECK(runs == 3);
}

TEST_CASE("loops on several threads do not disturb each other") {
  std::atomic<int> done = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&done] {
      EventLoop loop;
      TimePoint woken{};
      Task<void> task = sleep_and_stop(loop, loop.context().now() + milliseconds(2), woken);
      task.start();
      loop.run();
      if (task.done()) ++done;
      task.reset();
      if (live_frames() == 0) ++done;
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(done == 8);
}

}  // namespace
}  // namespace holdfast::runtime
