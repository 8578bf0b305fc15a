#include "holdfast/base/uuid.h"

#include <cstdint>

namespace holdfast {

Uuid7::Uuid7(WallTime now, Rng& rng) {
  const auto since_1970 =
      std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count();
  constexpr std::uint64_t version = 0x7000;
  constexpr std::uint64_t variant = 0x8000000000000000u;

  const std::uint64_t high =
      (static_cast<std::uint64_t>(since_1970) << 16) | version | (rng.next() >> 52);
  const std::uint64_t low = variant | (rng.next() >> 2);

  constexpr char hex_digits[] = "0123456789abcdef";
  int digit = 0;
  for (std::size_t i = 0; i < text_.size(); ++i) {
    if (i == 8 || i == 13 || i == 18 || i == 23) {
      text_[i] = '-';
      continue;
    }
    const std::uint64_t half = digit < 16 ? high : low;
    text_[i] = hex_digits[(half >> (60 - 4 * (digit % 16))) & 0xf];
    ++digit;
  }
}

}  // namespace holdfast
