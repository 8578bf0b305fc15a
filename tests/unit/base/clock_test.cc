#include "holdfast/base/clock.h"

#include <doctest/doctest.h>

#include "holdfast/base/time.h"

using namespace holdfast;
using namespace std::chrono_literals;

TEST_CASE("the monotonic clock never goes back and does go on") {
  const SystemClock clock;
  const TimePoint start = clock.now();
  TimePoint last = start;
  while (last < start + 1ms) {
    const TimePoint now = clock.now();
    REQUIRE(now >= last);
    last = now;
  }
}

TEST_CASE("the wall clock tells a date") {
  using namespace std::chrono;
  const WallTime now = SystemClock().wall_now();
  CHECK(now > sys_days(2024y / January / 1));
  CHECK(now < sys_days(2200y / January / 1));
}

TEST_CASE("a deadline too far to be held is never") {
  const TimePoint now(5s);
  CHECK(after(now, 3s) == TimePoint(8s));
  CHECK(after(now, 0s) == now);
  CHECK(after(now, Duration::max()) == never);
  CHECK(after(now, never - now) == never);
}
