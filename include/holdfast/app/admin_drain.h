// Taking an endpoint out of service by hand, through the admin listener: what a request says.
//
// Contract: pure.
#pragma once

#include <string>
#include <string_view>

#include "holdfast/base/result.h"

namespace holdfast::app {

struct DrainTarget {
  std::string upstream;
  std::string endpoint;  // as /upstreams calls it
};

/// {"upstream":"…","endpoint":"…"}; the error says what is wrong.
Result<DrainTarget, std::string> parse_drain_target(std::string_view body);

}  // namespace holdfast::app
