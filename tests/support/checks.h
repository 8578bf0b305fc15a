// Checks that many suites share. They report through doctest.
#pragma once

#include <string>
#include <string_view>

#include "tests/support/http_message.h"

namespace holdfast::testing {

/// An answer that holdfast made: problem+json with every member, never cached, and explained.
/// `type` is the last part of the problem's type, `error` what Proxy-Status says ("" for any).
void check_problem(const Response& response, int status, std::string_view type,
                   std::string_view error = "");

/// The value of a parameter of Proxy-Status ("error", "attempts"), or "".
std::string proxy_status(const Response& response, std::string_view parameter);

/// True if the response's Proxy-Status carries that parameter, with or without a value.
bool has_proxy_status(const Response& response, std::string_view parameter);

/// True if the RE2 pattern is found in the text; "^" and "$" are its two ends.
bool matches(std::string_view text, const std::string& pattern);

}  // namespace holdfast::testing
