// The retry decision: given what an attempt came to, may the request be sent again, and when?
//
// Contract: pure. The rules are contract §2, Retries, in this order: condition listed in `on`?
// attempts left? method allowed, or provably not sent? body kept? Retry-After obeyable? time left?
// budget last, since asking it spends it (the caller asks it after `RetryVerdict::retry`).
// REQUIRES: no byte of a response has gone to the client; from then on there is nothing to decide.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "holdfast/base/error.h"
#include "holdfast/base/rng.h"
#include "holdfast/base/time.h"
#include "holdfast/policy/backoff.h"
#include "holdfast/policy/condition.h"
#include "holdfast/policy/retry_budget.h"

namespace holdfast::policy {

struct RetryOptions {
  int attempts = 3;
  ConditionSet on = default_on();
  /// Bit i is http::Method i; methods that are no registered ones never match.
  std::uint32_t methods = 0;
  BackoffOptions backoff;
  RetryBudgetOptions budget;
  std::uint64_t body_limit = 64 * 1024;
  /// nullopt ("off"): any Retry-After is obeyed, as far as time is left.
  std::optional<Duration> retry_after_max = std::chrono::seconds(10);
  std::optional<Duration> hedge_after;  // nullopt: off

  static ConditionSet default_on();
  bool operator==(const RetryOptions&) const = default;
};

/// What is known after an attempt has ended.
struct AttemptFacts {
  /// The failure, or nullopt when the upstream sent a response.
  std::optional<ErrorType> error = std::nullopt;
  /// The upstream's status; 0 with an error.
  int status = 0;
  /// Retry-After of that response, as a delay from now; nullopt: absent or not understood.
  std::optional<Duration> retry_after = std::nullopt;
  /// True if a byte of this or an earlier attempt may have reached an upstream.
  bool sent = false;
  /// True if the response says that a keyed request was refused before anything was done
  /// (idempotency §2.6): it may be repeated whatever its method.
  bool refused = false;
  /// True if the method is one of RetryOptions::methods.
  bool method_listed = false;
  /// True if what was sent of the body so far is kept and can be sent again.
  bool body_kept = true;
  /// Attempts made, this one included.
  int attempts_made = 1;
  /// What is left of `total` (and of a deadline_header); Duration::max() without one.
  Duration time_left = Duration::max();
};

enum class RetryVerdict : std::uint8_t {
  retry,        // after `delay`
  not_listed,   // no condition of `on` matches: the answer stands
  exhausted,    // no attempts left
  method,       // denied: the method may not be repeated and the request was sent
  body,         // denied: more of the body was sent than is kept
  retry_after,  // the upstream asks for more than retry_after_max: its answer is passed on
  deadline,     // denied: the wait would not end before the exchange's deadline
};

struct RetryDecision {
  RetryVerdict verdict;
  Duration delay{};  // only with RetryVerdict::retry
};

RetryDecision decide_retry(const RetryOptions& options, const AttemptFacts& facts, Rng& rng);

/// The label of holdfast_retries_denied_total, or "" for verdicts that deny nothing.
std::string_view denied_reason(RetryVerdict verdict);

}  // namespace holdfast::policy
