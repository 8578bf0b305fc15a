#include "holdfast/policy/outlier.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>

using namespace holdfast;
using namespace holdfast::policy;
using namespace std::chrono_literals;

namespace {

using Outcome = Outlier::Outcome;

constexpr TimePoint start = TimePoint(1000s);

OutlierOptions after_failures(int count) {
  OutlierOptions options;
  options.consecutive_failures = count;
  return options;
}

EndpointCensus census_of(std::size_t all, std::size_t ejected) {
  return {all, all - ejected, ejected, 0};
}

/// Fails until it is ejected, or `most` times.
int failures_to_ejection(Outlier& outlier, TimePoint now, const OutlierOptions& options,
                         const EndpointCensus& census, int most = 100) {
  for (int failures = 1; failures <= most; ++failures) {
    if (outlier.record(Outcome::failure, now, now, options, census)) return failures;
  }
  return -1;
}

/// A set of endpoints, as their owner keeps it.
struct Set {
  std::array<Outlier, 3> endpoints;
  std::array<int, 3> rows{};  // the model: failures in a row while in service
  TimePoint now = start;
  OutlierOptions options = after_failures(2);
  bool good = true;

  EndpointCensus census() const {
    return census_of(endpoints.size(),
                     static_cast<std::size_t>(std::ranges::count_if(endpoints, &Outlier::ejected)));
  }
  void pass() {
    now += 6s;
    for (std::size_t i = 0; i < endpoints.size(); ++i) {
      const bool due = endpoints[i].ejected() && endpoints[i].ejected_until() <= now;
      const bool was_ejected = endpoints[i].ejected();
      expect(endpoints[i].tick(now) == due && endpoints[i].ejected() == (was_ejected && !due));
    }
    expect_bounds();
  }
  void record(std::size_t i, Outcome outcome) {
    const EndpointCensus before = census();
    const bool was_ejected = endpoints[i].ejected();
    if (!was_ejected) rows[i] = outcome == Outcome::success ? 0 : rows[i] + 1;
    const EndpointCensus then = {3, before.in_service - 1, before.ejected + 1, 0};
    const bool due = !was_ejected && rows[i] >= options.consecutive_failures &&
                     then.in_service >= 1 &&
                     static_cast<double>(then.ejected) <= options.max_ejected * 3;
    expect(endpoints[i].record(outcome, now, now, options, before) == due);
    expect(endpoints[i].ejected() == (was_ejected || due));
    if (due) rows[i] = 0;
    expect_bounds();
  }
  void expect_bounds() {
    expect(census().in_service >= 1);
    expect(static_cast<double>(census().ejected) <= options.max_ejected * 3);
  }
  void expect(bool truth) { good = good && truth; }
  void event(int number) {
    if (number == 6) return pass();
    record(static_cast<std::size_t>(number / 2),
           number % 2 == 0 ? Outcome::success : Outcome::failure);
  }
};

}  // namespace

TEST_CASE("every short history of three endpoints obeys the rules") {
  for (const double max_ejected : {0.0, 0.5, 1.0}) {
    constexpr int length = 6;
    constexpr int events = 7;
    int histories = 1;
    for (int i = 0; i < length; ++i) histories *= events;
    for (int history = 0; history < histories; ++history) {
      Set set;
      set.options.max_ejected = max_ejected;
      set.options.eject_for = 10s;
      for (int left = history, i = 0; i < length; ++i, left /= events) set.event(left % events);
      if (set.good) continue;
      CAPTURE(history);
      FAIL("a rule is broken");
    }
  }
}

TEST_CASE("a success ends the row of failures") {
  Outlier outlier;
  const OutlierOptions options = after_failures(3);
  const EndpointCensus census = census_of(2, 0);
  for (int i = 0; i < 10; ++i) {
    CHECK_FALSE(outlier.record(Outcome::failure, start, start, options, census));
    CHECK_FALSE(outlier.record(Outcome::failure, start, start, options, census));
    CHECK_FALSE(outlier.record(Outcome::success, start, start, options, census));
  }
  CHECK(failures_to_ejection(outlier, start, options, census) == 3);
}

TEST_CASE("each ejection is longer than the last, up to 300 s, and a while in service forgives") {
  Outlier outlier;
  const OutlierOptions options = after_failures(1);
  const EndpointCensus census = census_of(2, 0);
  TimePoint now = start;
  for (const Duration lasts : {30s, 60s, 90s, 120s, 150s, 180s, 210s, 240s, 270s, 300s, 300s}) {
    REQUIRE(failures_to_ejection(outlier, now, options, census) == 1);
    CHECK(outlier.ejected_until() == now + lasts);
    CHECK_FALSE(outlier.tick(now + lasts - 1ns));
    now += lasts;
    CHECK(outlier.tick(now));
  }
  CHECK(outlier.ejections(now + 9s) == 11);
  CHECK(outlier.ejections(now + 10s) == 10);
  CHECK(outlier.ejections(now + 95s) == 2);
  now += 1h;
  CHECK(outlier.ejections(now) == 0);
  CHECK(failures_to_ejection(outlier, now, options, census) == 1);
  CHECK(outlier.ejected_until() == now + 30s);
}

TEST_CASE("an ejection longer than the bound lasts as long as it was asked for, and never wraps") {
  for (const Duration eject_for : {Duration(400s), Duration(24h * 36500)}) {
    Outlier outlier;
    OutlierOptions options = after_failures(1);
    options.eject_for = eject_for;
    TimePoint now = start;
    for (int i = 0; i < 2; ++i) {
      REQUIRE(failures_to_ejection(outlier, now, options, census_of(2, 0)) == 1);
      CHECK(outlier.ejected_until() == after(now, eject_for));
      now = outlier.ejected_until();
      outlier.tick(now);
    }
  }
}

TEST_CASE("what began before it came back says nothing, and nothing is counted while it is out") {
  Outlier outlier;
  const OutlierOptions options = after_failures(2);
  const EndpointCensus census = census_of(2, 0);
  CHECK(failures_to_ejection(outlier, start, options, census) == 2);
  CHECK(failures_to_ejection(outlier, start + 1s, options, census_of(2, 1), 10) == -1);
  const TimePoint back = outlier.ejected_until();
  CHECK(outlier.tick(back));
  for (int i = 0; i < 5; ++i) {
    CHECK_FALSE(outlier.record(Outcome::failure, back - 1ns, back + 1s, options, census));
  }
  CHECK(outlier.failures_in_a_row() == 0);
  CHECK(failures_to_ejection(outlier, back, options, census) == 2);
}

TEST_CASE("one that was refused its ejection is asked for again with its next failure") {
  Outlier outlier;
  const OutlierOptions options = after_failures(2);
  CHECK(failures_to_ejection(outlier, start, options, census_of(2, 1), 5) == -1);
  CHECK(failures_to_ejection(outlier, start, options, census_of(2, 0)) == 1);
}

TEST_CASE("one alone is never ejected, whatever the share") {
  Outlier outlier;
  OutlierOptions options = after_failures(1);
  options.max_ejected = 1;
  CHECK(failures_to_ejection(outlier, start, options, census_of(1, 0)) == -1);
}

TEST_CASE("panic: fewer in service than the share; those on their way out are not asked for") {
  struct Case {
    EndpointCensus census;
    double panic_below;
    bool panics;
  };
  const Case cases[] = {
      {{4, 4, 0, 0}, 0.5, false}, {{4, 2, 2, 0}, 0.5, false}, {{4, 1, 2, 0}, 0.5, true},
      {{4, 0, 0, 0}, 0.5, true},  {{4, 0, 0, 0}, 0, false},   {{4, 3, 1, 0}, 1, true},
      {{4, 4, 0, 0}, 1, false},   {{4, 2, 0, 2}, 1, false},   {{4, 1, 0, 2}, 0.5, false},
      {{4, 0, 0, 4}, 1, false},   {{1, 0, 0, 0}, 0.5, true},  {{0, 0, 0, 0}, 0.5, false},
  };
  for (const Case& one : cases) {
    OutlierOptions options;
    options.panic_below = one.panic_below;
    CAPTURE(one.census.in_service);
    CAPTURE(one.panic_below);
    CHECK(panics(one.census, options) == one.panics);
  }
}

TEST_CASE("slow start: from a tenth to the whole, in a line") {
  CHECK(slow_start_percent(0s, 10s) == 10);
  CHECK(slow_start_percent(500ms, 10s) == 10);
  CHECK(slow_start_percent(2500ms, 10s) == 25);
  CHECK(slow_start_percent(9999ms, 10s) == 99);
  CHECK(slow_start_percent(10s, 10s) == 100);
  CHECK(slow_start_percent(1h, 10s) == 100);
  CHECK(slow_start_percent(-1s, 10s) == 10);
}
