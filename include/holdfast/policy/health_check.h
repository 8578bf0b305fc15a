// HealthCheck: what a row of checks says of an endpoint.
//
// healthy --unhealthy_after failed checks in a row--> unhealthy
// unhealthy --healthy_after passed checks in a row--> healthy
//
// A new endpoint is healthy, and its first check decides alone: one that fails makes it unhealthy
// (as HAProxy has it). So a process that starts does not refuse everything until it has asked, and
// a replica that is not ready yet is found out at once.
//
// Contract: pure. One for each endpoint. Not thread-safe.
#pragma once

#include <string>

#include "holdfast/base/time.h"

namespace holdfast::policy {

struct HealthOptions {
  std::string path;  // "": no checks
  Duration interval = std::chrono::seconds(5);
  Duration timeout = std::chrono::seconds(1);
  int healthy_after = 2;
  int unhealthy_after = 3;

  bool enabled() const { return !path.empty(); }
  bool operator==(const HealthOptions&) const = default;
};

class HealthCheck {
 public:
  /// A check has ended. True: healthy() is another than before.
  bool record(bool passed, const HealthOptions& options);
  bool healthy() const { return healthy_; }
  /// Failed checks in a row, as far as they count.
  int failed_in_a_row() const { return healthy_ ? against_ : 0; }

 private:
  bool healthy_ = true;
  bool checked_ = false;
  int against_ = 0;  // checks in a row that say the opposite
};

}  // namespace holdfast::policy
