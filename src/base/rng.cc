#include "holdfast/base/rng.h"

#include <sys/random.h>

#include <bit>
#include <cerrno>

#include "holdfast/base/assert.h"

namespace holdfast {
namespace {

// Spreads a seed of few bits over the whole state; an all-zero state would never leave zero.
std::uint64_t splitmix64(std::uint64_t& state) {
  state += 0x9e3779b97f4a7c15u;
  std::uint64_t z = state;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

}  // namespace

Rng::Rng(std::uint64_t seed) {
  for (std::uint64_t& word : state_) word = splitmix64(seed);
}

Rng Rng::from_entropy() {
  std::uint64_t seed = 0;
  ssize_t got = 0;
  do {
    got = getrandom(&seed, sizeof seed, 0);
  } while (got < 0 && errno == EINTR);
  HOLDFAST_ASSERT(got == sizeof seed);  // the kernel promises whole answers up to 256 bytes
  return Rng(seed);
}

std::uint64_t Rng::next() {
  const std::uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
  const std::uint64_t shifted = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= shifted;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

std::uint64_t Rng::below(std::uint64_t bound) {
  HOLDFAST_ASSERT(bound > 0);
  // The lowest 2^64 mod bound numbers would make some remainders likelier than others: draw again.
  const std::uint64_t uneven = (0 - bound) % bound;
  std::uint64_t drawn = next();
  while (drawn < uneven) drawn = next();
  return drawn % bound;
}

double Rng::uniform() {
  // 53 bits: as many as a double holds exactly, so that 1 is never reached by rounding.
  return static_cast<double>(next() >> 11) * 0x1.0p-53;
}

}  // namespace holdfast
