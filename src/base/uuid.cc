#include "holdfast/base/uuid.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace holdfast {
namespace {

/// Every byte in two digits.
constexpr auto hex_pairs = [] {
  constexpr char digits[] = "0123456789abcdef";
  std::array<std::array<char, 2>, 256> pairs{};
  for (std::size_t byte = 0; byte < pairs.size(); ++byte) {
    pairs[byte] = {digits[byte / 16], digits[byte % 16]};
  }
  return pairs;
}();

}  // namespace

Uuid7::Uuid7(WallTime now, Rng& rng) {
  const auto since_1970 =
      std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count();
  constexpr std::uint64_t version = 0x7000;
  constexpr std::uint64_t variant = 0x8000000000000000u;

  const std::uint64_t high =
      (static_cast<std::uint64_t>(since_1970) << 16) | version | (rng.next() >> 52);
  const std::uint64_t low = variant | (rng.next() >> 2);

  const std::array<std::uint64_t, 2> halves{high, low};
  char* at = text_.data();
  for (std::size_t byte = 0; byte < 16; ++byte) {
    if (byte == 4 || byte == 6 || byte == 8 || byte == 10) *at++ = '-';
    const std::uint64_t value = halves[byte / 8] >> (56 - 8 * (byte % 8)) & 0xff;
    at = std::copy_n(hex_pairs[value].data(), 2, at);
  }
}

}  // namespace holdfast
