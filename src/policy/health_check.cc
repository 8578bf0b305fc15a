#include "holdfast/policy/health_check.h"

namespace holdfast::policy {

bool HealthCheck::record(bool passed, const HealthOptions& options) {
  const bool first = !checked_;
  checked_ = true;
  if (passed == healthy_) {
    against_ = 0;
    return false;
  }
  ++against_;
  const int needed = healthy_ ? options.unhealthy_after : options.healthy_after;
  if (!first && against_ < needed) return false;
  healthy_ = passed;
  against_ = 0;
  return true;
}

}  // namespace holdfast::policy
