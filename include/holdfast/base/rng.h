// Rng: the one source of chance, xoshiro256** (Blackman and Vigna, 2018), seeded through
// splitmix64.
//
// Contract: the same seed gives the same numbers on every machine and compiler. Not for secrets.
// Not thread-safe: one for each thread.
#pragma once

#include <array>
#include <cstdint>

namespace holdfast {

class Rng {
 public:
  explicit Rng(std::uint64_t seed);
  /// Seeded from the kernel (getrandom).
  static Rng from_entropy();

  std::uint64_t next();
  /// Even over [0, bound). REQUIRES: bound > 0.
  std::uint64_t below(std::uint64_t bound);
  /// Even over [0, 1).
  double uniform();

 private:
  std::array<std::uint64_t, 4> state_;
};

}  // namespace holdfast
