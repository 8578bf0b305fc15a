#include "holdfast/policy/retry_budget.h"

namespace holdfast::policy {

RetryBudget::Counts& RetryBudget::Counts::operator+=(const Counts& other) {
  requests += other.requests;
  retries += other.retries;
  return *this;
}

RetryBudget::Counts& RetryBudget::Counts::operator-=(const Counts& other) {
  requests -= other.requests;
  retries -= other.retries;
  return *this;
}

void RetryBudget::record_request(TimePoint now) {
  counts_.add({.requests = 1}, now);
}

void RetryBudget::record_retry(TimePoint now) {
  counts_.add({.retries = 1}, now);
}

bool RetryBudget::try_retry(const RetryBudgetOptions& options, TimePoint now) {
  const Counts& counts = counts_.total(now);
  const auto wanted = static_cast<double>(counts.retries + 1);
  // Quotients, not products: 7.0 / 100 is the double that "0.07" names, 0.07 * 100 is not 7.
  const bool within_ratio = wanted / static_cast<double>(counts.requests) <= options.ratio;
  const bool within_floor = wanted / to_seconds(window()) <= options.min_per_second;
  if (!within_ratio && !within_floor) return false;
  record_retry(now);
  return true;
}

std::uint64_t RetryBudget::requests(TimePoint now) {
  return counts_.total(now).requests;
}

std::uint64_t RetryBudget::retries(TimePoint now) {
  return counts_.total(now).retries;
}

}  // namespace holdfast::policy
