// Time as values: a Duration, a point on the monotonic clock, a point on the wall clock.
//
// Contract: nothing here reads a clock. Decisions are told the time; see base/clock.h for the one
// door to it. Resolution is a nanosecond.
#pragma once

#include <chrono>

namespace holdfast {

using Duration = std::chrono::nanoseconds;

/// Tag of the monotonic clock: no now(), so that time can only come from a Clock.
struct MonotonicTag {
  using rep = Duration::rep;
  using period = Duration::period;
  using duration = Duration;
  using time_point = std::chrono::time_point<MonotonicTag>;
  static constexpr bool is_steady = true;
};

using TimePoint = std::chrono::time_point<MonotonicTag, Duration>;

/// Nanoseconds since 1970-01-01 UTC.
using WallTime = std::chrono::sys_time<Duration>;

/// A deadline that never comes.
inline constexpr TimePoint never = TimePoint::max();

/// now + d without overflow; Duration::max() means never.
constexpr TimePoint after(TimePoint now, Duration d) {
  return d >= never - now ? never : now + d;
}

constexpr double to_seconds(Duration d) {
  return std::chrono::duration<double>(d).count();
}
constexpr double to_milliseconds(Duration d) {
  return std::chrono::duration<double, std::milli>(d).count();
}

}  // namespace holdfast
