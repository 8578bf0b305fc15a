// RollingWindow: sums over the last `length` of time, kept as ten buckets of a tenth each.
//
// The bucket that is being filled counts as a whole one, so a total speaks of between nine and ten
// tenths of the length. Advancing costs at most ten subtractions, however long nobody asked.
//
// Contract: pure; told the time. Workers read their clocks before they take the lock, so a time may
// be a little older than one already seen: it then counts as the newest one. `Counts` is a struct
// of numbers with += and -=.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "holdfast/base/time.h"

namespace holdfast::policy {

template <class Counts>
class RollingWindow {
 public:
  static constexpr std::int64_t bucket_count = 10;

  explicit RollingWindow(Duration length) : length_(length) {}

  Duration length() const { return length_; }

  void add(const Counts& counts, TimePoint now) {
    advance(now);
    bucket(newest_) += counts;
    total_ += counts;
  }

  const Counts& total(TimePoint now) {
    advance(now);
    return total_;
  }

 private:
  Counts& bucket(std::int64_t index) {
    return buckets_[static_cast<std::size_t>(index % bucket_count)];
  }

  // Empties the buckets whose turn has come again.
  void advance(TimePoint now) {
    const std::int64_t bucket_length = std::max<std::int64_t>(length_.count() / bucket_count, 1);
    const std::int64_t index = now.time_since_epoch().count() / bucket_length;
    if (index <= newest_) return;
    for (std::int64_t i = std::max(newest_ + 1, index - bucket_count + 1); i <= index; ++i) {
      total_ -= bucket(i);
      bucket(i) = Counts{};
    }
    newest_ = index;
  }

  Duration length_;
  std::array<Counts, bucket_count> buckets_{};
  std::int64_t newest_ = 0;  // since the clock's start
  Counts total_{};
};

}  // namespace holdfast::policy
