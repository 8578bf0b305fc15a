#include "tests/support/checks.h"

#include <doctest/doctest.h>
#include <re2/re2.h>

#include <nlohmann/json.hpp>

namespace holdfast::testing {
namespace {

/// Where the value of "; name=" starts, "; name" alone counts too; npos if it is not there.
std::size_t find_parameter(const std::string& value, std::string_view parameter) {
  const std::string mark = "; " + std::string(parameter);
  for (auto at = value.find(mark); at != value.npos; at = value.find(mark, at + 1)) {
    const auto end = at + mark.size();
    if (end == value.size() || value[end] == '=' || value[end] == ';') return end;
  }
  return value.npos;
}

}  // namespace

void check_problem(const Response& response, int status, std::string_view type,
                   std::string_view error) {
  CAPTURE(response.raw_head);
  CAPTURE(response.body);
  CHECK(response.complete);
  CHECK(response.status == status);
  CHECK(response.headers.get("Content-Type") == "application/problem+json");
  CHECK(response.headers.get("Cache-Control") == "no-store");
  CHECK(response.headers.count("Date") == 1);
  if (!error.empty()) CHECK(proxy_status(response, "error") == error);
  const auto body = nlohmann::json::parse(response.body, nullptr, false);
  REQUIRE(body.is_object());
  CHECK(body.value("type", "") == "urn:problem-type:holdfast:" + std::string(type));
  CHECK(body.value("status", 0) == status);
  CHECK_FALSE(body.value("title", "").empty());
  CHECK_FALSE(body.value("detail", "").empty());
  CHECK_FALSE(body.value("request_id", "").empty());
}

std::string proxy_status(const Response& response, std::string_view parameter) {
  const std::string value = response.headers.get("Proxy-Status");
  const auto start = find_parameter(value, parameter);
  if (start == value.npos || start == value.size() || value[start] != '=') return "";
  return value.substr(start + 1, value.find(';', start) - start - 1);
}

bool has_proxy_status(const Response& response, std::string_view parameter) {
  const std::string value = response.headers.get("Proxy-Status");
  return find_parameter(value, parameter) != value.npos;
}

bool matches(std::string_view text, const std::string& pattern) {
  const RE2 expression(pattern, RE2::Latin1);
  REQUIRE_MESSAGE(expression.ok(), expression.error());
  return RE2::PartialMatch(re2::StringPiece(text.data(), text.size()), expression);
}

}  // namespace holdfast::testing
