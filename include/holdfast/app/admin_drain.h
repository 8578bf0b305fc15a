// Taking an endpoint out of service by hand, through the admin listener: what a request says, and
// what is done about it.
//
// Contract: any thread; no state but the upstreams'.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "holdfast/base/result.h"
#include "holdfast/proxy/shared_upstream.h"

namespace holdfast::app {

struct DrainTarget {
  std::string upstream;
  std::string endpoint;  // as /upstreams calls it
};

/// {"upstream":"…","endpoint":"…"}; the error says what is wrong.
Result<DrainTarget, std::string> parse_drain_target(std::string_view body);

enum class DrainOutcome : std::uint8_t { done, no_endpoint, chosen_by_requests };

/// Takes it out of service, or puts it back. An upstream whose requests choose where they go has
/// none that could be: its endpoints only say what may be chosen, and a destination is forgotten,
/// its state and all, when it makes room for another, and with a reload.
DrainOutcome drain_endpoint(const proxy::Config& config, const proxy::SharedUpstreams& upstreams,
                            const DrainTarget& target, bool draining, TimePoint now);

}  // namespace holdfast::app
