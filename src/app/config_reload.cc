#include "holdfast/app/config_reload.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "holdfast/app/config_diagnostics.h"

namespace holdfast::app {
namespace {

bool same_admin(const proxy::AdminConfig& before, const proxy::AdminConfig& after) {
  return before.listen.has_value() == after.listen.has_value() &&
         (!before.listen || *before.listen == *after.listen) && before.hosts == after.hosts;
}

/// Methods are a set: their order is no difference.
bool same_methods(std::vector<std::string> before, std::vector<std::string> after) {
  std::sort(before.begin(), before.end());
  std::sort(after.begin(), after.end());
  return before == after;
}

/// The key of the identity that differs, or "".
std::string_view identity_change(const policy::IdempotencyOptions& before,
                                 const policy::IdempotencyOptions& after) {
  if (!before.enabled || !after.enabled) return "";
  if (before.name_space != after.name_space) return "namespace";
  if (before.scope != after.scope) return "scope";
  return same_methods(before.methods, after.methods) ? "" : "methods";
}

bool has_route(const proxy::Config& config, const std::string& name) {
  return std::ranges::any_of(config.routes, [&](const auto& route) { return route.name == name; });
}

/// The route of `after` that takes the requests of one that is gone, under another namespace: its
/// keys would be forgotten. nullptr if there is none.
const proxy::RouteConfig* renamed(const proxy::RouteConfig& gone, const proxy::Config& before,
                                  const proxy::Config& after) {
  if (!gone.idempotency.enabled) return nullptr;
  for (const proxy::RouteConfig& route : after.routes) {
    const bool keyed = route.idempotency.enabled && route.match == gone.match;
    if (!keyed || has_route(before, route.name)) continue;
    return route.idempotency.name_space == gone.idempotency.name_space ? nullptr : &route;
  }
  return nullptr;
}

}  // namespace

std::string unchangeable(const proxy::Config& before, const proxy::Config& after) {
  if (before.server.workers != after.server.workers) return "server.workers";
  if (!same_admin(before.admin, after.admin)) return "admin";
  if (before.store != after.store) return "store";
  for (const proxy::RouteConfig& route : before.routes) {
    const auto same = std::find_if(after.routes.begin(), after.routes.end(),
                                   [&](const auto& other) { return other.name == route.name; });
    if (same == after.routes.end()) {
      const proxy::RouteConfig* other = renamed(route, before, after);
      if (other == nullptr) continue;
      return fmt::format(
          "idempotency.namespace of route {} (now {}; namespace = {} keeps its keys)",
          in_quotes(route.name), in_quotes(other->name), in_quotes(route.idempotency.name_space));
    }
    const std::string_view key = identity_change(route.idempotency, same->idempotency);
    if (!key.empty()) {
      return fmt::format("idempotency.{} of route {}", key, in_quotes(route.name));
    }
  }
  return "";
}

}  // namespace holdfast::app
