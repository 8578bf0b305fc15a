// EndpointStates: what holdfast tells of the endpoints of its first upstream, "app" in tests.
#pragma once

#include <string>

#include "tests/support/holdfast_process.h"

namespace holdfast::testing {

/// What /upstreams tells of the endpoint.
inline nlohmann::json endpoint_of(const Holdfast& holdfast, const std::string& address) {
  const auto page = nlohmann::json::parse(holdfast.admin("/upstreams").body);
  for (const auto& endpoint : page["upstreams"][0]["endpoints"]) {
    if (endpoint["endpoint"] == address) return endpoint;
  }
  return {};
}

inline bool wait_state(const Holdfast& holdfast, const std::string& address,
                       const std::string& state) {
  return eventually([&] { return endpoint_of(holdfast, address).value("state", "") == state; });
}

inline bool wait_endpoints(const Holdfast& holdfast, const std::string& state, double count) {
  return holdfast.wait_metric("holdfast_upstream_endpoints",
                              {{"upstream", "app"}, {"state", state}}, count);
}

}  // namespace holdfast::testing
