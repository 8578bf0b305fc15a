#include "holdfast/http/date.h"

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <string>

namespace holdfast::http {
namespace {

using std::chrono::seconds;

WallTime at(std::int64_t unix_seconds) {
  return WallTime(seconds(unix_seconds));
}

constexpr std::int64_t example = 784111777;  // 1994-11-06 08:49:37
const WallTime now = at(1700000000);         // 2023-11-14 22:13:20

std::string written(WallTime time) {
  return std::string(http_date(time));
}

}  // namespace

TEST_CASE("what is no HTTP date is refused") {
  for (const std::string_view text :
       {"", "0", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 GMT ", " Sun, 06 Nov 1994 08:49:37 GMT",
        "sun, 06 Nov 1994 08:49:37 GMT", "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 94 08:49:37 GMT", "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:37 GMT", "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nov 1994 +8:49:37 GMT", "Sun, 06-Nov-94 08:49:37 GMT", "Sun Nov 6 08:49:37 1994",
        "1994-11-06T08:49:37Z"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_http_date(text, now).has_value());
  }
}

TEST_CASE("the three forms of a date mean the same") {
  for (const std::string_view text :
       {"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994"}) {
    CAPTURE(text);
    CHECK(parse_http_date(text, now) == at(example));
  }
  CHECK(parse_http_date("Wed Nov 16 08:49:37 1994", now) == at(example + 10 * 86400));
}

TEST_CASE("a two-digit year is at most 50 years ahead") {
  CHECK(parse_http_date("Tuesday, 14-Nov-73 00:00:00 GMT", now) ==
        parse_http_date("Tue, 14 Nov 2073 00:00:00 GMT", now));
  CHECK(parse_http_date("Wednesday, 14-Nov-74 00:00:00 GMT", now) ==
        parse_http_date("Thu, 14 Nov 1974 00:00:00 GMT", now));
}

TEST_CASE("a leap second is the next minute") {
  CHECK(parse_http_date("Sat, 31 Dec 2016 23:59:60 GMT", now) ==
        parse_http_date("Sun, 01 Jan 2017 00:00:00 GMT", now));
}

TEST_CASE("a date beyond the clock's range is as far as it goes") {
  CHECK(parse_http_date("Fri, 31 Dec 9999 23:59:59 GMT", now) == WallTime::max());
  CHECK(parse_http_date("Mon, 01 Jan 0001 00:00:00 GMT", now) == WallTime::min());
}

TEST_CASE("a date is written in the preferred form") {
  CHECK(written(at(example)) == "Sun, 06 Nov 1994 08:49:37 GMT");
  CHECK(written(at(0)) == "Thu, 01 Jan 1970 00:00:00 GMT");
  CHECK(written(at(example) + std::chrono::milliseconds(999)) == "Sun, 06 Nov 1994 08:49:37 GMT");
}

TEST_CASE("what is written is read back") {
  const bool holds = rc::check([] {
    const auto time = at(*rc::gen::inRange<std::int64_t>(-9000000000, 9000000000));
    RC_ASSERT(parse_http_date(written(time), now) == time);
  });
  CHECK(holds);
}

TEST_CASE("Retry-After is seconds or a date") {
  for (const std::string_view text : {"", "-1", "+1", "1.5", "1 ", "1s", "soon"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_retry_after(text, now).has_value());
  }
  CHECK(parse_retry_after("0", now) == Duration::zero());
  CHECK(parse_retry_after("120", now) == seconds(120));
  CHECK(parse_retry_after("Tue, 14 Nov 2023 22:13:30 GMT", now) == seconds(10));
  CHECK(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now) == Duration::zero());
}

TEST_CASE("a Retry-After beyond all measure is long and does not overflow") {
  CHECK(*parse_retry_after("9223372036854775807", now) > std::chrono::hours(24 * 365 * 200));
  CHECK(*parse_retry_after("99999999999999999999999999", now) > std::chrono::hours(24 * 365 * 200));
  CHECK(*parse_retry_after("Fri, 31 Dec 9999 23:59:59 GMT", now) >
        std::chrono::hours(24 * 365 * 200));
}

}  // namespace holdfast::http
