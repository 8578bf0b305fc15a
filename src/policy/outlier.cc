#include "holdfast/policy/outlier.h"

#include <algorithm>

#include "holdfast/base/assert.h"

namespace holdfast::policy {
namespace {

constexpr Duration longest_ejection = std::chrono::seconds(300);
constexpr Duration forgiveness = std::chrono::seconds(10);
constexpr std::int64_t least_percent = 10;

double share(std::size_t part, std::size_t whole) {
  return static_cast<double>(part) / static_cast<double>(whole);
}

/// Without overflow: eject_for may be a hundred years.
Duration ejection_time(Duration eject_for, int times) {
  const Duration most = std::max(eject_for, longest_ejection);
  return times > most / eject_for ? most : eject_for * times;
}

}  // namespace

bool Outlier::record(Outcome outcome, TimePoint began, TimePoint now, const OutlierOptions& options,
                     const EndpointCensus& census) {
  if (ejected() || began < in_service_since_) return false;
  if (outcome == Outcome::success) {
    failures_in_a_row_ = 0;
    return false;
  }
  if (failures_in_a_row_ < options.consecutive_failures) ++failures_in_a_row_;
  if (failures_in_a_row_ < options.consecutive_failures) return false;
  HOLDFAST_ASSERT(census.in_service > 0);
  EndpointCensus after = census;
  ++after.ejected;
  --after.in_service;
  if (!may_be_ejected(after, options)) return false;
  ejections_ = ejections(now) + 1;
  ejected_until_ = holdfast::after(now, ejection_time(options.eject_for, ejections_));
  failures_in_a_row_ = 0;
  return true;
}

int Outlier::ejections(TimePoint now) const {
  if (ejections_ == 0 || ejected() || now <= in_service_since_) return ejections_;
  const auto forgiven = (now - in_service_since_) / forgiveness;
  return static_cast<int>(std::max<std::int64_t>(0, ejections_ - forgiven));
}

bool Outlier::tick(TimePoint now) {
  if (!ejected() || now < *ejected_until_) return false;
  readmit(now);
  return true;
}

void Outlier::readmit(TimePoint now) {
  HOLDFAST_ASSERT(ejected());
  ejected_until_.reset();
  in_service_since_ = now;
  failures_in_a_row_ = 0;
}

bool may_be_ejected(const EndpointCensus& after, const OutlierOptions& options) {
  return after.in_service > 0 && share(after.ejected, after.all) <= options.max_ejected;
}

bool panics(const EndpointCensus& census, const OutlierOptions& options) {
  const std::size_t wanted = census.all - census.draining;
  return wanted > 0 && share(census.in_service, wanted) < options.panic_below;
}

std::uint32_t slow_start_percent(Duration in_service, Duration slow_start) {
  if (in_service >= slow_start) return 100;
  const double part = to_seconds(in_service) / to_seconds(slow_start);
  const auto percent = static_cast<std::int64_t>(part * 100);
  return static_cast<std::uint32_t>(std::clamp(percent, least_percent, std::int64_t{100}));
}

}  // namespace holdfast::policy
