// What the admin listener answers about upstreams, and whom it answers at all.
//
// Contract: pure but for reading what the upstreams' state is at this moment; any thread. The pages
// /config and /routes are app/config_effective's.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "holdfast/base/clock.h"
#include "holdfast/proxy/config.h"
#include "holdfast/proxy/shared_upstream.h"

namespace holdfast::app {

/// The body of /upstreams: {"upstreams":[…]} in JSON, by name, each with its breaker's state, its
/// endpoints, its connections and the options that explain them. Durations are written as the
/// configuration has them, "5s"; null is "off". One whose requests choose where they go has its
/// destinations, those that some worker knows at this moment: max_destinations_shown of them, and
/// how many there are.
inline constexpr std::size_t max_destinations_shown = 256;
std::string upstreams_page(const proxy::Config& config, const proxy::SharedUpstreams& upstreams,
                           const Clock& clock);

/// Whether a request with this Host may be answered. A web page that resolves its own name to
/// 127.0.0.1 can reach the listener from a browser inside, but it cannot hide that name: IP
/// literals and `localhost` pass, and `names` (without port, in any case); anything else, or
/// nothing, does not.
bool admin_host_allowed(std::string_view host_header, const std::vector<std::string>& names);

}  // namespace holdfast::app
