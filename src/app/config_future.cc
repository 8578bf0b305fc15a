#include "holdfast/app/config_future.h"

#include <algorithm>
#include <iterator>
#include <limits>

#include <fmt/format.h>

#include "holdfast/app/config_schema.h"
#include "holdfast/app/config_sections.h"
#include "holdfast/http/fields.h"
#include "holdfast/http/method.h"

namespace holdfast::app {
namespace {

bool is_anything(std::string_view) {
  return true;
}
bool is_not_empty(std::string_view text) {
  return !text.empty();
}

bool is_header_source(std::string_view text) {
  constexpr std::string_view prefix = "header:";
  return text.starts_with(prefix) && http::is_token(text.substr(prefix.size()));
}
bool is_limit_key(std::string_view text) {
  return text == "route" || text == "client_ip" || is_header_source(text);
}
bool is_hash_key(std::string_view text) {
  return text == "client_ip" || is_header_source(text);
}
bool is_scope(std::string_view text) {
  return text == "authorization" || text == "client_cert" || text == "none" ||
         is_header_source(text);
}
bool is_store_url(std::string_view text) {
  constexpr std::string_view schemes[] = {"redis://", "rediss://", "unix://", "unix:/"};
  const auto begins = [&](std::string_view scheme) {
    return text.starts_with(scheme) && text.size() > scheme.size();
  };
  return std::any_of(std::begin(schemes), std::end(schemes), begins);
}
bool is_keyed_method(std::string_view text) {
  return text == "POST" || text == "PATCH" || text == "PUT" || text == "DELETE";
}

constexpr TextRule any_text = {"a string", is_anything};
constexpr TextRule some_text = {"a string that is not empty", is_not_empty};
constexpr TextRule limit_key_rule = {R"("route", "client_ip" or "header:NAME")", is_limit_key};
constexpr TextRule hash_key_rule = {R"("client_ip" or "header:NAME")", is_hash_key};
constexpr TextRule scope_rule = {R"("authorization", "header:NAME", "client_cert" or "none")",
                                 is_scope};
constexpr TextRule store_url_rule = {R"(a URL such as "redis://127.0.0.1:6379/0")", is_store_url};
constexpr TextRule keyed_method_rule = {R"("POST", "PATCH", "PUT" or "DELETE")", is_keyed_method};

/// A key whose value is one of some words, and is not kept.
template <std::size_t N>
void check_choice(Reader& keys, std::string_view key, const std::string_view (&words)[N]) {
  Choice<std::size_t> choices[N];
  for (std::size_t i = 0; i < N; ++i) choices[i] = {words[i], i};
  std::size_t chosen = 0;
  keys.choice(key, chosen, choices);
}

void check_text(Reader& keys, std::string_view key, const TextRule& rule) {
  std::string value;
  keys.text(key, value, rule);
}

void check_texts(Reader& keys, std::string_view key, const TextRule& rule) {
  std::vector<std::string> values;
  keys.texts(key, values, rule);
}

void check_boolean(Reader& keys, std::string_view key) {
  bool value = false;
  keys.boolean(key, value);
}

void check_duration(Reader& keys, std::string_view key, Zero zero = Zero::refused) {
  Duration value{};
  keys.duration(key, value, zero);
}

void check_duration_or_off(Reader& keys, std::string_view key) {
  std::optional<Duration> value;
  keys.duration(key, value);
}

void check_size(Reader& keys, std::string_view key) {
  std::uint64_t value = 0;
  keys.size(key, value);
}

void check_ratio(Reader& keys, std::string_view key) {
  double value = 0;
  keys.ratio(key, value);
}

void check_count(Reader& keys, std::string_view key, Range range) {
  std::int64_t value = 0;
  keys.count(key, value, range);
}

void check_certificate(Reader& keys) {
  check_text(keys, "cert", some_text);
  check_text(keys, "key", some_text);
  if (keys.has("cert") != keys.has("key")) {
    keys.error(keys.place(), R"("cert" and "key" need each other)");
  }
}

void check_client_tls(Reader& keys) {
  check_text(keys, "ca", some_text);
  check_text(keys, "server_name", some_text);
  check_boolean(keys, "verify");
  check_certificate(keys);
}

void check_listener_tls(Reader& keys) {
  check_certificate(keys);
  check_text(keys, "client_ca", some_text);
}

void check_outlier(Reader& keys) {
  check_count(keys, "consecutive_failures", small_count);
  check_duration(keys, "eject_for");
  check_ratio(keys, "max_ejected");
  check_ratio(keys, "panic_below");
  check_duration_or_off(keys, "slow_start");
}

bool is_path(std::string_view text) {
  return text.starts_with('/');
}

void check_health(Reader& keys) {
  check_text(keys, "path", {R"(a path that begins with "/")", is_path});
  check_duration(keys, "interval");
  check_duration(keys, "timeout");
  check_count(keys, "healthy_after", small_count);
  check_count(keys, "unhealthy_after", small_count);
}

void check_rate_limit(Reader& keys) {
  std::optional<Rate> rate;
  keys.rate("rate", rate);
  check_count(keys, "burst", {0});
  check_text(keys, "key", limit_key_rule);
}

void check_concurrency(Reader& keys) {
  std::optional<std::int64_t> max;
  keys.count("max", max, at_least_one);
  check_count(keys, "queue", {0});
  check_duration(keys, "queue_timeout", Zero::allowed);
  check_boolean(keys, "adaptive");
  check_text(keys, "priority", some_text);
}

void check_idempotency(Reader& keys) {
  check_boolean(keys, "enabled");
  check_texts(keys, "methods", keyed_method_rule);
  check_text(keys, "header", header_name_rule);
  check_choice(keys, "missing_key", {"pass", "reject", "generate"});
  check_duration(keys, "auto_ttl");
  check_choice(keys, "key_syntax", {"lenient", "strict"});
  check_count(keys, "max_key_length", {1, 255});
  check_text(keys, "namespace", any_text);
  check_texts(keys, "scope", scope_rule);
  check_choice(keys, "scope_missing", {"anonymous", "reject"});
  check_choice(keys, "fingerprint", {"full", "body", "none"});
  check_duration(keys, "ttl");
  check_duration(keys, "lease");
  check_duration(keys, "max_execution");
  check_duration_or_off(keys, "in_flight_wait");
  check_choice(keys, "on_unknown", {"hold", "reexecute"});
  check_choice(keys, "on_store_error", {"closed", "open"});
  check_choice(keys, "record", {"definitive", "all", "no_5xx", "success_only"});
  check_size(keys, "max_request_bytes");
  check_size(keys, "max_response_bytes");
  check_boolean(keys, "replay_set_cookie");
  check_boolean(keys, "upstream_honours_key");
}

void check_store(Reader& keys) {
  check_choice(keys, "kind", {"local", "memory", "redis"});
  check_text(keys, "path", some_text);
  check_choice(keys, "sync", {"normal", "full"});
  check_size(keys, "max_bytes");
  check_text(keys, "url", store_url_rule);
  keys.table("tls", check_client_tls);
  check_text(keys, "key_prefix", any_text);
  check_count(keys, "wait_replicas", {0, 1000});
  check_duration(keys, "wait_timeout", Zero::allowed);
  check_boolean(keys, "allow_eviction");
  check_duration(keys, "timeout");
  check_choice(keys, "on_error", {"closed", "open"});
}

}  // namespace

void refuse_store(Reader& root) {
  root.refuse("store");
  root.table("store", check_store);
}

void refuse_listener_keys(Reader& listener) {
  enum class Mode : std::uint8_t { reverse, forward } mode = Mode::reverse;
  constexpr Choice<Mode> modes[] = {{"reverse", Mode::reverse}, {"forward", Mode::forward}};
  listener.choice("mode", mode, modes);
  if (mode == Mode::forward) {
    listener.error(listener.find("mode")->value.place,
                   R"(mode = "forward" is not in this version)");
  }
  std::vector<std::string> allow;
  listener.texts("allow", allow, some_text);
  if (!allow.empty()) listener.refuse("allow");
  listener.refuse("tls");
  listener.table("tls", check_listener_tls);
}

bool refuse_upstream_keys(Reader& upstream) {
  upstream.refuse("hash_key");
  check_text(upstream, "hash_key", hash_key_rule);
  upstream.refuse("tls");
  upstream.table("tls", check_client_tls);
  upstream.refuse("outlier");
  upstream.table("outlier", check_outlier);
  upstream.refuse("health");
  upstream.table("health", check_health);

  const Entry* balance = upstream.find("balance");
  if (balance == nullptr || balance->value.text != "consistent_hash") return false;
  upstream.error(balance->value.place, R"(balance = "consistent_hash" is not in this version)");
  return true;
}

void refuse_policies(Reader& keys) {
  keys.refuse("idempotency");
  keys.table("idempotency", check_idempotency);
  keys.refuse("rate_limit");
  keys.table("rate_limit", check_rate_limit);
  keys.refuse("concurrency");
  keys.table("concurrency", check_concurrency);
}

}  // namespace holdfast::app
