#include "holdfast/policy/retry_budget.h"

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <vector>

using namespace holdfast;
using namespace holdfast::policy;
using namespace std::chrono_literals;

namespace {

constexpr TimePoint start(1000s);

int granted_after(const RetryBudgetOptions& options, int requests) {
  RetryBudget budget(options.window);
  for (int i = 0; i < requests; ++i) budget.record_request(start);
  int granted = 0;
  while (budget.try_retry(options, start)) ++granted;
  return granted;
}

}  // namespace

TEST_CASE("the limit is the ratio of the requests or the floor, whichever is more") {
  struct Row {
    double ratio, min_per_second;
    Duration window;
    int requests, granted;
  };
  for (const Row& row : {
           Row{0, 0, 10s, 1000, 0},  // no budget at all
           Row{0.2, 0, 10s, 0, 0},   // nothing to retry
           Row{0.2, 0, 10s, 4, 0},   // a fifth of 4 is no whole retry
           Row{0.2, 0, 10s, 5, 1},
           Row{0.2, 0, 10s, 1000, 200},
           Row{0.07, 0, 10s, 100, 7},   // 0.07 × 100 is more than 7 in doubles
           Row{0.29, 0, 10s, 100, 29},  // 0.29 × 100 is less than 29 in doubles
           Row{1, 0, 10s, 17, 17},
           Row{0.2, 3, 10s, 0, 30},  // the defaults' floor
           Row{0.2, 3, 10s, 150, 30},
           Row{0.2, 3, 10s, 155, 31},
           Row{0, 0.5, 10s, 0, 5},
           Row{0, 3, 500ms, 0, 1},
       }) {
    CAPTURE(row.ratio);
    CAPTURE(row.requests);
    CHECK(granted_after({row.ratio, row.min_per_second, row.window}, row.requests) == row.granted);
  }
}

TEST_CASE("a spent budget comes back as retries leave the window, not before") {
  const RetryBudgetOptions options{0, 1, 10s};
  RetryBudget budget(options.window);
  for (int i = 0; i < 10; ++i) REQUIRE(budget.try_retry(options, start));
  CHECK_FALSE(budget.try_retry(options, start + 10s - 1ns));
  CHECK(budget.try_retry(options, start + 10s));
  CHECK(budget.retries(start + 10s) == 1);
}

TEST_CASE("a refused retry is not counted; one granted elsewhere is") {
  const RetryBudgetOptions options{0.5, 0, 10s};
  RetryBudget budget(options.window);
  for (int i = 0; i < 4; ++i) budget.record_request(start);
  budget.record_retry(start);
  CHECK(budget.try_retry(options, start));
  CHECK_FALSE(budget.try_retry(options, start));
  CHECK(budget.requests(start) == 4);
  CHECK(budget.retries(start) == 2);
}

TEST_CASE("routes share the counts and bring their own limit") {
  RetryBudget budget(10s);
  for (int i = 0; i < 10; ++i) budget.record_request(start);
  REQUIRE(budget.try_retry({0.2, 0, 10s}, start));
  REQUIRE(budget.try_retry({0.2, 0, 10s}, start));
  CHECK_FALSE(budget.try_retry({0.2, 0, 10s}, start));
  CHECK(budget.try_retry({0.3, 0, 10s}, start));
}

TEST_CASE("whatever comes, retries granted stay within the limit at that moment") {
  CHECK(rc::check([] {
    const RetryBudgetOptions options{*rc::gen::inRange(0, 101) / 100.0,
                                     *rc::gen::inRange(0, 50) / 10.0, 10s};
    RetryBudget budget(options.window);
    TimePoint now = start;
    const auto events = *rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 3000));
    for (const int event : events) {
      now += event * 1ms;
      if (event % 3 != 0) budget.record_request(now);
      const bool granted = budget.try_retry(options, now);
      const double limit = std::max(options.ratio * static_cast<double>(budget.requests(now)),
                                    options.min_per_second * 10);
      const auto retries = static_cast<double>(budget.retries(now));
      if (granted) RC_ASSERT(retries <= limit + 1e-9);
      if (!granted) RC_ASSERT(retries + 1 > limit - 1e-9);
    }
  }));
}
