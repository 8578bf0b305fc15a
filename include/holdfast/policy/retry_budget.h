// RetryBudget: the bound on retries and hedges of one upstream, so that retries cannot turn a slow
// upstream into a dead one.
//
// In a rolling window, retries may not exceed ratio × requests, or min_per_second × window, whichever
// is more. Requests are first attempts; a retry is counted when it is granted, not when it ends.
//
// Contract: pure; told the time; the window is ten buckets. Not thread-safe: one per upstream for the
// whole process, behind a mutex held for one call. Routes of one upstream may bring different ratios:
// the counts are shared, the limit is the asking route's.
#pragma once

#include <array>
#include <cstdint>

#include "holdfast/base/time.h"

namespace holdfast::policy {

struct RetryBudgetOptions {
  double ratio = 0.2;
  double min_per_second = 3;
  Duration window = std::chrono::seconds(10);

  bool operator==(const RetryBudgetOptions&) const = default;
};

class RetryBudget {
 public:
  explicit RetryBudget(Duration window) : window_(window) {}

  void record_request(TimePoint now);
  /// Counts a retry that another window of the same upstream granted.
  void record_retry(TimePoint now);
  /// Takes one retry if the limit allows it.
  bool try_retry(const RetryBudgetOptions& options, TimePoint now);

  Duration window() const { return window_; }
  std::uint64_t requests(TimePoint now);
  std::uint64_t retries(TimePoint now);

 private:
  struct Counts {
    std::uint64_t requests = 0;
    std::uint64_t retries = 0;
  };
  static constexpr std::size_t bucket_count = 10;

  void advance(TimePoint now);

  Duration window_;
  std::array<Counts, bucket_count> buckets_{};
  std::int64_t current_bucket_ = 0;
  Counts total_{};
};

}  // namespace holdfast::policy
