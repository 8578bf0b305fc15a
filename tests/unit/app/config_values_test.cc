#include "holdfast/app/config_values.h"

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <string>
#include <vector>

namespace holdfast::app {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

TEST_CASE("what is no duration is refused") {
  for (const std::string text : {"",
                                 "3",
                                 "s",
                                 "ms",
                                 "3 s",
                                 " 3s",
                                 "3s ",
                                 "+3s",
                                 "-3s",
                                 "1.5s",
                                 "3S",
                                 "3sec",
                                 "3us",
                                 "3d",
                                 "3s3",
                                 "0x3s",
                                 "99999999999999999999s",
                                 "876001h",
                                 "1h30m",
                                 "off"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_duration(text).has_value());
  }
}

TEST_CASE("a duration is one integer and a unit") {
  CHECK(parse_duration("250ms") == milliseconds(250));
  CHECK(parse_duration("3s") == seconds(3));
  CHECK(parse_duration("5m") == minutes(5));
  CHECK(parse_duration("24h") == hours(24));
  CHECK(parse_duration("0s") == seconds(0));
  CHECK(parse_duration("876000h") == hours(876000));
}

TEST_CASE("what is no size is refused") {
  for (const std::string text : {"", "64", "KiB", "64 KiB", "64kib", "64KB", "64K", "-1B", "1.5MiB",
                                 "1TiB", "9007199254740993B", "18446744073709551615GiB", "off"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_size(text).has_value());
  }
}

TEST_CASE("a size is one integer and a unit") {
  CHECK(parse_size("512B") == 512);
  CHECK(parse_size("64KiB") == 65536);
  CHECK(parse_size("1MiB") == 1048576);
  CHECK(parse_size("1GiB") == 1073741824);
  CHECK(parse_size("0B") == 0);
}

TEST_CASE("rates") {
  for (const std::string text :
       {"", "100", "/s", "100/", "100/h", "0/s", "-1/s", "100 /s", "100/s/s"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_rate(text).has_value());
  }
  CHECK(parse_rate("100/s")->count == 100);
  CHECK(parse_rate("100/s")->per == seconds(1));
  CHECK(parse_rate("6000/m")->count == 6000);
  CHECK(parse_rate("6000/m")->per == minutes(1));

  for (const std::string text : {"", "240", "240/s", "240B", "0B/s", "240B/m", "B/s"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_byte_rate(text).has_value());
  }
  CHECK(parse_byte_rate("240B/s") == 240);
  CHECK(parse_byte_rate("2KiB/s") == 2048);
}

TEST_CASE("what is written is read again as the same value") {
  CHECK(format_duration(milliseconds(250)) == "250ms");
  CHECK(format_duration(milliseconds(1500)) == "1500ms");
  CHECK(format_duration(seconds(60)) == "60s");
  CHECK(format_duration(seconds(75)) == "75s");
  CHECK(format_duration(minutes(5)) == "5m");
  CHECK(format_duration(hours(24)) == "24h");
  CHECK(format_duration(Duration::zero()) == "0s");
  CHECK(format_size(0) == "0B");
  CHECK(format_size(1023) == "1023B");
  CHECK(format_size(65536) == "64KiB");
  CHECK(format_size(std::uint64_t{3} << 30) == "3GiB");

  const auto check = [](bool holds) { CHECK(holds); };
  check(rc::check("durations", [] {
    const auto count = *rc::gen::inRange<std::int64_t>(0, 100'000'000'000);
    RC_ASSERT(parse_duration(format_duration(milliseconds(count))) == milliseconds(count));
  }));
  check(rc::check("sizes", [] {
    const auto bytes = *rc::gen::inRange<std::uint64_t>(0, std::uint64_t{1} << 53);
    RC_ASSERT(parse_size(format_size(bytes)) == bytes);
  }));
}

TEST_CASE("a string takes its variables from the environment") {
  const Environment environment = {
      {"NAME", "value"}, {"EMPTY", ""}, {"_x1", "under"}, {"DOLLAR", "${NAME}"}};
  struct Case {
    std::string text;
    std::string expected;
    bool from_environment;
  };
  const std::vector<Case> cases = {
      {"", "", false},
      {"plain", "plain", false},
      {"${NAME}", "value", true},
      {"a${NAME}b${_x1}c", "avaluebunderc", true},
      {"${NAME:-other}", "value", true},
      {"${MISSING:-other}", "other", false},
      {"${MISSING:-}", "", false},
      {"${EMPTY:-other}", "other", false},
      {"${EMPTY}", "", true},
      {"${MISSING:-http://h:80}", "http://h:80", false},
      {"${DOLLAR}", "${NAME}", true},  // what comes from the environment is not read again
      {"$$", "$", false},
      {"$${NAME}", "${NAME}", false},
      {"$$${NAME}", "$value", true},
      {"$", "$", false},
      {"^/a$", "^/a$", false},
      {"$NAME", "$NAME", false},
      {"100$ ", "100$ ", false},
  };
  for (const Case& expected : cases) {
    CAPTURE(expected.text);
    const auto expanded = expand(expected.text, environment);
    REQUIRE(expanded.has_value());
    CHECK(expanded->text == expected.expected);
    CHECK(expanded->from_environment == expected.from_environment);
  }
}

TEST_CASE("a variable that is missing or malformed is an error that names it") {
  const auto error = [](std::string_view text) {
    const auto expanded = expand(text, {});
    REQUIRE_FALSE(expanded.has_value());
    return expanded.error();
  };
  CHECK(error("${MISSING}") == "the environment variable MISSING is not set and has no default");
  CHECK(error("${NAME") == "${ without its }");
  for (const std::string text : {"${}", "${1a}", "${a b}", "${a-b}", "${:-x}", "${a:?x}"}) {
    CAPTURE(text);
    CHECK(error(text) == "${…} needs the name of an environment variable");
  }
}

}  // namespace holdfast::app
