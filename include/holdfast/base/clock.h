// Clock: the one door to the time. SystemClock asks the kernel; a simulation brings its own.
#pragma once

#include "holdfast/base/time.h"

namespace holdfast {

class Clock {
 public:
  virtual ~Clock() = default;
  /// Monotonic; never goes back.
  virtual TimePoint now() const = 0;
  /// Wall clock: for dates that leave the process (Date, logs, Retry-After), never for a deadline.
  virtual WallTime wall_now() const = 0;
};

/// CLOCK_MONOTONIC and CLOCK_REALTIME. Thread-safe.
class SystemClock final : public Clock {
 public:
  TimePoint now() const override;
  WallTime wall_now() const override;
};

}  // namespace holdfast
