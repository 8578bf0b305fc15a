#include "holdfast/proxy/route_pattern.h"

#include <doctest/doctest.h>

#include <string>

TEST_CASE("a pattern that RE2 does not take says why") {
  using holdfast::proxy::pattern_error;
  for (const std::string pattern : {"(", "[a", "a**b(", "\\1", "(?=a)", "a{1001}"}) {
    CAPTURE(pattern);
    CHECK_FALSE(pattern_error(pattern).empty());
  }
  for (const std::string pattern : {"", "/v[0-9]+/", "^/a$", "(?i)x", "a|b"}) {
    CAPTURE(pattern);
    CHECK(pattern_error(pattern) == "");
  }
}
