#include "holdfast/http/stored_head.h"

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <string>
#include <utility>
#include <vector>

namespace holdfast::http {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

constexpr WallTime some_time{};  // Thu, 01 Jan 1970 00:00:00 GMT
const std::string some_date = "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n";

Fields fields_of(const Pairs& pairs) {
  Fields fields;
  for (const auto& [name, value] : pairs) fields.add(name, value);
  return fields;
}

std::string stored(const Pairs& pairs, StoredCookies cookies = StoredCookies::dropped) {
  return stored_head(fields_of(pairs), cookies, some_time);
}

}  // namespace

TEST_CASE("fields are kept in their order, repeated ones too") {
  CHECK(stored({{"X-A", "1"},
                {"Date", "Sun, 06 Nov 1994 08:49:37 GMT"},
                {"x-a", "2"},
                {"Content-Encoding", "gzip"},
                {"X-Empty", ""},
                {"Cache-Control", "private"}}) ==
        "X-A: 1\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nx-a: 2\r\nContent-Encoding: gzip\r\n"
        "X-Empty: \r\nCache-Control: private\r\n");
}

TEST_CASE("Date is kept as it came and added if it is missing") {
  CHECK(stored({}) == some_date);
  CHECK(stored({{"X-A", "1"}}) == "X-A: 1\r\n" + some_date);
  CHECK(stored({{"date", "whenever"}}) == "date: whenever\r\n");
}

TEST_CASE("what belongs to a connection, a delivery or a caller is not stored") {
  for (const char* name : {"Connection",
                           "Keep-Alive",
                           "Proxy-Connection",
                           "Proxy-Authenticate",
                           "Proxy-Status",
                           "proxy-anything",
                           "TE",
                           "Trailer",
                           "Transfer-Encoding",
                           "Upgrade",
                           "Set-Cookie",
                           "WWW-Authenticate",
                           "Authentication-Info",
                           "Alt-Svc",
                           "Server-Timing",
                           "RateLimit",
                           "RateLimit-Policy",
                           "ratelimit-remaining",
                           "X-RateLimit-Reset",
                           "x-ratelimit-limit",
                           "Retry-After",
                           "traceparent",
                           "Tracestate",
                           "X-Request-Id",
                           "Idempotent-Replayed",
                           "Idempotency-Status",
                           "Content-Length",
                           "Age"}) {
    CAPTURE(name);
    CHECK(stored({{name, "x"}}) == some_date);
  }
}

TEST_CASE("everything that Connection names goes, in every one of its lines") {
  CHECK(stored({{"X-Hop", "1"},
                {"Connection", "close, x-hop"},
                {"X-Kept", "2"},
                {"connection", "X-Other"},
                {"x-other", "3"}}) == "X-Kept: 2\r\n" + some_date);
}

TEST_CASE("a name that only resembles one of those is stored") {
  for (const char* name : {"Proxy", "X-Proxy-Id", "Rate", "X-Rate", "X-Set-Cookie", "Ages",
                           "Traceparent-2", "Content-Length-Hint"}) {
    CAPTURE(name);
    CHECK(stored({{name, "x"}}) == std::string(name) + ": x\r\n" + some_date);
  }
}

TEST_CASE("Set-Cookie is stored where that is asked for") {
  const Pairs cookies = {{"Set-Cookie", "a=1"}, {"Set-Cookie", "b=2"}};
  CHECK(stored(cookies, StoredCookies::kept) ==
        "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n" + some_date);
}

TEST_CASE("what is shared leaves out the connection, the framing and another holdfast's word") {
  CHECK(shared_head(fields_of({{"Retry-After", "7"},
                               {"idempotency-status", "replayed"},
                               {"Content-Length", "3"},
                               {"Connection", "X-Hop"},
                               {"X-Hop", "1"},
                               {"Idempotent-Replayed", "true"},
                               {"Set-Cookie", "a=b"}})) == "Retry-After: 7\r\nSet-Cookie: a=b\r\n");
}

TEST_CASE("a tombstone keeps Location and ETag only") {
  CHECK(tombstone_head(fields_of({{"Content-Type", "text/plain"},
                                  {"location", "/charges/1"},
                                  {"Date", "x"},
                                  {"etag", "\"v1\""}})) ==
        "location: /charges/1\r\netag: \"v1\"\r\n");
  CHECK(tombstone_head(fields_of({{"ETag", "\"v1\""}, {"Connection", "etag"}})).empty());
  CHECK(tombstone_head({}).empty());
}

TEST_CASE("what is stored comes back field by field") {
  const std::string text = "X-A: 1\r\nX-Empty: \r\nSet-Cookie: a=1; b\r\nset-cookie: c\r\n";
  const auto fields = parse_stored_head(text);
  REQUIRE(fields.has_value());
  REQUIRE(fields->size() == 4);
  const std::vector<Field> list(fields->begin(), fields->end());
  CHECK(list[0].name == "X-A");
  CHECK(list[0].value == "1");
  CHECK(list[1].value.empty());
  CHECK(list[2].value == "a=1; b");
  CHECK(list[3].id == FieldName::set_cookie);
  CHECK(parse_stored_head("")->empty());
}

TEST_CASE("a text that is not a stored head is not taken for one") {
  for (const std::string& text :
       {std::string("X-A: 1"), std::string("X-A: 1\n"), std::string("X-A 1\r\n"),
        std::string(": 1\r\n"), std::string("X A: 1\r\n"), std::string("X-A : 1\r\n"),
        std::string("\r\n"), std::string("X-A: 1\r\n\r\n"), std::string("X-A: 1\r\n X: 2\r\n"),
        std::string("X-A: 1\nX-B: 2\r\n"), std::string("X-A: a\rb\r\n"),
        std::string("X-A: a\0b\r\n", 10)}) {
    CAPTURE(text);
    CHECK_FALSE(parse_stored_head(text).has_value());
  }
}

TEST_CASE("a round trip changes no field") {
  CHECK(rc::check("stored and read again", [] {
    const auto values = *rc::gen::container<std::vector<std::string>>(
        rc::gen::container<std::string>(rc::gen::inRange<char>(0x21, 0x7f)));
    Pairs pairs = {{"Date", "x"}};
    for (const std::string& value : values) pairs.emplace_back("X-Value", value);
    const std::string text = stored(pairs);
    const auto fields = parse_stored_head(text);
    RC_ASSERT(fields.has_value());
    RC_ASSERT(fields->size() == pairs.size());
    std::size_t at = 0;
    for (const Field& field : *fields) RC_ASSERT(field.value == pairs[at++].second);
  }));
}

}  // namespace holdfast::http
