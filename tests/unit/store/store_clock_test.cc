#include "holdfast/store/store_clock.h"

#include <doctest/doctest.h>

#include "tests/support/manual_clock.h"

namespace holdfast::store {
namespace {

using policy::Milliseconds;
using policy::StoreTime;
using std::chrono::hours;

StoreTime wall(const Clock& clock) {
  return std::chrono::floor<Milliseconds>(clock.wall_now());
}

TEST_CASE("a store's time begins at the wall clock and follows the monotonic one") {
  test::ManualClock clock;
  const StoreTime opened = wall(clock);
  const StoreClock store_clock(clock);
  CHECK(store_clock.now() == opened);
  clock.advance(Milliseconds(1500));
  CHECK(store_clock.now() == opened + Milliseconds(1500));
}

TEST_CASE("setting the wall clock does not move the time of a store that is open") {
  for (const auto by : {hours(-48), hours(48)}) {
    test::ManualClock clock;
    const StoreClock store_clock(clock);
    const StoreTime before = store_clock.now();
    clock.set_wall(clock.wall_now() + by);
    CHECK(store_clock.now() == before);
  }
}

TEST_CASE("a store opened after the wall clock was set back goes on from the latest it has seen") {
  test::ManualClock clock;
  const StoreTime seen = wall(clock) + hours(1);
  const StoreClock store_clock(clock, seen);
  CHECK(store_clock.now() == seen);
  clock.advance(Milliseconds(7));
  CHECK(store_clock.now() == seen + Milliseconds(7));
  CHECK(StoreClock(clock, wall(clock) - hours(1)).now() == wall(clock));
}

}  // namespace
}  // namespace holdfast::store
