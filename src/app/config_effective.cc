#include "holdfast/app/config_effective.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "holdfast/app/config_schema.h"
#include "holdfast/app/config_tls.h"
#include "holdfast/app/config_values.h"
#include "holdfast/base/text.h"
#include "holdfast/http/method.h"
#include "holdfast/store/redis_url.h"

namespace holdfast::app {
namespace {

constexpr std::string_view redacted = "[redacted]";
// A longer body is told by its size: /config is for reading.
constexpr std::size_t max_body_shown = 1024;

/// Headers that carry credentials, by a part of their name: "X-Api-Key", "Authorization",
/// "Set-Cookie".
bool is_secret_header(std::string_view name) {
  constexpr std::string_view parts[] = {"authorization", "cookie",   "api-key", "apikey",
                                        "token",         "password", "secret",  "credential"};
  const std::string lower = to_lower(name);
  return std::any_of(std::begin(parts), std::end(parts),
                     [&](std::string_view part) { return lower.find(part) != std::string::npos; });
}

/// The names of the conditions in `set`: whole groups and classes where all of it is listed.
Json condition_names(const policy::ConditionSet& set) {
  Json names = Json::array();
  for (const ErrorGroup group :
       {ErrorGroup::connect, ErrorGroup::reset, ErrorGroup::timeout, ErrorGroup::open,
        ErrorGroup::overload, ErrorGroup::rate_limited}) {
    if (set.has(group)) names.push_back(name(group));
  }
  for (const int first : {400, 500}) {
    std::vector<int> listed;
    for (int status = first; status < first + 100; ++status) {
      if (set.matches_status(status)) listed.push_back(status);
    }
    if (listed.size() == 100) {
      names.push_back(fmt::format("{}xx", first / 100));
    } else {
      for (const int status : listed) names.push_back(std::to_string(status));
    }
  }
  return names;
}

std::string scope_text(const policy::ScopeSource& source) {
  if (source.kind == policy::ScopeSource::Kind::authorization) return "authorization";
  if (source.kind == policy::ScopeSource::Kind::none) return "none";
  if (source.kind == policy::ScopeSource::Kind::client_cert) return "client_cert";
  return "header:" + source.header;
}

/// Writes what Reader reads: the other visitor of config_schema.h.
class EffectiveWriter {
 public:
  explicit EffectiveWriter(Json& json) : json_(json) {}

  void boolean(std::string_view key, bool value) { set(key, value); }
  void duration(std::string_view key, Duration value, Zero = Zero::refused) {
    set(key, format_duration(value));
  }
  void duration(std::string_view key, const std::optional<Duration>& value, Zero = Zero::refused) {
    set(key, value ? format_duration(*value) : "off");
  }
  void size(std::string_view key, std::uint64_t value, Zero = Zero::refused) {
    set(key, format_size(value));
  }
  void size(std::string_view key, const std::optional<std::uint64_t>& value) {
    set(key, value ? format_size(*value) : "off");
  }
  void byte_rate(std::string_view key, const std::optional<std::uint64_t>& value) {
    set(key, value ? format_size(*value) + "/s" : "off");
  }
  void ratio(std::string_view key, double value) { set(key, value); }
  void number(std::string_view key, double value) { set(key, value); }
  void text(std::string_view key, const std::string& value, const TextRule&) { set(key, value); }
  template <class Integer>
  void count(std::string_view key, Integer value, Range) {
    set(key, value);
  }
  template <class Integer>
  void count(std::string_view key, const std::optional<Integer>& value, Range,
             std::string_view word = "off") {
    set(key, value ? Json(*value) : Json(word));
  }
  template <class Value, std::size_t N>
  void choice(std::string_view key, Value value, const Choice<Value> (&choices)[N]) {
    for (const Choice<Value>& candidate : choices) {
      if (candidate.value == value) set(key, candidate.name);
    }
  }
  void jitter(std::string_view key, const policy::BackoffOptions& backoff) {
    constexpr std::array<std::string_view, 3> names = {"full", "equal", "none"};
    if (backoff.jitter == policy::JitterKind::ratio) {
      set(key, backoff.jitter_ratio);
    } else {
      set(key, names[static_cast<std::size_t>(backoff.jitter)]);
    }
  }
  void conditions(std::string_view key, const policy::ConditionSet& value, ConditionUse) {
    set(key, condition_names(value));
  }
  void methods(std::string_view key, std::uint32_t bits) {
    Json names = Json::array();
    for (std::size_t i = 0; i < std::size(http::method_names); ++i) {
      if ((bits >> i & 1u) != 0) names.push_back(http::method_names[i]);
    }
    set(key, std::move(names));
  }
  void ranges(std::string_view key, const std::vector<net::Cidr>& value) {
    Json texts = Json::array();
    for (const net::Cidr& range : value) texts.push_back(range.text());
    set(key, std::move(texts));
  }
  void texts(std::string_view key, const std::vector<std::string>& value, const TextRule&) {
    set(key, value);
  }
  void scope(std::string_view key, const std::vector<policy::ScopeSource>& value) {
    Json texts = Json::array();
    for (const policy::ScopeSource& source : value) texts.push_back(scope_text(source));
    set(key, std::move(texts));
  }
  template <class Body>
  void table(std::string_view key, Body body) {
    Json below = Json::object();
    EffectiveWriter writer(below);
    body(writer);
    set(key, std::move(below));
  }

 private:
  void set(std::string_view key, Json value) { json_[std::string(key)] = std::move(value); }

  Json& json_;
};

/// A plain table by its list of keys. The lists take a field they may write, hence the copy.
template <class Options, class Keys>
Json plain_table(Options options, Keys keys) {
  Json json = Json::object();
  EffectiveWriter writer(json);
  keys(writer, options);
  return json;
}

Json header_json(const proxy::HeaderList& headers) {
  Json json = Json::object();
  for (const auto& [name, value] : headers) {
    json[name] = is_secret_header(name) ? std::string(redacted) : value;
  }
  return json;
}

Json response_json(const proxy::StaticResponse& response) {
  Json json;
  json["status"] = response.status;
  json["headers"] = header_json(response.headers);
  json["body"] = response.body.size() <= max_body_shown
                     ? response.body
                     : fmt::format("({} bytes)", response.body.size());
  return json;
}

Json admin_json(const proxy::AdminConfig& admin) {
  return {{"listen", admin.listen ? admin.listen->text : "off"}, {"hosts", admin.hosts}};
}

Json listener_json(const proxy::ListenerConfig& listener) {
  Json json = {{"name", listener.name},
               {"listen", listener.listen.text},
               {"mode", listener.forward ? "forward" : "reverse"}};
  if (listener.forward) json["allow"] = listener.allow;
  if (listener.tls) {
    json["tls"] = plain_table(
        *listener.tls, [](auto& writer, auto& options) { server_tls_keys(writer, options); });
  }
  return json;
}

Json store_json(const store::StoreOptions& store) {
  Json json = plain_table(store, [](auto& writer, auto& options) { store_keys(writer, options); });
  // Without user and password; what is no URL of a Redis was never given.
  const auto url = store::parse_redis_url(store.url);
  json["url"] = url ? url->text() : "";
  if (url && url->transport == store::RedisUrl::Transport::tls) {
    json["tls"] = plain_table(
        store.tls, [](auto& writer, auto& options) { client_tls_keys(writer, options); });
  }
  return json;
}

Json upstream_json(const proxy::UpstreamConfig& upstream) {
  Json endpoints = Json::array();
  for (const proxy::EndpointConfig& endpoint : upstream.endpoints) {
    endpoints.push_back({{"url", endpoint.url}, {"weight", endpoint.weight}});
  }
  Json json = {{"endpoints", std::move(endpoints)}};
  json.update(plain_table(upstream, [](auto& writer, proxy::UpstreamConfig& options) {
    upstream_keys(writer, options);
    writer.table("pool", [&](auto& sub) { pool_keys(sub, options.pool); });
    const bool tls = std::ranges::any_of(
        options.endpoints, [](const auto& one) { return one.credentials != nullptr; });
    if (tls) writer.table("tls", [&](auto& sub) { client_tls_keys(sub, options.tls); });
    writer.table("breaker", [&](auto& sub) { breaker_keys(sub, options.breaker); });
    writer.table("health", [&](auto& sub) { health_keys(sub, options.health); });
    writer.table("outlier", [&](auto& sub) { outlier_keys(sub, options.outlier); });
  }));
  return json;
}

Json match_json(const proxy::MatchConfig& match) {
  constexpr std::array<std::string_view, 4> path_keys = {"", "path", "path_prefix", "path_regex"};
  Json json = Json::object();
  if (!match.listener.empty()) json["listener"] = match.listener;
  if (!match.host.empty()) json["host"] = match.host;
  if (match.path_kind != proxy::MatchConfig::PathKind::any) {
    json[std::string(path_keys[static_cast<std::size_t>(match.path_kind)])] = match.path;
  }
  if (!match.methods.empty()) json["methods"] = match.methods;
  if (!match.headers.empty()) json["headers"] = header_json(match.headers);
  return json;
}

Json rewrite_json(const proxy::RewriteConfig& rewrite) {
  return {{"strip_prefix", rewrite.strip_prefix},
          {"host", rewrite.host},
          {"set_headers", header_json(rewrite.set_headers)},
          {"remove_headers", rewrite.remove_headers}};
}

Json fallback_json(const proxy::FallbackConfig& fallback) {
  Json json = {{"on", condition_names(fallback.on)}};
  if (fallback.upstream.empty()) {
    json.update(response_json(fallback.response));
  } else {
    json["upstream"] = fallback.upstream;
  }
  return json;
}

/// Who answers: `upstream` or `respond`.
void add_target(Json& json, const proxy::RouteConfig& route) {
  if (route.respond) {
    json["respond"] = response_json(*route.respond);
  } else {
    json["upstream"] = route.upstream;
  }
}

Json route_json(const proxy::RouteConfig& route) {
  Json json = {{"name", route.name}, {"match", match_json(route.match)}};
  add_target(json, route);
  if (route.respond) return json;  // it takes no policies
  json["rewrite"] = rewrite_json(route.rewrite);
  json["upgrade"] = route.upgrade;
  json["trailers"] = route.trailers;
  json.update(plain_table(route, [](auto& writer, proxy::RouteConfig& options) {
    writer.table("timeout", [&](auto& sub) { timeout_keys(sub, options.timeout); });
    writer.table("retry", [&](auto& sub) { retry_keys(sub, options.retry); });
    writer.table("idempotency", [&](auto& sub) { idempotency_keys(sub, options.idempotency); });
  }));
  json["fallback"] = Json::array();
  for (const proxy::FallbackConfig& fallback : route.fallbacks) {
    json["fallback"].push_back(fallback_json(fallback));
  }
  return json;
}

void redact_environment(Json& json, const Origins& origins) {
  for (const auto& [pointer, origin] : origins) {
    if (!origin.from_environment) continue;
    const Json::json_pointer at(pointer);
    if (json.contains(at)) json[at] = redacted;
  }
}

}  // namespace

Json effective_config(const LoadedConfig& loaded) {
  const proxy::Config& config = *loaded.config;
  Json json;
  json["server"] =
      plain_table(config.server, [](auto& writer, auto& server) { server_keys(writer, server); });
  json["log"] = plain_table(config.log, [](auto& writer, auto& log) { log_keys(writer, log); });
  json["admin"] = admin_json(config.admin);
  json["listener"] = Json::array();
  for (const auto& listener : config.listeners) json["listener"].push_back(listener_json(listener));
  json["store"] = store_json(config.store);
  json["upstream"] = Json::object();
  for (const auto& [name, upstream] : config.upstreams)
    json["upstream"][name] = upstream_json(upstream);
  json["route"] = Json::array();
  for (const auto& route : config.routes) json["route"].push_back(route_json(route));
  redact_environment(json, loaded.origins);
  return json;
}

std::string effective_json(const LoadedConfig& loaded) {
  return to_text(effective_config(loaded), 2) + "\n";
}

std::string routes_json(const LoadedConfig& loaded) {
  const Json config = effective_config(loaded);
  Json routes = Json::array();
  for (const Json& route : config["route"]) {
    Json json = {{"name", route["name"]}, {"match", route["match"]}};
    for (const char* target : {"upstream", "respond"}) {
      if (route.contains(target)) json[target] = route[target];
    }
    routes.push_back(std::move(json));
  }
  return to_text(routes, 2) + "\n";
}

std::string to_text(const Json& json, int indent) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

}  // namespace holdfast::app
