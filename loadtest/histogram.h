// Histogram of times, in the manner of HDR histograms: buckets that are as wide as the value they
// begin with is large, so that a microsecond and a minute are told with the same relative error.
//
// Contract: values are microseconds; what is told is at most 0.1 % above what was recorded, and
// never below it nor above the greatest. Limits: values above 2^40 us (12 days) count as that;
// 250 KiB whatever is recorded.
#pragma once

#include <cstdint>
#include <vector>

namespace loadtest {

class Histogram {
 public:
  Histogram();

  void record(std::uint64_t microseconds);

  std::uint64_t count() const { return count_; }
  /// 0 while nothing is recorded; so below.
  std::uint64_t greatest() const { return greatest_; }
  /// The value that this part of all values (0 to 1) does not exceed.
  std::uint64_t at(double part) const;

 private:
  std::vector<std::uint64_t> buckets_;
  std::uint64_t count_ = 0;
  std::uint64_t greatest_ = 0;
};

}  // namespace loadtest
