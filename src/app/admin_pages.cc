#include "holdfast/app/admin_pages.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "holdfast/app/config_values.h"
#include "holdfast/base/log.h"
#include "holdfast/base/text.h"
#include "holdfast/net/address.h"

namespace holdfast::app {
namespace {

using Json = nlohmann::ordered_json;

Json duration_json(std::optional<Duration> duration) {
  return duration ? Json(format_duration(*duration)) : Json(nullptr);
}

Json limit_json(std::optional<std::uint64_t> limit) {
  return limit ? Json(*limit) : Json(nullptr);
}

std::string_view name(policy::BalanceKind kind) {
  constexpr std::string_view names[] = {"least_request", "round_robin", "consistent_hash"};
  return names[static_cast<std::size_t>(kind)];
}

Json breaker_json(const policy::BreakerOptions& options, const proxy::SharedUpstream* shared) {
  Json json;
  json["state"] = name(shared ? shared->breaker_state() : policy::BreakerState::closed);
  json["enabled"] = options.enabled;
  json["window"] = format_duration(options.window);
  json["min_requests"] = options.min_requests;
  json["failure_rate"] = options.failure_rate;
  json["consecutive_failures"] =
      options.consecutive_failures ? Json(*options.consecutive_failures) : Json(nullptr);
  json["slow_call"] = duration_json(options.slow_call);
  json["open_for"] = format_duration(options.open_for);
  json["open_max"] = format_duration(options.open_max);
  return json;
}

Json connections_json(const proxy::PoolOptions& pool, const proxy::SharedUpstream* shared) {
  Json json;
  json["active"] = shared ? shared->active_connections.load(std::memory_order_relaxed) : 0;
  json["idle"] = shared ? shared->idle_connections.load(std::memory_order_relaxed) : 0;
  json["max"] = limit_json(pool.max_connections);
  json["max_pending"] = limit_json(pool.max_pending);
  json["idle_timeout"] = duration_json(pool.idle_timeout);
  return json;
}

Json endpoints_json(const proxy::UpstreamConfig& config, proxy::SharedUpstream* shared,
                    const Clock& clock) {
  Json json = Json::array();
  if (shared == nullptr) {  // it is configured and not in use yet
    for (const proxy::EndpointConfig& endpoint : config.endpoints) {
      json.push_back({{"url", endpoint.url}, {"weight", endpoint.weight}, {"state", "healthy"}});
    }
    return json;
  }
  const TimePoint now = clock.now();
  const auto date = [&](TimePoint at) { return rfc3339(clock.wall_now() + (at - now)); };
  for (const proxy::EndpointReport& report : shared->endpoints().report(now)) {
    Json& endpoint = json.emplace_back();
    endpoint["endpoint"] = report.key;
    endpoint["url"] = report.url;
    endpoint["weight"] = report.weight;
    endpoint["state"] = name(report.state);
    endpoint["since"] = date(report.since);
    endpoint["why"] = report.why.empty() ? Json(nullptr) : Json(report.why);
    endpoint["until"] = report.until ? Json(date(*report.until)) : Json(nullptr);
  }
  return json;
}

/// Its host names, each with the last good answer and what is wrong since.
Json names_json(proxy::SharedUpstream& shared, const Clock& clock) {
  Json json = Json::array();
  const auto date = [&](const std::optional<TimePoint>& at) {
    return at ? Json(rfc3339(clock.wall_now() + (*at - clock.now()))) : Json(nullptr);
  };
  for (const proxy::NameReport& report : shared.endpoints().names()) {
    Json& name = json.emplace_back();
    name["name"] = report.name;
    name["addresses"] = report.addresses;
    name["answered"] = date(report.answered);
    name["failing_since"] = date(report.failing_since);
    name["why"] = report.why.empty() ? Json(nullptr) : Json(report.why);
  }
  return json;
}

/// Where its requests go that choose that themselves: the host of a wildcard, or of a tunnel.
Json destination_json(const proxy::SharedUpstreams::NamedDestination& destination,
                      const proxy::UpstreamConfig& config, const Clock& clock) {
  proxy::SharedUpstream& shared = *destination.shared;
  Json json;
  json["destination"] = destination.authority;
  json["breaker"] = name(shared.breaker_state());
  json["endpoints"] = endpoints_json(config, &shared, clock);
  json["names"] = names_json(shared, clock);
  json["connections"] = {{"active", shared.active_connections.load(std::memory_order_relaxed)},
                         {"idle", shared.idle_connections.load(std::memory_order_relaxed)}};
  return json;
}

void add_destinations(Json& json, const proxy::UpstreamConfig& config,
                      const proxy::SharedUpstreams& upstreams, const Clock& clock) {
  const auto destinations = upstreams.destinations(config.name);
  if (!config.dynamic && destinations.empty()) return;
  json["destinations"] = Json::array();
  for (const auto& destination : destinations) {
    if (json["destinations"].size() == max_destinations_shown) break;
    json["destinations"].push_back(destination_json(destination, config, clock));
  }
  json["destinations_known"] = destinations.size();
}

Json upstream_json(const proxy::UpstreamConfig& config, proxy::SharedUpstream* shared,
                   const Clock& clock) {
  Json json;
  json["name"] = config.name;
  json["breaker"] = breaker_json(config.breaker, shared);
  json["balance"] = name(config.balance);
  json["panic"] = shared != nullptr && shared->endpoints().panic();
  json["endpoints"] = endpoints_json(config, shared, clock);
  const bool has_names = shared != nullptr && !config.dynamic;
  json["names"] = has_names ? names_json(*shared, clock) : Json::array();
  json["connections"] = connections_json(config.pool, shared);
  json["dns_refresh"] = format_duration(config.dns_refresh);
  return json;
}

bool is_port(std::string_view text) {
  return text.size() <= 5 && std::ranges::all_of(text, is_digit);
}

/// A Host field's value without its port; nullopt if it is no host and port. Brackets stay.
std::optional<std::string_view> without_port(std::string_view host_header) {
  const bool bracketed = host_header.starts_with('[');
  const std::size_t host_end = bracketed ? host_header.find(']') : host_header.find(':');
  if (host_end == std::string_view::npos) {
    return bracketed ? std::nullopt : std::optional(host_header);
  }
  const std::size_t length = bracketed ? host_end + 1 : host_end;
  const std::string_view rest = host_header.substr(length);
  const bool has_port = rest.starts_with(':') && is_port(rest.substr(1));
  return rest.empty() || has_port ? std::optional(host_header.substr(0, length)) : std::nullopt;
}

bool is_ip_literal(std::string_view host) {
  const bool bracketed = host.starts_with('[');
  const std::string_view ip = bracketed ? host.substr(1, host.size() - 2) : host;
  const auto address = net::Address::from_ip(ip, 0);
  return address && (address->family() == AF_INET6) == bracketed;
}

}  // namespace

std::string upstreams_page(const proxy::Config& config, const proxy::SharedUpstreams& upstreams,
                           const Clock& clock) {
  Json list = Json::array();
  for (const auto& [name, upstream] : config.upstreams) {
    list.push_back(upstream_json(upstream, upstreams.find(name).get(), clock));
    add_destinations(list.back(), upstream, upstreams, clock);
  }
  Json page;
  page["upstreams"] = std::move(list);
  return page.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

bool admin_host_allowed(std::string_view host_header, const std::vector<std::string>& names) {
  const std::optional<std::string_view> host = without_port(host_header);
  if (!host || host->empty()) return false;
  if (is_ip_literal(*host) || iequals(*host, "localhost")) return true;
  return std::ranges::any_of(names, [&](const std::string& name) { return iequals(*host, name); });
}

}  // namespace holdfast::app
