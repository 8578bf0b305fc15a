// Outlier: ejects an endpoint whose answers fail in a row, for a while, as long as others are left.
//
// in service --consecutive_failures in a row--> ejected --its time is over--> in service
//
// The time is eject_for × the number of ejections, up to 300 s (or eject_for, if that is more). The
// number falls by one for each whole 10 s in service (Envoy's interval), so that an endpoint that
// was well for a while begins anew. A success ends the row. What began before the endpoint came
// back says nothing about it any more, and while it is ejected nothing is counted.
//
// An ejection is refused that would leave none in service, or more than max_ejected of all; the row
// goes on, and the next failure asks again.
//
// panics(): with too few in service all are used, for a few healthy ones would break under the load
// of all (Envoy's panic threshold). slow_start_percent(): the share of its weight that an endpoint
// has some time after it came (back) into service: linear from 10 % to 100 % (Envoy with
// aggression 1, min_weight_percent 10).
//
// Contract: pure; told the time. One for each endpoint; the owner knows the others and tells of
// them. Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "holdfast/base/time.h"

namespace holdfast::policy {

struct OutlierOptions {
  int consecutive_failures = 5;
  Duration eject_for = std::chrono::seconds(30);
  double max_ejected = 0.5;
  double panic_below = 0.5;
  std::optional<Duration> slow_start;  // nullopt: off

  bool operator==(const OutlierOptions&) const = default;
};

/// The endpoints of an upstream at the moment of a decision.
struct EndpointCensus {
  std::size_t all = 0;
  std::size_t in_service = 0;  // neither ejected nor unhealthy nor draining
  std::size_t ejected = 0;     // unhealthy or draining beside it or not
  std::size_t draining = 0;
};

class Outlier {
 public:
  enum class Outcome : std::uint8_t { success, failure };

  /// What became of a request that began at `began`. True: the endpoint is ejected by it.
  /// REQUIRES: it is ejected, or in service and counted so in the census.
  bool record(Outcome outcome, TimePoint began, TimePoint now, const OutlierOptions& options,
              const EndpointCensus& census);
  /// Brings it back if its time is over. True: it did.
  bool tick(TimePoint now);
  /// Brings it back before its time. REQUIRES: ejected().
  void readmit(TimePoint now);

  bool ejected() const { return ejected_until_.has_value(); }
  /// REQUIRES: ejected().
  TimePoint ejected_until() const { return *ejected_until_; }
  int failures_in_a_row() const { return failures_in_a_row_; }
  /// As the next ejection will count them, without itself.
  int ejections(TimePoint now) const;

 private:
  std::optional<TimePoint> ejected_until_;
  TimePoint in_service_since_ = TimePoint::min();
  int failures_in_a_row_ = 0;
  int ejections_ = 0;
};

/// True if as many ejected ones are allowed, with one in service left.
bool may_be_ejected(const EndpointCensus& after, const OutlierOptions& options);
bool panics(const EndpointCensus& census, const OutlierOptions& options);
/// 10 to 100.
std::uint32_t slow_start_percent(Duration in_service, Duration slow_start);

}  // namespace holdfast::policy
