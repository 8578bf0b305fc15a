// RetryBudget: the bound on retries and hedges of one upstream, so that retries cannot turn a slow
// upstream into a dead one.
//
// In a rolling window, retries may not exceed ratio × requests, or min_per_second × window,
// whichever is more. Requests are first attempts; a retry is counted when it is granted, not when
// it ends.
//
// Contract: pure; told the time; the window is RollingWindow's ten buckets. Not thread-safe: one
// per upstream for the whole process, behind a mutex held for one call. Routes of one upstream may
// bring different ratios: the counts are shared, the limit is the asking route's.
#pragma once

#include <cstdint>

#include "holdfast/base/time.h"
#include "holdfast/policy/rolling_window.h"

namespace holdfast::policy {

struct RetryBudgetOptions {
  double ratio = 0.2;
  double min_per_second = 3;
  Duration window = std::chrono::seconds(10);

  bool operator==(const RetryBudgetOptions&) const = default;
};

class RetryBudget {
 public:
  explicit RetryBudget(Duration window) : counts_(window) {}

  void record_request(TimePoint now);
  /// Counts a retry that another window of the same upstream granted.
  void record_retry(TimePoint now);
  /// Takes one retry if the limit allows it.
  bool try_retry(const RetryBudgetOptions& options, TimePoint now);

  Duration window() const { return counts_.length(); }
  std::uint64_t requests(TimePoint now);
  std::uint64_t retries(TimePoint now);

 private:
  struct Counts {
    std::uint64_t requests = 0;
    std::uint64_t retries = 0;

    Counts& operator+=(const Counts& other);
    Counts& operator-=(const Counts& other);
  };

  RollingWindow<Counts> counts_;
};

}  // namespace holdfast::policy
