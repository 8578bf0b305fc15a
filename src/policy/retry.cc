#include "holdfast/policy/retry.h"

namespace holdfast::policy {
namespace {

bool is_listed(const ConditionSet& on, const AttemptFacts& facts) {
  return facts.error ? on.matches(*facts.error) : on.matches_status(facts.status);
}

// A response proves that the upstream saw the request, whatever the facts say of bytes.
bool may_be_repeated(const AttemptFacts& facts) {
  const bool reached_upstream = facts.sent || !facts.error;
  return facts.method_listed || facts.refused || !reached_upstream;
}

// Retry-After counts on a status that is retried; one that came before a failure says nothing of
// it.
std::optional<Duration> asked_pause(const AttemptFacts& facts) {
  return facts.error ? std::nullopt : facts.retry_after;
}

RetryDecision within_deadline(Duration delay, Duration time_left) {
  if (delay >= time_left) return {RetryVerdict::deadline};
  return {RetryVerdict::retry, delay};
}

}  // namespace

ConditionSet RetryOptions::default_on() {
  ConditionSet on;
  for (const std::string_view condition : {"connect", "reset", "502", "503", "504"}) {
    on.add(condition);
  }
  return on;
}

RetryDecision decide_retry(const RetryOptions& options, const AttemptFacts& facts, Rng& rng) {
  if (!is_listed(options.on, facts)) return {RetryVerdict::not_listed};
  if (facts.attempts_made >= options.attempts) return {RetryVerdict::exhausted};
  if (!may_be_repeated(facts)) return {RetryVerdict::method};
  if (!facts.body_kept) return {RetryVerdict::body};

  if (const auto pause = asked_pause(facts)) {
    if (options.retry_after_max && *pause > *options.retry_after_max) {
      return {RetryVerdict::retry_after};
    }
    return within_deadline(*pause, facts.time_left);
  }
  const Duration delay = backoff_delay(options.backoff, facts.attempts_made, rng);
  return within_deadline(delay, facts.time_left);
}

std::string_view denied_reason(RetryVerdict verdict) {
  switch (verdict) {
    case RetryVerdict::method:
      return "method";
    case RetryVerdict::body:
      return "body";
    case RetryVerdict::deadline:
      return "deadline";
    case RetryVerdict::retry:
    case RetryVerdict::not_listed:
    case RetryVerdict::exhausted:
    case RetryVerdict::retry_after:
      break;
  }
  return "";
}

}  // namespace holdfast::policy
