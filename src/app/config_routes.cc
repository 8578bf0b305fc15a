#include "holdfast/app/config_routes.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "holdfast/app/config_headers.h"
#include "holdfast/app/config_policies.h"
#include "holdfast/app/config_schema.h"
#include "holdfast/base/text.h"
#include "holdfast/http/fields.h"
#include "holdfast/http/method.h"
#include "holdfast/proxy/heads.h"
#include "holdfast/proxy/route.h"
#include "holdfast/proxy/route_pattern.h"

namespace holdfast::app {
namespace {

using PathKind = proxy::MatchConfig::PathKind;

bool is_path_character(char c) {
  return static_cast<unsigned char>(c) > 0x20 && c != 0x7f && c != '?' && c != '#';
}

bool is_path_prefix(std::string_view text) {
  return text.starts_with('/') && std::all_of(text.begin(), text.end(), is_path_character);
}

/// "*" is the path of OPTIONS for a whole server.
bool is_path(std::string_view text) {
  return text == "*" || is_path_prefix(text);
}

bool is_host_pattern(std::string_view text) {
  return is_authority(text.starts_with("*.") ? text.substr(2) : text);
}

/// Any token is a method, but "get" is a slip.
bool is_method(std::string_view text) {
  const auto is_slip = [&](std::string_view name) { return text != name && iequals(text, name); };
  return http::is_token(text) &&
         std::none_of(std::begin(http::method_names), std::end(http::method_names), is_slip);
}

/// What may follow a 101. HTTP/2 would carry requests past every check.
bool is_upgrade(std::string_view text) {
  return http::is_token(text) && !iequals(text, "h2c");
}

constexpr TextRule path_rule = {R"(a path that begins with "/", without a query)", is_path};
constexpr TextRule prefix_rule = {R"(a path that begins with "/", without a query)",
                                  is_path_prefix};
constexpr TextRule host_pattern_rule = {R"(a host such as "pay.local" or "*.local")",
                                        is_host_pattern};
constexpr TextRule method_rule = {R"(a method in capitals such as "GET")", is_method};
constexpr TextRule upgrade_rule = {R"(a protocol such as "websocket")", is_upgrade};

void lower_all(std::vector<std::string>& texts) {
  for (std::string& text : texts) text = to_lower(text);
}

void read_listener_name(Reader& keys, std::string& name, const LoadContext& context) {
  const Entry* entry = keys.find("listener", Node::Kind::text, "a listener's name");
  if (entry == nullptr) return;
  name = entry->value.text;
  if (context.listeners.contains(name)) return;
  keys.error(entry->value.place, fmt::format("there is no listener {}", describe(entry->value)),
             nearest(name, context.listeners));
}

void read_regex(Reader& keys, std::string& pattern) {
  const Entry* entry = keys.find("path_regex", Node::Kind::text, "a regular expression");
  if (entry == nullptr) return;
  pattern = entry->value.text;
  const std::string error = proxy::pattern_error(pattern);
  if (error.empty()) return;
  keys.error(entry->value.place,
             fmt::format(R"("path_regex" is no regular expression that RE2 takes: {})",
                         entry->value.from_environment ? "it does not compile" : error));
}

void read_path(Reader& keys, proxy::MatchConfig& match) {
  const int kinds = keys.has("path") + keys.has("path_prefix") + keys.has("path_regex");
  if (kinds > 1) {
    keys.error(keys.place(), R"(a match takes one of "path", "path_prefix" and "path_regex")");
  }
  keys.text("path", match.path, path_rule);
  keys.text("path_prefix", match.path, prefix_rule);
  read_regex(keys, match.path);
  if (keys.has("path")) match.path_kind = PathKind::exact;
  if (keys.has("path_prefix")) match.path_kind = PathKind::prefix;
  if (keys.has("path_regex")) match.path_kind = PathKind::regex;
}

void read_match(Reader& keys, proxy::MatchConfig& match, const LoadContext& context) {
  read_listener_name(keys, match.listener, context);
  keys.text("host", match.host, host_pattern_rule);
  match.host = to_lower(proxy::host_of(match.host));
  read_path(keys, match);
  keys.texts("methods", match.methods, method_rule);
  read_headers(keys, "headers", match.headers, HeaderUse::match);
}

void read_rewrite(Reader& keys, proxy::RewriteConfig& rewrite) {
  keys.text("strip_prefix", rewrite.strip_prefix, prefix_rule);
  keys.text("host", rewrite.host, authority_rule);
  read_headers(keys, "set_headers", rewrite.set_headers, HeaderUse::set);
  keys.texts("remove_headers", rewrite.remove_headers, removable_rule);
  lower_all(rewrite.remove_headers);
}

void read_respond(Reader& keys, proxy::RouteConfig& route, LoadContext& context) {
  keys.table("respond", [&](Reader& respond) {
    route.respond.emplace();
    if (respond.has("body") && respond.has("body_file")) {
      respond.error(respond.place(), R"(a response takes one of "body" and "body_file")");
    }
    read_response(respond, *route.respond, context);
  });
}

/// A route answers by itself or asks an upstream; what belongs to the one makes no sense for the
/// other.
void check_one_target(Reader& keys) {
  if (keys.has("upstream") == keys.has("respond")) {
    keys.error(keys.place(), keys.has("upstream")
                                 ? R"(a route takes one of "upstream" and "respond", not both)"
                                 : R"(a route needs one of "upstream" and "respond")");
    return;
  }
  if (!keys.has("respond")) return;
  for (const std::string_view key :
       {"rewrite", "upgrade", "trailers", "timeout", "retry", "idempotency", "fallback"}) {
    const Entry* entry = keys.find(key);
    if (entry == nullptr) continue;
    keys.error(entry->place, fmt::format(R"({} makes no sense beside "respond")", in_quotes(key)));
  }
}

}  // namespace

proxy::RouteConfig read_route(Reader& keys, std::size_t number, LoadContext& context) {
  proxy::RouteConfig route;
  route.name = fmt::format("route-{}", number);
  keys.text("name", route.name, name_rule);
  keys.table("match", [&](Reader& match) { read_match(match, route.match, context); });
  check_one_target(keys);
  read_upstream_name(keys, route.upstream, context);
  read_respond(keys, route, context);
  keys.table("rewrite", [&](Reader& rewrite) { read_rewrite(rewrite, route.rewrite); });
  keys.texts("upgrade", route.upgrade, upgrade_rule);
  lower_all(route.upgrade);
  keys.texts("trailers", route.trailers, trailer_rule);
  lower_all(route.trailers);
  Policies policies;
  read_policies(keys, policies, context);
  return route;
}

}  // namespace holdfast::app
