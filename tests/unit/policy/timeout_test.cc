#include "holdfast/policy/timeout.h"

#include <doctest/doctest.h>

using namespace holdfast;
using namespace holdfast::policy;
using namespace std::chrono_literals;

TEST_CASE("a deadline header is milliseconds and nothing else") {
  for (const std::string_view bad : {"", "-1", "+1", "1.5", "1s", "100ms", " 5", "5 ", "0x10",
                                     "1,2", "9223372036855", "18446744073709551616"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_deadline(bad));
  }
  CHECK(parse_deadline("0") == Duration::zero());
  CHECK(parse_deadline("000") == Duration::zero());
  CHECK(parse_deadline("1") == Duration(1ms));
  CHECK(parse_deadline("0250") == Duration(250ms));
  CHECK(parse_deadline("9223372036854") == Duration(9223372036854ms));  // the most a Duration holds
}

TEST_CASE("what is off never comes due") {
  const TimePoint now(100s);
  CHECK(deadline_after(now, std::nullopt) == never);
  CHECK(deadline_after(now, 2s) == now + 2s);
  CHECK(time_left(never, now) == Duration::max());
}

TEST_CASE("time left is never negative") {
  const TimePoint now(100s);
  CHECK(time_left(now + 3s, now) == 3s);
  CHECK(time_left(now, now) == 0s);
  CHECK(time_left(now - 3s, now) == 0s);
}

TEST_CASE("the defaults are the contract's") {
  const TimeoutOptions options;
  CHECK(options.connect == Duration(1s));
  CHECK_FALSE(options.per_try);
  CHECK(options.total == Duration(15s));
  CHECK(options.idle == Duration(60s));
  CHECK_FALSE(options.stream);
  CHECK(options.deadline_header.empty());
}
