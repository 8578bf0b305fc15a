#include "loadtest/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>

namespace loadtest {
namespace {

// Values below 2^precision_bits have a bucket each. Above, every doubling of the value has half as
// many buckets: 1024, hence the 0.1 %.
constexpr unsigned precision_bits = 11;
constexpr unsigned value_bits = 40;
constexpr std::uint64_t half = std::uint64_t{1} << (precision_bits - 1);
constexpr std::uint64_t max_value = (std::uint64_t{1} << value_bits) - 1;

unsigned shift_of(std::uint64_t value) {
  const auto bits = static_cast<unsigned>(std::bit_width(value));
  return bits <= precision_bits ? 0 : bits - precision_bits;
}

std::size_t index_of(std::uint64_t value) {
  const unsigned shift = shift_of(value);
  return static_cast<std::size_t>(shift * half + (value >> shift));
}

/// The greatest value of a bucket.
std::uint64_t end_of(std::size_t index) {
  if (index < 2 * half) return index;
  const auto shift = static_cast<unsigned>(index / half - 1);
  return ((index - shift * half + 1) << shift) - 1;
}

}  // namespace

Histogram::Histogram() : buckets_(index_of(max_value) + 1) {}

void Histogram::record(std::uint64_t microseconds) {
  const std::uint64_t value = std::min(microseconds, max_value);
  ++buckets_[index_of(value)];
  ++count_;
  greatest_ = std::max(greatest_, value);
}

std::uint64_t Histogram::at(double part) const {
  const auto wanted = std::max(std::ceil(part * static_cast<double>(count_)), 1.0);
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < buckets_.size(); ++i) {
    seen += buckets_[i];
    if (static_cast<double>(seen) >= wanted) return std::min(end_of(i), greatest_);
  }
  return greatest_;
}

}  // namespace loadtest
