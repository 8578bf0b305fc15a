// The timeouts of a route, and the arithmetic of deadlines (contract §2, Timeouts).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "holdfast/base/error.h"
#include "holdfast/base/result.h"
#include "holdfast/base/time.h"

namespace holdfast::policy {

/// nullopt means off.
struct TimeoutOptions {
  std::optional<Duration> connect = std::chrono::seconds(1);
  std::optional<Duration> per_try;
  std::optional<Duration> total = std::chrono::seconds(15);
  std::optional<Duration> idle = std::chrono::seconds(60);
  std::optional<Duration> stream;
  std::string deadline_header;  // "": none

  bool operator==(const TimeoutOptions&) const = default;
};

/// now + d, or never when d is off.
inline TimePoint deadline_after(TimePoint now, const std::optional<Duration>& d) {
  return d ? after(now, *d) : never;
}

/// What is left until `deadline`: never negative; Duration::max() for `never`.
inline Duration time_left(TimePoint deadline, TimePoint now) {
  if (deadline == never) return Duration::max();
  return deadline > now ? deadline - now : Duration::zero();
}

/// The value of a deadline header: milliseconds as 1*DIGIT; 0 is over already. nullopt: malformed
/// (400).
std::optional<Duration> parse_deadline(std::string_view value);

}  // namespace holdfast::policy
