// How long to wait before the next attempt (contract §2, Retries).
//
// Before attempt n+1 the ceiling is c = min(max, base·2^(n-1)) (exponential), min(max, base·F(n))
// with F = 1, 1, 2, 3, 5… (fibonacci), or base (constant). Jitter `full` draws from [0, c], `equal`
// from [c/2, c], `none` is c, a ratio j draws from [c·(1-j), c·(1+j)].
//
// Source of full and equal jitter: Brooker, "Exponential Backoff and Jitter", AWS, 2015.
#pragma once

#include <cstdint>

#include "holdfast/base/rng.h"
#include "holdfast/base/time.h"

namespace holdfast::policy {

enum class BackoffKind : std::uint8_t { exponential, fibonacci, constant };
enum class JitterKind : std::uint8_t { full, equal, none, ratio };

struct BackoffOptions {
  BackoffKind kind = BackoffKind::exponential;
  Duration base = std::chrono::milliseconds(25);
  Duration max = std::chrono::seconds(1);
  JitterKind jitter = JitterKind::full;
  double jitter_ratio = 0;  // for JitterKind::ratio, 0 to 1

  bool operator==(const BackoffOptions&) const = default;
};

/// The ceiling before attempt `attempts_made` + 1. REQUIRES: attempts_made >= 1. No overflow for
/// any n.
Duration backoff_ceiling(const BackoffOptions& options, int attempts_made);

/// The ceiling with jitter drawn.
Duration backoff_delay(const BackoffOptions& options, int attempts_made, Rng& rng);

}  // namespace holdfast::policy
