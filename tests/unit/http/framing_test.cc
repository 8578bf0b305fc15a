#include "holdfast/http/framing.h"

#include <doctest/doctest.h>

#include <initializer_list>
#include <utility>

namespace holdfast::http {
namespace {

using Kind = Framing::Kind;

Fields make(std::initializer_list<std::pair<std::string_view, std::string_view>> list) {
  Fields fields;
  for (const auto& [name, value] : list) fields.add(name, value);
  return fields;
}

}  // namespace

TEST_CASE("a Content-Length that is no single number is refused") {
  for (const std::string_view value :
       {"", "+5", "-0", "5, 5", "5,6", ",5", "5;", "5.0", "1_0", "\"5\"", "0x5", "5 5",
        "\xc2\xa0"
        "5",
        "18446744073709551621", "99999999999999999999999999999999"}) {
    CAPTURE(value);
    const auto framing = declared_framing(make({{"Content-Length", value}}), 1);
    REQUIRE_FALSE(framing.has_value());
    CHECK(framing.error().problem == Problem::bad_request);
  }
  CHECK_FALSE(declared_framing(make({{"Content-Length", "5"}, {"content-length", "5"}}), 1));
}

TEST_CASE("a Content-Length beyond every limit is too large, not wrong") {
  const auto framing = declared_framing(make({{"Content-Length", "9223372036854775808"}}), 1);
  REQUIRE_FALSE(framing.has_value());
  CHECK(framing.error().problem == Problem::content_too_large);
  CHECK(declared_framing(make({{"Content-Length", "9223372036854775807"}}), 1).has_value());
}

TEST_CASE("a Transfer-Encoding other than chunked is refused") {
  for (const std::string_view value :
       {"", "gzip", "identity", "xchunked", "chunk", "chunked, chunked", "gzip, chunked",
        "chunked, identity", ",chunked", "chunked,", "chunked;q=1", "\"chunked\""}) {
    CAPTURE(value);
    CHECK_FALSE(declared_framing(make({{"Transfer-Encoding", value}}), 1).has_value());
  }
  const Fields twice = make({{"Transfer-Encoding", "chunked"}, {"Transfer-Encoding", "chunked"}});
  CHECK_FALSE(declared_framing(twice, 1).has_value());
  CHECK_FALSE(declared_framing(make({{"Transfer-Encoding", "chunked"}}), 0).has_value());
}

TEST_CASE("Content-Length and Transfer-Encoding together are refused in either order") {
  CHECK_FALSE(
      declared_framing(make({{"Content-Length", "0"}, {"Transfer-Encoding", "chunked"}}), 1));
  CHECK_FALSE(
      declared_framing(make({{"Transfer-Encoding", "chunked"}, {"Content-Length", "0"}}), 1));
}

TEST_CASE("what is declared is the framing") {
  CHECK(*declared_framing(make({}), 1) == Framing{});
  CHECK(*declared_framing(make({{"Content-Length", "0"}}), 1) == Framing{Kind::length, 0});
  CHECK(*declared_framing(make({{"Content-Length", "007"}}), 0) == Framing{Kind::length, 7});
  CHECK(*declared_framing(make({{"Transfer-Encoding", "Chunked"}}), 1) ==
        Framing{Kind::chunked, 0});
}

TEST_CASE("responses without a body have none, whatever they declare") {
  const Framing five{Kind::length, 5};
  const Framing chunked{Kind::chunked, 0};
  for (const Framing declared : {Framing{}, five, chunked}) {
    CHECK(*response_framing(declared, 200, Method::head) == Framing{});
    CHECK(*response_framing(declared, 204, Method::get) == Framing{});
    CHECK(*response_framing(declared, 205, Method::get) == Framing{});
    CHECK(*response_framing(declared, 304, Method::get) == Framing{});
    CHECK(response_framing(declared, 103, Method::get).has_value() == !declared.has_body());
  }
  CHECK(*response_framing({}, 200, Method::get) == Framing{Kind::until_close, 0});
  CHECK(*response_framing(five, 404, Method::post) == five);
  CHECK(*response_framing(chunked, 200, Method::get) == chunked);
}

TEST_CASE("a response that may have left content behind spoils its connection") {
  CHECK(leaves_content_unread({Kind::length, 5}, 204));
  CHECK(leaves_content_unread({Kind::chunked, 0}, 205));
  CHECK(leaves_content_unread({}, 205));
  CHECK_FALSE(leaves_content_unread({Kind::length, 0}, 205));
  CHECK_FALSE(leaves_content_unread({}, 204));
  CHECK_FALSE(leaves_content_unread({Kind::length, 5}, 304));
  CHECK_FALSE(leaves_content_unread({Kind::length, 5}, 200));
}

TEST_CASE("there is exactly one Host, or none in HTTP/1.0") {
  CHECK_FALSE(host_of(make({}), 1).has_value());
  CHECK(*host_of(make({}), 0) == "");
  CHECK_FALSE(host_of(make({{"Host", "a"}, {"host", "a"}}), 1).has_value());
  CHECK_FALSE(host_of(make({{"Host", "a"}, {"host", "a"}}), 0).has_value());
  CHECK_FALSE(host_of(make({{"Host", ""}}), 1).has_value());
  CHECK_FALSE(host_of(make({{"Host", ""}}), 0).has_value());
  CHECK(*host_of(make({{"Host", "a:80"}}), 1) == "a:80");
}

TEST_CASE("Connection may not name what is meant for the far end") {
  for (const std::string_view value :
       {"Host", "close, Authorization", "content-length", "Transfer-Encoding", "Idempotency-Key",
        "X-Forwarded-For", "Via", "Cookie"}) {
    CAPTURE(value);
    CHECK_FALSE(check_connection(make({{"Connection", value}})).has_value());
    CHECK_FALSE(
        check_connection(make({{"Connection", "close"}, {"Connection", value}})).has_value());
  }
  for (const std::string_view value :
       {"", "close", "keep-alive, TE", "Upgrade, HTTP2-Settings", "X-Secret", "Keep-Alive"}) {
    CAPTURE(value);
    CHECK(check_connection(make({{"Connection", value}})).has_value());
  }
}

TEST_CASE("a connection stays by its version and its words") {
  struct Example {
    std::string_view connection;
    bool http_1_1;
    bool http_1_0;
  };
  const Example examples[] = {
      {"", true, false},          {"close", false, false},    {"CLOSE", false, false},
      {"x, close", false, false}, {"keep-alive", true, true}, {"keep-alive, close", false, false},
      {"closed", true, false},
  };
  for (const Example& example : examples) {
    CAPTURE(example.connection);
    const Fields fields = make({{"Connection", example.connection}});
    CHECK(wants_persistence(fields, 1) == example.http_1_1);
    CHECK(wants_persistence(fields, 0) == example.http_1_0);
  }
}

TEST_CASE("the only expectation is 100-continue") {
  CHECK_FALSE(has_unknown_expectation(make({})));
  CHECK_FALSE(has_unknown_expectation(make({{"Expect", "100-Continue"}})));
  CHECK(has_unknown_expectation(make({{"Expect", ""}})));
  CHECK(has_unknown_expectation(make({{"Expect", "y 100-continue"}})));
  CHECK(has_unknown_expectation(make({{"Expect", "100-continue"}, {"Expect", "200-ok"}})));
}

}  // namespace holdfast::http
