// Destinations: where a request goes whose upstream has no fixed place: what an app asks its
// forward proxy for, by the host and port in the target.
//
// An endpoint with a wildcard ("http://*.internal", one or more labels before the suffix) stands
// for every host that it covers; its upstream's other endpoints stand for themselves. A CONNECT
// goes to the host and port that it names, if an endpoint of its route's upstream covers both.
//
// Contract: pure. A literal IP is covered only by an endpoint that names it, never by a wildcard.
#pragma once

#include <optional>
#include <string_view>

#include "holdfast/proxy/config.h"

namespace holdfast::proxy {

/// Where a request for `authority` goes; nullopt: the upstream does not cover it.
/// `tunnel`: for CONNECT; the port must be an endpoint's, and no TLS is spoken. Otherwise an http
/// endpoint covers its port, and an https endpoint also a target without a port.
std::optional<EndpointConfig> destination_of(const UpstreamConfig& upstream,
                                             std::string_view authority, bool tunnel);

}  // namespace holdfast::proxy
