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

}  // namespace

std::string unchangeable(const proxy::Config& before, const proxy::Config& after) {
  if (before.server.workers != after.server.workers) return "server.workers";
  if (!same_admin(before.admin, after.admin)) return "admin";
  if (before.store != after.store) return "store";
  for (const proxy::RouteConfig& route : before.routes) {
    const auto same = std::find_if(after.routes.begin(), after.routes.end(),
                                   [&](const auto& other) { return other.name == route.name; });
    if (same == after.routes.end()) continue;
    const std::string_view key = identity_change(route.idempotency, same->idempotency);
    if (!key.empty()) {
      return fmt::format("idempotency.{} of route {}", key, in_quotes(route.name));
    }
  }
  return "";
}

}  // namespace holdfast::app
