#include "holdfast/policy/health_check.h"

#include <doctest/doctest.h>

using namespace holdfast;
using namespace holdfast::policy;

namespace {

HealthOptions needing(int passed, int failed) {
  HealthOptions options;
  options.healthy_after = passed;
  options.unhealthy_after = failed;
  return options;
}

/// The rule in other words: it changes with the n-th check in a row that says so, the last n of
/// them without a change between; and the first check decides alone.
bool expected(std::uint32_t checks, int length, const HealthOptions& options) {
  bool healthy = true;
  int row = 0;
  for (int i = 0; i < length; ++i) {
    const bool passed = (checks >> i & 1u) != 0;
    row = passed == healthy ? 0 : row + 1;
    const int needed = healthy ? options.unhealthy_after : options.healthy_after;
    if (row == 0 || (i > 0 && row < needed)) continue;
    healthy = passed;
    row = 0;
  }
  return healthy;
}

}  // namespace

TEST_CASE("every short row of checks, for small numbers of each kind") {
  constexpr int length = 10;
  for (int needs = 0; needs < 9; ++needs) {
    const HealthOptions options = needing(1 + needs / 3, 1 + needs % 3);
    for (std::uint32_t checks = 0; checks < 1u << length; ++checks) {
      HealthCheck check;
      for (int i = 0; i < length; ++i) {
        const bool before = check.healthy();
        const bool changed = check.record((checks >> i & 1u) != 0, options);
        if (changed == (check.healthy() != before) &&
            check.healthy() == expected(checks, i + 1, options)) {
          continue;
        }
        CAPTURE(checks);
        CAPTURE(i);
        FAIL("a rule is broken");
      }
    }
  }
}

TEST_CASE("a new endpoint is healthy until its first check fails") {
  const HealthOptions options = needing(2, 3);
  HealthCheck check;
  CHECK(check.healthy());
  CHECK(check.record(false, options));
  CHECK_FALSE(check.healthy());
  CHECK_FALSE(check.record(true, options));
  CHECK(check.record(true, options));
  CHECK(check.healthy());
  CHECK_FALSE(check.record(false, options));
  CHECK_FALSE(check.record(false, options));
  CHECK(check.failed_in_a_row() == 2);
  CHECK(check.record(false, options));
}
