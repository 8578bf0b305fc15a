// ManualClock: a clock that a test moves by hand. Thread-safe: a store reads it on its own thread.
#pragma once

#include <atomic>

#include "holdfast/base/clock.h"

namespace holdfast::test {

class ManualClock final : public Clock {
 public:
  TimePoint now() const override { return TimePoint(Duration(elapsed_.load())); }
  WallTime wall_now() const override { return WallTime(Duration(wall_.load())); }

  /// Time passes.
  void advance(Duration duration) {
    elapsed_ += duration.count();
    wall_ += duration.count();
  }
  /// Somebody sets the wall clock.
  void set_wall(WallTime time) { wall_ = time.time_since_epoch().count(); }

 private:
  static constexpr Duration start = std::chrono::hours(24 * 365 * 50);
  std::atomic<Duration::rep> elapsed_{start.count()};
  std::atomic<Duration::rep> wall_{start.count()};
};

}  // namespace holdfast::test
