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

/// How a request gets to what it names.
struct Way {
  int route = -1;
  EndpointConfig destination;
};

/// By `matched` (-1: no route took it) or, for a CONNECT that this does not cover, by the
/// listener's `allow`: mostly another port of the same host. But what a route answers by itself
/// goes nowhere. nullopt: the request may not go there.
std::optional<Way> way_to(const Config& config, std::string_view listener, int matched,
                          std::string_view authority, bool tunnel);

}  // namespace holdfast::proxy
