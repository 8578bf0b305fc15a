#include "holdfast/policy/retry.h"

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <string>

using namespace holdfast;
using namespace holdfast::policy;
using namespace std::chrono_literals;

namespace {

using enum RetryVerdict;

RetryOptions steady_options() {
  RetryOptions options;
  options.backoff = {.kind = BackoffKind::constant, .base = 50ms, .jitter = JitterKind::none};
  return options;
}

ConditionSet on(std::initializer_list<std::string_view> conditions) {
  ConditionSet set;
  for (const std::string_view condition : conditions) REQUIRE(set.add(condition));
  return set;
}

// A first GET that the upstream answered with 503.
AttemptFacts answered_503() {
  return {.status = 503, .sent = true, .method_listed = true};
}

// A first POST for which no connection came about.
AttemptFacts refused_post() {
  return {.error = ErrorType::connection_refused, .sent = false, .method_listed = false};
}

RetryDecision decide(const RetryOptions& options, const AttemptFacts& facts) {
  Rng rng(1);
  return decide_retry(options, facts, rng);
}

RetryVerdict verdict(const RetryOptions& options, const AttemptFacts& facts) {
  return decide(options, facts).verdict;
}

}  // namespace

TEST_CASE("only what `on` names is retried") {
  RetryOptions options = steady_options();
  AttemptFacts facts = answered_503();

  SUBCASE("the defaults: connect, reset, 502, 503, 504") {
    for (int status = 100; status < 600; ++status) {
      CAPTURE(status);
      facts.status = status;
      const bool listed = status == 502 || status == 503 || status == 504;
      CHECK(verdict(options, facts) == (listed ? retry : not_listed));
    }
    facts.status = 0;
    for (int i = 0; i < error_type_count; ++i) {
      facts.error = static_cast<ErrorType>(i);
      CAPTURE(name(*facts.error));
      const ErrorGroup group = group_of(*facts.error);
      const bool listed = group == ErrorGroup::connect || group == ErrorGroup::reset;
      CHECK(verdict(options, facts) == (listed ? retry : not_listed));
    }
  }
  SUBCASE("a status of ours is no status of the upstream") {
    options.on = on({"5xx"});
    facts.status = 0;
    facts.error = ErrorType::destination_unavailable;  // holdfast would answer 503
    CHECK(verdict(options, facts) == not_listed);
    options.on = on({"open"});
    CHECK(verdict(options, facts) == retry);
  }
  SUBCASE("no conditions, no retries") {
    options.on = {};
    CHECK(verdict(options, facts) == not_listed);
  }
}

TEST_CASE("attempts count the first one") {
  RetryOptions options = steady_options();
  AttemptFacts facts = answered_503();
  facts.attempts_made = 2;
  CHECK(verdict(options, facts) == retry);
  facts.attempts_made = 3;
  CHECK(verdict(options, facts) == exhausted);
  options.attempts = 1;
  facts.attempts_made = 1;
  CHECK(verdict(options, facts) == exhausted);
}

TEST_CASE("a method outside the list is repeated only if it provably never reached the upstream") {
  RetryOptions options = steady_options();
  AttemptFacts facts = refused_post();
  CHECK(verdict(options, facts) == retry);

  SUBCASE("a byte of it may have been sent") {
    facts.sent = true;
    CHECK(verdict(options, facts) == method);
    facts.error = ErrorType::connection_terminated;
    CHECK(verdict(options, facts) == method);
  }
  SUBCASE("the upstream answered, so it did reach it") {
    facts.error.reset();
    facts.status = 503;
    CHECK(verdict(options, facts) == method);
  }
  SUBCASE("refused by holdfast itself, where `on` says so") {
    options.on = on({"open", "overload"});
    for (const ErrorType type :
         {ErrorType::destination_unavailable, ErrorType::connection_limit_reached}) {
      facts.error = type;
      CHECK(verdict(options, facts) == retry);
    }
  }
  SUBCASE("not for a condition that `on` does not name") {
    options.on = on({"503"});
    CHECK(verdict(options, facts) == not_listed);
  }
}

TEST_CASE("a body that is not kept cannot be sent again") {
  AttemptFacts facts = answered_503();
  facts.body_kept = false;
  CHECK(verdict(steady_options(), facts) == body);
}

TEST_CASE("Retry-After of a retried status is the delay, up to retry_after_max") {
  RetryOptions options = steady_options();
  AttemptFacts facts = answered_503();

  SUBCASE("within the bound") {
    for (const Duration asked : {Duration(0s), Duration(1s), Duration(10s)}) {
      facts.retry_after = asked;
      const RetryDecision decision = decide(options, facts);
      CHECK(decision.verdict == retry);
      CHECK(decision.delay == asked);
    }
  }
  SUBCASE("beyond it the answer is passed on") {
    facts.retry_after = 11s;
    CHECK(verdict(options, facts) == RetryVerdict::retry_after);
  }
  SUBCASE("beyond what is left of the time") {
    facts.retry_after = 5s;
    facts.time_left = 5s;
    CHECK(verdict(options, facts) == deadline);
    facts.time_left = 6s;
    CHECK(verdict(options, facts) == retry);
  }
  SUBCASE("without a bound any is obeyed, as far as time is left") {
    options.retry_after_max.reset();
    facts.retry_after = 24h;
    CHECK(verdict(options, facts) == retry);
    CHECK(decide(options, facts).delay == 24h);
    facts.time_left = 24h;
    CHECK(verdict(options, facts) == deadline);
  }
  SUBCASE("it does not count for a failure without an answer") {
    facts.status = 0;
    facts.error = ErrorType::connection_terminated;
    facts.retry_after = 24h;
    CHECK(decide(options, facts).delay == 50ms);
  }
}

TEST_CASE("the wait must end before the deadline") {
  AttemptFacts facts = answered_503();
  facts.time_left = 50ms;
  CHECK(verdict(steady_options(), facts) == deadline);
  facts.time_left = 50ms + 1ns;
  CHECK(verdict(steady_options(), facts) == retry);
  facts.time_left = 0ms;
  CHECK(verdict(steady_options(), facts) == deadline);

  RetryOptions at_once = steady_options();
  at_once.backoff.base = 0ms;
  CHECK(verdict(at_once, facts) == deadline);
}

TEST_CASE("the delay is the back-off of the attempts made") {
  RetryOptions options;
  options.attempts = 6;
  options.backoff = {.base = 100ms, .max = 1s, .jitter = JitterKind::none};
  AttemptFacts facts = answered_503();
  for (const Duration expected : {100ms, 200ms, 400ms, 800ms, 1000ms}) {
    CHECK(decide(options, facts).delay == expected);
    ++facts.attempts_made;
  }
}

TEST_CASE("of several reasons the first in the contract's order is given") {
  RetryOptions options = steady_options();
  AttemptFacts facts{.status = 404,
                     .retry_after = 1h,
                     .sent = true,
                     .method_listed = false,
                     .body_kept = false,
                     .attempts_made = 3,
                     .time_left = 0ms};
  CHECK(verdict(options, facts) == not_listed);
  facts.status = 503;
  CHECK(verdict(options, facts) == exhausted);
  facts.attempts_made = 1;
  CHECK(verdict(options, facts) == method);
  facts.method_listed = true;
  CHECK(verdict(options, facts) == body);
  facts.body_kept = true;
  CHECK(verdict(options, facts) == RetryVerdict::retry_after);
  facts.retry_after = 1s;
  CHECK(verdict(options, facts) == deadline);
  facts.time_left = 2s;
  CHECK(verdict(options, facts) == retry);
}

TEST_CASE("denials have the label of the metric, other verdicts none") {
  CHECK(denied_reason(method) == "method");
  CHECK(denied_reason(body) == "body");
  CHECK(denied_reason(deadline) == "deadline");
  for (const RetryVerdict other : {retry, not_listed, exhausted, RetryVerdict::retry_after}) {
    CHECK(denied_reason(other).empty());
  }
}

TEST_CASE("the defaults are the contract's") {
  const RetryOptions options;
  CHECK(options.attempts == 3);
  CHECK(options.on == on({"connect", "reset", "502", "503", "504"}));
  CHECK(options.backoff.kind == BackoffKind::exponential);
  CHECK(options.backoff.base == 25ms);
  CHECK(options.backoff.max == 1s);
  CHECK(options.backoff.jitter == JitterKind::full);
  CHECK(options.budget == RetryBudgetOptions{0.2, 3, 10s});
  CHECK(options.body_limit == 64 * 1024);
  CHECK(options.retry_after_max == Duration(10s));
  CHECK_FALSE(options.hedge_after);
}
