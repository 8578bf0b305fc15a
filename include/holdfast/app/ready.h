// `holdfast ready`: asks the running instance's /readyz, for a container's health check.
//
// Contract: blocks, for 2 seconds at most.
#pragma once

#include <string>

#include "holdfast/base/result.h"
#include "holdfast/base/time.h"
#include "holdfast/net/address.h"

namespace holdfast::app {

inline constexpr Duration ready_timeout = std::chrono::seconds(2);

/// Success if GET /readyz at `admin` is answered with 200 in time; the error says what came
/// instead.
Result<void, std::string> ask_ready(const net::Address& admin, Duration timeout = ready_timeout);

}  // namespace holdfast::app
