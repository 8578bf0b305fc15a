#include "holdfast/runtime/scope.h"

#include <doctest/doctest.h>

#include <memory>
#include <vector>

namespace holdfast::runtime {
namespace {

class ManualTimers final : public Timers {
 private:
  void wake_at(TimePoint) override {}
};

// Writes its number into a list when it is destroyed.
class Farewell {
 public:
  Farewell(std::vector<int>& list, int number) : list_(list), number_(number) {}
  Farewell(const Farewell&) = delete;
  Farewell& operator=(const Farewell&) = delete;
  ~Farewell() { list_.push_back(number_); }

 private:
  std::vector<int>& list_;
  int number_;
};

Task<void> wait_for_signal(Signal& signal, Timers& timers, std::vector<int>& gone, int number) {
  const Farewell farewell(gone, number);
  co_await wait_for(signal, timers, never);
}

Task<void> at_once(int& count) {
  ++count;
  co_return;
}

TEST_CASE("a task that ends at once is freed within spawn") {
  Scope scope;
  int count = 0;
  for (int i = 0; i < 3; ++i) scope.spawn(at_once(count));
  CHECK(count == 3);
  CHECK(scope.empty());
  CHECK(live_frames() == 0);
}

TEST_CASE("tasks leave the scope in whatever order they end") {
  const int orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
  for (const auto& order : orders) {
    ManualTimers timers;
    Signal signals[3];
    std::vector<int> gone;
    Scope scope;
    for (int i = 0; i < 3; ++i) scope.spawn(wait_for_signal(signals[i], timers, gone, i));
    CHECK(scope.size() == 3);
    for (const int i : order) signals[i].notify();
    CHECK(gone == std::vector<int>(order, order + 3));
    CHECK(scope.empty());
    CHECK(live_frames() == 0);
  }
}

TEST_CASE("the destructor cancels what still runs, newest first") {
  ManualTimers timers;
  Signal signals[4];
  std::vector<int> gone;
  {
    Scope scope;
    for (int i = 0; i < 4; ++i) scope.spawn(wait_for_signal(signals[i], timers, gone, i));
    signals[2].notify();
  }
  CHECK(gone == std::vector<int>{2, 3, 1, 0});
  for (Signal& signal : signals) CHECK_FALSE(signal.awaited());
  CHECK(live_frames() == 0);
}

Task<void> wait_emptied(Scope& scope, Timers& timers, bool& emptied) {
  co_await wait_for(scope.emptied(), timers, never);
  emptied = true;
}

TEST_CASE("emptied is given when the last task has ended") {
  ManualTimers timers;
  Signal signals[2];
  std::vector<int> gone;
  bool emptied = false;
  Scope scope;
  Task<void> drain = wait_emptied(scope, timers, emptied);
  drain.start();
  for (int i = 0; i < 2; ++i) scope.spawn(wait_for_signal(signals[i], timers, gone, i));
  signals[1].notify();
  CHECK_FALSE(emptied);
  signals[0].notify();
  CHECK(emptied);
}

Task<void> destroy_when_emptied(std::unique_ptr<Scope>& scope, Timers& timers) {
  co_await wait_for(scope->emptied(), timers, never);
  scope.reset();
}

TEST_CASE("the scope may be destroyed by the one who waited for its end") {
  ManualTimers timers;
  Signal signal;
  std::vector<int> gone;
  auto scope = std::make_unique<Scope>();
  Task<void> drain = destroy_when_emptied(scope, timers);
  drain.start();
  scope->spawn(wait_for_signal(signal, timers, gone, 0));
  signal.notify();
  CHECK(scope == nullptr);
  CHECK(drain.done());
}

Task<void> spawn_another(Scope& scope, Signal& first, Signal& second, Timers& timers,
                         std::vector<int>& gone) {
  co_await wait_for(first, timers, never);
  scope.spawn(wait_for_signal(second, timers, gone, 2));
}

TEST_CASE("a task may spawn another before it ends") {
  ManualTimers timers;
  Signal first;
  Signal second;
  std::vector<int> gone;
  Scope scope;
  scope.spawn(spawn_another(scope, first, second, timers, gone));
  first.notify();
  CHECK(scope.size() == 1);
  second.notify();
  CHECK(scope.empty());
  CHECK(gone == std::vector<int>{2});
}

}  // namespace
}  // namespace holdfast::runtime
