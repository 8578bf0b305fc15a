#include "holdfast/policy/backoff.h"

#include <algorithm>

#include "holdfast/base/assert.h"

namespace holdfast::policy {
namespace {

// a + b, or `max` where that is less; without overflow for a and b up to `max`.
Duration bounded_sum(Duration a, Duration b, Duration max) {
  return a > max - b ? max : a + b;
}

Duration exponential(Duration base, Duration max, int doublings) {
  Duration ceiling = std::min(base, max);
  for (int i = 0; i < doublings && ceiling < max && ceiling > Duration::zero(); ++i) {
    ceiling = bounded_sum(ceiling, ceiling, max);
  }
  return ceiling;
}

Duration fibonacci(Duration base, Duration max, int steps) {
  Duration previous = Duration::zero();
  Duration ceiling = std::min(base, max);
  for (int i = 0; i < steps && ceiling < max && ceiling > Duration::zero(); ++i) {
    const Duration next = bounded_sum(previous, ceiling, max);
    previous = ceiling;
    ceiling = next;
  }
  return ceiling;
}

// Even over [low, high], both included.
Duration draw(Duration low, Duration high, Rng& rng) {
  const auto span = static_cast<std::uint64_t>((high - low).count());
  return low + Duration(static_cast<Duration::rep>(rng.below(span + 1)));
}

// ceiling × ratio for a ratio from 0 to 1. A double cannot hold every count of nanoseconds, so that
// rounding must not reach past the ceiling.
Duration share(Duration ceiling, double ratio) {
  const double exact = static_cast<double>(ceiling.count()) * ratio;
  if (exact >= static_cast<double>(ceiling.count())) return ceiling;
  return Duration(static_cast<Duration::rep>(exact));
}

}  // namespace

Duration backoff_ceiling(const BackoffOptions& options, int attempts_made) {
  HOLDFAST_ASSERT(attempts_made >= 1);
  switch (options.kind) {
    case BackoffKind::exponential:
      return exponential(options.base, options.max, attempts_made - 1);
    case BackoffKind::fibonacci:
      return fibonacci(options.base, options.max, attempts_made - 1);
    case BackoffKind::constant:
      break;
  }
  return options.base;
}

Duration backoff_delay(const BackoffOptions& options, int attempts_made, Rng& rng) {
  const Duration ceiling = backoff_ceiling(options, attempts_made);
  switch (options.jitter) {
    case JitterKind::full:
      return draw(Duration::zero(), ceiling, rng);
    case JitterKind::equal:
      return draw(ceiling / 2, ceiling, rng);
    case JitterKind::ratio: {
      const Duration spread = share(ceiling, options.jitter_ratio);
      return draw(ceiling - spread, bounded_sum(ceiling, spread, Duration::max()), rng);
    }
    case JitterKind::none:
      break;
  }
  return ceiling;
}

}  // namespace holdfast::policy
