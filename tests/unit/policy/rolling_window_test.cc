#include "holdfast/policy/rolling_window.h"

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <utility>
#include <vector>

using namespace holdfast;
using namespace holdfast::policy;
using namespace std::chrono_literals;

namespace {

struct Tally {
  int calls = 0;
  Tally& operator+=(const Tally& other) {
    calls += other.calls;
    return *this;
  }
  Tally& operator-=(const Tally& other) {
    calls -= other.calls;
    return *this;
  }
};

constexpr TimePoint start(1000s);

}  // namespace

TEST_CASE("a count leaves with its bucket, exactly") {
  RollingWindow<Tally> window(10s);
  window.add({1}, start + 999ms);  // the last moment of the first bucket
  window.add({10}, start + 1s);
  CHECK(window.total(start + 10s - 1ns).calls == 11);
  CHECK(window.total(start + 10s).calls == 10);
  CHECK(window.total(start + 11s - 1ns).calls == 10);
  CHECK(window.total(start + 11s).calls == 0);
}

TEST_CASE("a long silence empties the window whole") {
  RollingWindow<Tally> window(10s);
  for (int second = 0; second < 10; ++second) window.add({1}, start + second * 1s);
  CHECK(window.total(start + 9s).calls == 10);
  CHECK(window.total(start + 24h).calls == 0);
  window.add({1}, start + 24h);
  CHECK(window.total(start + 24h).calls == 1);
}

TEST_CASE("a time that is a little old counts as the newest") {
  RollingWindow<Tally> window(10s);
  window.add({1}, start + 5s);
  window.add({1}, start + 2s);
  CHECK(window.total(start + 2s).calls == 2);
  CHECK(window.total(start + 14s).calls == 2);
  CHECK(window.total(start + 15s).calls == 0);
}

TEST_CASE("the shortest window works") {
  RollingWindow<Tally> window(1ns);
  window.add({1}, start);
  CHECK(window.total(start).calls == 1);
  CHECK(window.total(start + 1s).calls == 0);
}

TEST_CASE("the total is the sum of what a list of all events says") {
  CHECK(rc::check([] {
    RollingWindow<Tally> window(1s);
    std::vector<std::pair<TimePoint, int>> events;
    TimePoint now = start;
    const auto steps = *rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 400));
    for (const int step : steps) {
      now += step * 1ms;
      window.add({step + 1}, now);
      events.emplace_back(now, step + 1);
      int expected = 0;
      for (const auto& [time, calls] : events) {
        const auto age = now.time_since_epoch() / 100ms - time.time_since_epoch() / 100ms;
        if (age < 10) expected += calls;
      }
      RC_ASSERT(window.total(now).calls == expected);
    }
  }));
}
