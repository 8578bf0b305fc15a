#include "holdfast/http/problem.h"

#include <doctest/doctest.h>

#include <set>
#include <string>

namespace holdfast::http {

TEST_CASE("each problem has the name and the status of the contract") {
  struct Example {
    Problem problem;
    std::string_view name;
    int status;
  };
  const Example examples[] = {
      {Problem::bad_request, "bad-request", 400},
      {Problem::destination_not_allowed, "destination-not-allowed", 403},
      {Problem::no_route, "no-route", 404},
      {Problem::method_not_allowed, "method-not-allowed", 405},
      {Problem::request_timeout, "request-timeout", 408},
      {Problem::content_too_large, "content-too-large", 413},
      {Problem::uri_too_long, "uri-too-long", 414},
      {Problem::expectation_failed, "expectation-failed", 417},
      {Problem::headers_too_large, "headers-too-large", 431},
      {Problem::not_implemented, "not-implemented", 501},
  };
  for (const Example& example : examples) {
    CHECK(name(example.problem) == example.name);
    CHECK(status_of(example.problem) == example.status);
    CHECK(title(example.problem).ends_with('.'));
    CHECK_FALSE(reason_phrase(example.status).empty());
  }
}

TEST_CASE("each error has a title of its own and a status with a phrase") {
  std::set<std::string_view> titles;
  for (int i = 0; i < error_type_count; ++i) {
    const auto type = static_cast<ErrorType>(i);
    CAPTURE(name(type));
    CHECK(titles.insert(title(type)).second);
    CHECK(title(type).ends_with('.'));
  }
  CHECK(title(ErrorType::connection_refused) == "The upstream refused the connection.");
  CHECK(title(ErrorType::proxy_internal_error) == "The proxy failed.");
}

TEST_CASE("an unknown status has no phrase") {
  CHECK(reason_phrase(200) == "OK");
  CHECK(reason_phrase(599).empty());
  CHECK(reason_phrase(0).empty());
}

TEST_CASE("a problem is rendered as the JSON of RFC 9457") {
  std::string out = "before ";
  append_problem_json(out, "connection_refused", "T", 502, "no one listens", "r-1");
  CHECK(out ==
        "before {\"type\":\"urn:problem-type:holdfast:connection-refused\",\"title\":\"T\","
        "\"status\":502,\"detail\":\"no one listens\",\"request_id\":\"r-1\"}");
}

TEST_CASE("what stands in a problem cannot break out of its JSON") {
  std::string out;
  append_problem_json(out, "bad-request", "t", 400, "a\"b\\c\n\x01\x7f\xc3\xa9\xc3", "\"}");
  CHECK(out ==
        "{\"type\":\"urn:problem-type:holdfast:bad-request\",\"title\":\"t\",\"status\":400,"
        "\"detail\":\"a\\\"b\\\\c\\n\\u0001\\u007f\xc3\xa9\\ufffd\",\"request_id\":\"\\\"}\"}");
}

}  // namespace holdfast::http
