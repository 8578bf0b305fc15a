#include "holdfast/base/uuid.h"

#include <doctest/doctest.h>

#include <set>
#include <string>

using namespace holdfast;
using namespace std::chrono_literals;

TEST_CASE("a UUIDv7 begins with its time and carries version and variant") {
  Rng rng(1);
  // RFC 9562, appendix A.6: 2022-02-22T19:22:22Z.
  const WallTime time{1645557742000ms};
  for (int i = 0; i < 1000; ++i) {
    const Uuid7 uuid(time, rng);
    const std::string text(uuid.text());
    REQUIRE(text.size() == 36);
    REQUIRE(text.substr(0, 14) == "017f22e2-79b0-");
    REQUIRE(text[14] == '7');
    REQUIRE(text[18] == '-');
    REQUIRE(std::string_view("89ab").find(text[19]) != std::string_view::npos);
    REQUIRE(text[23] == '-');
    REQUIRE(text.find_first_not_of("0123456789abcdef-") == std::string::npos);
  }
}

TEST_CASE("UUIDs of one moment differ, those of later moments sort after") {
  Rng rng(2);
  std::set<std::string> seen;
  for (int i = 0; i < 10000; ++i) seen.emplace(Uuid7(WallTime{1s}, rng).text());
  CHECK(seen.size() == 10000);
  CHECK(*seen.rbegin() < std::string(Uuid7(WallTime{1s + 1ms}, rng).text()));
}
