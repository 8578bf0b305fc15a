#include "holdfast/base/rng.h"

#include <doctest/doctest.h>

#include <array>

using namespace holdfast;

TEST_CASE("a seed gives the same numbers everywhere") {
  // Computed by an independent xoshiro256** behind splitmix64.
  Rng zero(0);
  for (const std::uint64_t expected :
       {0x99ec5f36cb75f2b4u, 0xbf6e1f784956452au, 0x1a5f849d4933e6e0u, 0x6aa594f1262d2d2cu}) {
    CHECK(zero.next() == expected);
  }
  Rng other(42);
  for (const std::uint64_t expected :
       {0x15780b2e0c2ec716u, 0x6104d9866d113a7eu, 0xae17533239e499a1u, 0xecb8ad4703b360a1u}) {
    CHECK(other.next() == expected);
  }
}

TEST_CASE("the kernel's seeds differ") {
  CHECK(Rng::from_entropy().next() != Rng::from_entropy().next());
}

TEST_CASE("below stays below and is even") {
  Rng rng(1);
  for (int i = 0; i < 100; ++i) REQUIRE(rng.below(1) == 0);

  constexpr int draws = 60000;
  std::array<int, 6> seen{};
  for (int i = 0; i < draws; ++i) ++seen.at(rng.below(seen.size()));
  for (const int count : seen) CHECK(count == doctest::Approx(draws / 6.0).epsilon(0.05));
}

TEST_CASE("a bound of more than half the range is even too") {
  // Without drawing again, the first third of this range would come up half of the time.
  constexpr std::uint64_t bound = 0xc000000000000000u;
  Rng rng(2);
  int low = 0;
  for (int i = 0; i < 30000; ++i) low += rng.below(bound) < bound / 3 ? 1 : 0;
  CHECK(low == doctest::Approx(10000).epsilon(0.05));
}

TEST_CASE("uniform lies in [0, 1) with its mean in the middle") {
  Rng rng(3);
  double sum = 0;
  for (int i = 0; i < 100000; ++i) {
    const double drawn = rng.uniform();
    REQUIRE(drawn >= 0.0);
    REQUIRE(drawn < 1.0);
    sum += drawn;
  }
  CHECK(sum / 100000 == doctest::Approx(0.5).epsilon(0.01));
}
