// Chance: what a scenario draws from its seed, in the words it is planned in.
//
// Contract: a thin view of a Rng that is its own: what the code under test draws changes nothing
// here, so a plan stays the same plan when the product draws more or less.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <initializer_list>

#include "holdfast/base/rng.h"
#include "holdfast/base/time.h"

namespace holdfast::sim {

using namespace std::chrono_literals;

class Chance {
 public:
  explicit Chance(std::uint64_t seed) : rng_(seed) {}

  /// Even over [0, bound). REQUIRES: bound > 0.
  std::uint64_t below(std::uint64_t bound) { return rng_.below(bound); }
  bool percent(std::uint64_t share) { return below(100) < share; }
  std::uint64_t number(std::uint64_t least, std::uint64_t most) {
    return least + below(most - least + 1);
  }
  /// To the microsecond, so that two things seldom happen at one moment.
  Duration between(Duration least, Duration most) {
    const auto width = std::chrono::floor<std::chrono::microseconds>(most - least).count() + 1;
    return least + std::chrono::microseconds(below(static_cast<std::uint64_t>(width)));
  }
  template <class T>
  T one_of(std::initializer_list<T> choices) {
    return choices.begin()[below(choices.size())];
  }

 private:
  Rng rng_;
};

}  // namespace holdfast::sim
