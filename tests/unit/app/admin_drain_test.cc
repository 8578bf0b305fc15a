#include "holdfast/app/admin_drain.h"

#include <doctest/doctest.h>

namespace holdfast::app {

TEST_CASE("a drain names an upstream and an endpoint, and nothing else") {
  const auto target = parse_drain_target(R"({"endpoint":"10.0.0.1:80","upstream":"pay"})");
  REQUIRE(target);
  CHECK(target->upstream == "pay");
  CHECK(target->endpoint == "10.0.0.1:80");
  for (const char* wrong :
       {"", "{", "[]", "1", "{}", R"({"upstream":"pay"})", R"({"upstream":"pay","endpoint":1})",
        R"({"upstream":null,"endpoint":"a"})", R"({"upstream":"pay","endpoint":"a","more":1})"}) {
    CAPTURE(wrong);
    CHECK_FALSE(parse_drain_target(wrong));
  }
}

}  // namespace holdfast::app
