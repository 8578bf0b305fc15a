#include "holdfast/app/admin_drain.h"

#include <nlohmann/json.hpp>

namespace holdfast::app {

Result<DrainTarget, std::string> parse_drain_target(std::string_view body) {
  const nlohmann::json json = nlohmann::json::parse(body, nullptr, false);
  const bool right = json.is_object() && json.size() == 2 && json.contains("upstream") &&
                     json.contains("endpoint") && json["upstream"].is_string() &&
                     json["endpoint"].is_string();
  if (!right) {
    return unexpected(
        std::string(R"(The body is a JSON object with the strings "upstream" and "endpoint".)"));
  }
  return DrainTarget{json["upstream"], json["endpoint"]};
}

DrainOutcome drain_endpoint(const proxy::Config& config, const proxy::SharedUpstreams& upstreams,
                            const DrainTarget& target, bool draining, TimePoint now) {
  const auto found = config.upstreams.find(target.upstream);
  const auto shared = upstreams.find(target.upstream);
  if (found == config.upstreams.end() || !shared) return DrainOutcome::no_endpoint;
  if (found->second.dynamic) return DrainOutcome::chosen_by_requests;
  const bool known = shared->endpoints().drain(target.endpoint, draining, now);
  return known ? DrainOutcome::done : DrainOutcome::no_endpoint;
}

}  // namespace holdfast::app
