#include "holdfast/runtime/timers.h"

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "holdfast/runtime/task.h"

namespace holdfast::runtime {
namespace {

TimePoint at(int milliseconds) {
  return TimePoint(std::chrono::milliseconds(milliseconds));
}

class ManualTimers final : public Timers {
 public:
  std::vector<TimePoint> wakes;

 private:
  void wake_at(TimePoint time) override { wakes.push_back(time); }
};

class CallTimer final : public Timer {
 public:
  explicit CallTimer(std::function<void()> on_fire = {}) : on_fire_(std::move(on_fire)) {}

 private:
  void fire() override {
    // The function may destroy this timer, and itself with it.
    const std::function<void()> call = on_fire_;
    if (call) call();
  }
  std::function<void()> on_fire_;
};

TEST_CASE("timers fire in order of time, equal ones in the order they were armed") {
  ManualTimers timers;
  std::vector<int> fired;
  std::vector<std::unique_ptr<CallTimer>> owned;
  const int times[] = {5, 1, 5, 3, 1, 9};
  for (int i = 0; i < 6; ++i) {
    owned.push_back(std::make_unique<CallTimer>([&fired, i] { fired.push_back(i); }));
    timers.arm(*owned.back(), at(times[i]));
  }
  CHECK(timers.next() == at(1));
  timers.run_due(at(5));
  CHECK(fired == std::vector<int>{1, 4, 3, 0, 2});
  CHECK(timers.next() == at(9));
  CHECK(timers.size() == 1);
}

TEST_CASE("a timer is told to wake only when the earliest time moves forward") {
  ManualTimers timers;
  CallTimer a;
  CallTimer b;
  CallTimer c;
  timers.arm(a, at(10));
  timers.arm(b, at(20));
  timers.arm(c, at(5));
  CHECK(timers.wakes == std::vector<TimePoint>{at(10), at(5)});
  timers.run_due(at(7));
  CHECK(timers.wakes.back() == at(10));
}

TEST_CASE("a destroyed or cancelled timer never fires") {
  ManualTimers timers;
  int fired = 0;
  {
    CallTimer gone([&] { ++fired; });
    timers.arm(gone, at(1));
  }
  CallTimer cancelled([&] { ++fired; });
  timers.arm(cancelled, at(1));
  timers.cancel(cancelled);
  timers.cancel(cancelled);
  CHECK(timers.next() == never);
  timers.run_due(at(10));
  CHECK(fired == 0);
}

TEST_CASE("a timer that arms itself for a time that has come waits for the next call") {
  ManualTimers timers;
  int fired = 0;
  int other = 0;
  CallTimer* self = nullptr;
  CallTimer again([&] {
    ++fired;
    timers.arm(*self, at(0));  // before everything else that is due
  });
  self = &again;
  CallTimer late([&] { ++other; });
  timers.arm(again, at(1));
  timers.arm(late, at(9));
  timers.run_due(at(10));
  CHECK(fired == 1);
  CHECK(other == 1);
  timers.run_due(at(10));
  CHECK(fired == 2);
  timers.cancel(again);
}

TEST_CASE("one that fires may cancel, destroy and re-arm others that are due") {
  ManualTimers timers;
  std::vector<int> fired;
  auto destroyed = std::make_unique<CallTimer>([&] { fired.push_back(2); });
  CallTimer cancelled([&] { fired.push_back(3); });
  CallTimer moved([&] { fired.push_back(4); });
  CallTimer last([&] { fired.push_back(5); });
  CallTimer first([&] {
    fired.push_back(1);
    destroyed.reset();
    timers.cancel(cancelled);
    timers.arm(moved, at(50));
  });
  timers.arm(first, at(1));
  timers.arm(*destroyed, at(1));
  timers.arm(cancelled, at(2));
  timers.arm(moved, at(2));
  timers.arm(last, at(3));
  timers.run_due(at(10));
  CHECK(fired == std::vector<int>{1, 5});
  timers.run_due(at(50));
  CHECK(fired == std::vector<int>{1, 5, 4});
}

TEST_CASE("a timer may be destroyed by its own firing") {
  ManualTimers timers;
  std::unique_ptr<CallTimer> self;
  self = std::make_unique<CallTimer>([&] { self.reset(); });
  timers.arm(*self, at(1));
  timers.run_due(at(1));
  CHECK(self == nullptr);
  CHECK(timers.size() == 0);
}

// A list that is searched from the front: what the heap must agree with.
struct NaiveTimers {
  struct Entry {
    int id;
    int time;
  };
  std::vector<Entry> entries;  // in the order armed

  void cancel(int id) {
    std::erase_if(entries, [id](const Entry& entry) { return entry.id == id; });
  }
  void arm(int id, int time) {
    cancel(id);
    entries.push_back({id, time});
  }
  std::vector<int> run_due(int now) {
    std::vector<Entry> due;
    std::copy_if(entries.begin(), entries.end(), std::back_inserter(due),
                 [now](const Entry& entry) { return entry.time <= now; });
    // Stable, by insertion: the order armed decides between equal times.
    for (auto next = due.begin(); next != due.end(); ++next) {
      const auto earlier = [](const Entry& a, const Entry& b) { return a.time < b.time; };
      std::rotate(std::upper_bound(due.begin(), next, *next, earlier), next, next + 1);
    }
    std::vector<int> ids;
    for (const Entry& entry : due) {
      cancel(entry.id);
      ids.push_back(entry.id);
    }
    return ids;
  }
};

TEST_CASE("the heap agrees with a sorted list") {
  const bool agrees = rc::check("random arm, cancel and run", [] {
    constexpr int count = 24;
    ManualTimers timers;
    NaiveTimers naive;
    std::vector<int> fired;
    std::vector<std::unique_ptr<CallTimer>> owned;
    for (int i = 0; i < count; ++i) {
      owned.push_back(std::make_unique<CallTimer>([&fired, i] { fired.push_back(i); }));
    }
    int now = 0;
    const auto steps = *rc::gen::container<std::vector<std::tuple<int, int, int>>>(
        200, rc::gen::tuple(rc::gen::inRange(0, 8), rc::gen::inRange(0, count),
                            rc::gen::inRange(0, 40)));
    for (const auto& [what, id, time] : steps) {
      CallTimer& timer = *owned[static_cast<std::size_t>(id)];
      if (what == 0) {
        timers.cancel(timer);
        naive.cancel(id);
      } else if (what == 1) {
        now += time / 4;
        fired.clear();
        timers.run_due(at(now));
        RC_ASSERT(fired == naive.run_due(now));
      } else {
        timers.arm(timer, at(now + time - 5));
        naive.arm(id, now + time - 5);
      }
      RC_ASSERT(timers.size() == naive.entries.size());
      const auto earliest =
          std::min_element(naive.entries.begin(), naive.entries.end(),
                           [](const auto& a, const auto& b) { return a.time < b.time; });
      RC_ASSERT(timers.next() == (earliest == naive.entries.end() ? never : at(earliest->time)));
    }
  });
  CHECK(agrees);
}

// ---- Signal and Wait

Task<void> wait_once(Signal& signal, Timers& timers, TimePoint deadline,
                     std::optional<bool>& result) {
  const bool in_time = co_await wait_for(signal, timers, deadline);
  result = in_time;
}

Task<void> sleep_once(Timers& timers, TimePoint until, std::optional<bool>& result) {
  const bool signalled = co_await sleep_until(timers, until);
  result = signalled;
}

TEST_CASE("a wait ends by the signal or by its deadline, whichever comes first, and once") {
  for (const bool signal_first : {true, false}) {
    CAPTURE(signal_first);
    ManualTimers timers;
    Signal signal;
    std::optional<bool> result;
    Task<void> task = wait_once(signal, timers, at(10), result);
    task.start();
    CHECK(signal.awaited());
    CHECK_FALSE(result);
    signal_first ? signal.notify() : timers.run_due(at(10));
    CHECK(result == signal_first);
    CHECK_FALSE(signal.awaited());
    CHECK(timers.size() == 0);
    signal.notify();
    timers.run_due(at(20));
    CHECK(task.done());
  }
}

TEST_CASE("a deadline that has passed is told by the next run, not at once") {
  ManualTimers timers;
  Signal signal;
  std::optional<bool> result;
  Task<void> task = wait_once(signal, timers, at(-5), result);
  task.start();
  CHECK_FALSE(result);
  timers.run_due(at(0));
  CHECK(result == false);
}

TEST_CASE("a wait without a deadline arms nothing") {
  ManualTimers timers;
  Signal signal;
  std::optional<bool> result;
  Task<void> task = wait_once(signal, timers, never, result);
  task.start();
  CHECK(timers.size() == 0);
  signal.notify();
  CHECK(result == true);
}

TEST_CASE("a wait destroyed while it waits leaves nothing behind") {
  ManualTimers timers;
  Signal signal;
  std::optional<bool> result;
  {
    Task<void> task = wait_once(signal, timers, at(10), result);
    task.start();
  }
  CHECK_FALSE(signal.awaited());
  CHECK(timers.size() == 0);
  signal.notify();
  timers.run_due(at(10));
  CHECK_FALSE(result);
  CHECK(live_frames() == 0);
}

TEST_CASE("a sleep ends at its time") {
  ManualTimers timers;
  std::optional<bool> result;
  Task<void> task = sleep_once(timers, at(10), result);
  task.start();
  timers.run_due(at(9));
  CHECK_FALSE(result);
  timers.run_due(at(10));
  CHECK(result == false);
}

Task<void> over_at_once(Timers& timers, bool& result) {
  const bool in_time = co_await Wait::over(timers);
  result = in_time;
}

TEST_CASE("a wait that is over does not suspend") {
  ManualTimers timers;
  bool result = false;
  Task<void> task = over_at_once(timers, result);
  task.start();
  CHECK(task.done());
  CHECK(result);
}

Task<void> count_signals(Signal& signal, Timers& timers, int& count) {
  for (;;) {
    co_await wait_for(signal, timers, never);
    ++count;
  }
}

TEST_CASE("a signal is given again and again; one that nobody awaits is lost") {
  ManualTimers timers;
  Signal signal;
  signal.notify();
  int count = 0;
  Task<void> task = count_signals(signal, timers, count);
  task.start();
  CHECK(count == 0);
  for (int i = 0; i < 1000; ++i) signal.notify();
  CHECK(count == 1000);
}

Task<void> wait_and_destroy(std::unique_ptr<Signal>& signal, Timers& timers) {
  co_await wait_for(*signal, timers, never);
  signal.reset();
}

TEST_CASE("a signal may be destroyed by the one it wakes") {
  ManualTimers timers;
  auto signal = std::make_unique<Signal>();
  Task<void> task = wait_and_destroy(signal, timers);
  task.start();
  signal->notify();
  CHECK(task.done());
  CHECK(signal == nullptr);
}

TEST_CASE("a deferred signal comes from the loop, once for any number of notifications") {
  ManualTimers timers;
  DeferredSignal deferred(timers);
  int count = 0;
  Task<void> task = count_signals(deferred.signal(), timers, count);
  task.start();
  deferred.notify(at(3));
  deferred.notify(at(4));
  CHECK(count == 0);
  timers.run_due(at(4));
  CHECK(count == 1);
  timers.run_due(at(5));
  CHECK(count == 1);
}

}  // namespace
}  // namespace holdfast::runtime
