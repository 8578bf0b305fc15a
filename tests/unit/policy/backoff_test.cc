#include "holdfast/policy/backoff.h"

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <vector>

using namespace holdfast;
using namespace holdfast::policy;
using namespace std::chrono_literals;

namespace {

std::vector<Duration> ceilings(BackoffKind kind, Duration base, Duration max, int count) {
  const BackoffOptions options{.kind = kind, .base = base, .max = max};
  std::vector<Duration> found;
  for (int n = 1; n <= count; ++n) found.push_back(backoff_ceiling(options, n));
  return found;
}

struct Bounds {
  Duration low;
  Duration high;
};

// Contract §2 for one ceiling c.
Bounds bounds_of(const BackoffOptions& options, Duration c) {
  const auto share = [c](double ratio) {
    return Duration(static_cast<std::int64_t>(static_cast<double>(c.count()) * ratio));
  };
  switch (options.jitter) {
    case JitterKind::full:
      return {0ns, c};
    case JitterKind::equal:
      return {c / 2, c};
    case JitterKind::none:
      return {c, c};
    case JitterKind::ratio:
      break;
  }
  return {c - share(options.jitter_ratio), c + share(options.jitter_ratio)};
}

}  // namespace

TEST_CASE("ceilings grow as their kind says, up to max") {
  using Durations = std::vector<Duration>;
  CHECK(ceilings(BackoffKind::exponential, 25ms, 1s, 8) ==
        Durations{25ms, 50ms, 100ms, 200ms, 400ms, 800ms, 1s, 1s});
  CHECK(ceilings(BackoffKind::fibonacci, 100ms, 1s, 8) ==
        Durations{100ms, 100ms, 200ms, 300ms, 500ms, 800ms, 1s, 1s});
  CHECK(ceilings(BackoffKind::constant, 70ms, 1s, 3) == Durations{70ms, 70ms, 70ms});
  CHECK(ceilings(BackoffKind::exponential, 3s, 1s, 2) == Durations{1s, 1s});
  CHECK(ceilings(BackoffKind::exponential, 0s, 1s, 3) == Durations{0s, 0s, 0s});
  CHECK(ceilings(BackoffKind::fibonacci, 0s, 1s, 3) == Durations{0s, 0s, 0s});
}

TEST_CASE("no number of attempts and no length of time overflows") {
  for (const BackoffKind kind :
       {BackoffKind::exponential, BackoffKind::fibonacci, BackoffKind::constant}) {
    for (const Duration base : {Duration(0), Duration(1), Duration::max() - 1ns, Duration::max()}) {
      const BackoffOptions options{.kind = kind, .base = base, .max = Duration::max()};
      const Duration ceiling = backoff_ceiling(options, std::numeric_limits<int>::max());
      CHECK(ceiling >= base);
      CHECK((base == 0ns) == (ceiling == 0ns));
    }
  }
  Rng rng(1);
  const BackoffOptions longest{.kind = BackoffKind::constant,
                               .base = Duration::max(),
                               .jitter = JitterKind::ratio,
                               .jitter_ratio = 1.0};
  for (int i = 0; i < 100; ++i) CHECK(backoff_delay(longest, 1, rng) >= 0ns);
}

TEST_CASE("a delay lies within the bounds of its jitter") {
  CHECK(rc::check([] {
    BackoffOptions options;
    options.kind =
        *rc::gen::element(BackoffKind::exponential, BackoffKind::fibonacci, BackoffKind::constant);
    options.jitter =
        *rc::gen::element(JitterKind::full, JitterKind::equal, JitterKind::none, JitterKind::ratio);
    options.jitter_ratio = *rc::gen::inRange(0, 101) / 100.0;
    options.base = Duration(*rc::gen::inRange<std::int64_t>(0, 10'000'000'000));
    options.max = Duration(*rc::gen::inRange<std::int64_t>(0, 10'000'000'000));
    const int attempts_made = *rc::gen::inRange(1, 200);
    Rng rng(*rc::gen::arbitrary<std::uint64_t>());

    const Duration ceiling = backoff_ceiling(options, attempts_made);
    if (options.kind != BackoffKind::constant) RC_ASSERT(ceiling <= options.max);
    const Bounds bounds = bounds_of(options, ceiling);
    const Duration delay = backoff_delay(options, attempts_made, rng);
    RC_ASSERT(delay >= bounds.low);
    RC_ASSERT(delay <= bounds.high);
  }));
}

TEST_CASE("jitter uses the whole of its range") {
  for (const JitterKind jitter : {JitterKind::full, JitterKind::equal, JitterKind::ratio}) {
    const BackoffOptions options{
        .kind = BackoffKind::constant, .base = 1s, .jitter = jitter, .jitter_ratio = 0.25};
    const Bounds bounds = bounds_of(options, 1s);
    const Duration edge = (bounds.high - bounds.low) / 20;
    Rng rng(7);
    std::vector<Duration> delays;
    for (int i = 0; i < 1000; ++i) delays.push_back(backoff_delay(options, 1, rng));
    const auto [least, most] = std::ranges::minmax(delays);
    CHECK(least < bounds.low + edge);
    CHECK(most > bounds.high - edge);
  }
}
