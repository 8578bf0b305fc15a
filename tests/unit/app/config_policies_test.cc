#include "holdfast/app/config_policies.h"

#include <doctest/doctest.h>

#include <string>

#include "tests/unit/app/config_support.h"

namespace holdfast::app {
namespace {

std::string with_fallback(const std::string& keys) {
  return with_route("[[route.fallback]]\n" + keys);
}

}  // namespace

TEST_CASE("a fallback gives exactly one answer") {
  CHECK(refuses(with_fallback(""), "f.toml:5:1: error: a fallback needs one of"));
  CHECK(refuses(with_fallback("body = \"\"\nbody_file = \"x\"\n"), "not several"));
  CHECK(refuses(with_fallback("body = \"\"\nupstream = \"app\"\n"), "not several"));
  CHECK(refuses(with_fallback("upstream = \"ap\"\n"), "did you mean \"app\"?"));
  CHECK(refuses(with_fallback("upstream = \"app\"\nstatus = 200\n"),
                "f.toml:7:1: error: \"status\" makes no sense"));
  CHECK(refuses(with_fallback("upstream = \"app\"\nheaders = {}\n"), "\"headers\" makes no sense"));
  CHECK(refuses(with_fallback("body_file = \"/dev/null\"\n"), "it is not a regular file"));
  CHECK(refuses(with_fallback("body = \"\"\non = []\n"),
                "a fallback for no condition is never used"));
  CHECK(refuses(with_fallback("body = \"x\"\nstatus = 204\n"),
                "a response with status 204 has no body"));
  CHECK(refuses(with_fallback("body = \"x\"\nstatus = 101\n"),
                "\"status\" must be an integer from 200 to 599"));
  CHECK(refuses(with_route("[route.fallback]\nbody = \"\"\n"),
                "must be an array of tables ([[route.fallback]])"));
}

TEST_CASE("a fallback's defaults") {
  const LoadedConfig loaded =
      load(with_fallback("body = \"x\"\n[[route.fallback]]\nupstream = \"app\"\n"));
  const auto& fallbacks = loaded.config->routes[0].fallbacks;
  REQUIRE(fallbacks.size() == 2);
  CHECK(fallbacks[0].response.status == 200);
  CHECK(fallbacks[0].response.body == "x");
  CHECK(fallbacks[0].upstream.empty());
  CHECK(fallbacks[1].upstream == "app");
  for (const ErrorGroup group : {ErrorGroup::open, ErrorGroup::timeout, ErrorGroup::connect,
                                 ErrorGroup::reset, ErrorGroup::overload}) {
    CHECK(fallbacks[0].on.has(group));
  }
  CHECK(fallbacks[0].on.matches_status(500));
  CHECK_FALSE(fallbacks[0].on.matches_status(429));
  CHECK_FALSE(fallbacks[0].on.has(ErrorGroup::rate_limited));
}

TEST_CASE("an empty body is a body, and an empty list of fallbacks takes away the inherited ones") {
  CHECK(load(with_fallback("body = \"\"\nstatus = 204\n"))
            .config->routes[0]
            .fallbacks[0]
            .response.status == 204);
  const std::string inherited = "[[defaults.fallback]]\nbody = \"x\"\n";
  CHECK(load(inherited + with_route("")).config->routes[0].fallbacks.size() == 1);
  CHECK(load(inherited + with_route("fallback = []\n")).config->routes[0].fallbacks.empty());
}

}  // namespace holdfast::app
