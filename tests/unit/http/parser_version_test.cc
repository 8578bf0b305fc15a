#include "holdfast/http/parser_version.h"

#include <doctest/doctest.h>

#include <algorithm>

TEST_CASE("the library's version is a number and two dots") {
  const std::string version = holdfast::http::llhttp_version();
  CAPTURE(version);
  CHECK(version.front() >= '0');
  CHECK(version.front() <= '9');
  CHECK(std::count(version.begin(), version.end(), '.') == 2);
}
