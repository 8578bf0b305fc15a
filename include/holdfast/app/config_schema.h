// The schema of the plain tables: one line for each key. The same list reads a table (Reader) and
// writes the effective configuration (EffectiveWriter), so that the two cannot drift apart.
//
// Contract: `keys` has a method for each kind of value, as Reader declares them. Defaults are those
// of the structs (proxy/config.h and policy/), which are contract §2's.
#pragma once

#include "holdfast/app/config_headers.h"
#include "holdfast/app/config_reader.h"
#include "holdfast/proxy/config.h"

namespace holdfast::app {

bool is_pseudonym(std::string_view text);
bool is_some_text(std::string_view text);
bool is_name_or_empty(std::string_view text);
bool is_keyed_method(std::string_view text);
bool is_check_path(std::string_view text);
bool is_hash_key(std::string_view text);

inline constexpr TextRule pseudonym_rule = {
    "a token (letters, digits, -._~) that begins with a letter", is_pseudonym};
inline constexpr TextRule some_text_rule = {"a string that is not empty", is_some_text};
inline constexpr TextRule optional_name_rule = {R"(a name of 1 to 128 visible characters, or "")",
                                                is_name_or_empty};
inline constexpr TextRule keyed_method_rule = {R"("POST", "PATCH", "PUT" or "DELETE")",
                                               is_keyed_method};

inline constexpr TextRule hash_key_rule = {R"("client_ip" or "header:NAME")", is_hash_key};
inline constexpr TextRule check_path_rule = {R"(a path that begins with "/")", is_check_path};

inline constexpr Choice<proxy::UnderscoreHeaders> underscore_choices[] = {
    {"drop", proxy::UnderscoreHeaders::drop},
    {"reject", proxy::UnderscoreHeaders::reject},
    {"pass", proxy::UnderscoreHeaders::pass}};
inline constexpr Choice<LogLevel> log_level_choices[] = {{"debug", LogLevel::debug},
                                                         {"info", LogLevel::info},
                                                         {"warn", LogLevel::warn},
                                                         {"error", LogLevel::error}};
inline constexpr Choice<LogFormat> log_format_choices[] = {{"json", LogFormat::json},
                                                           {"text", LogFormat::text}};
inline constexpr Choice<proxy::AccessLog> access_choices[] = {{"all", proxy::AccessLog::all},
                                                              {"errors", proxy::AccessLog::errors},
                                                              {"off", proxy::AccessLog::off}};
inline constexpr Choice<policy::BalanceKind> balance_choices[] = {
    {"least_request", policy::BalanceKind::least_request},
    {"round_robin", policy::BalanceKind::round_robin},
    {"consistent_hash", policy::BalanceKind::consistent_hash}};
inline constexpr Choice<proxy::HostHeader> host_header_choices[] = {
    {"auto", proxy::HostHeader::automatic},
    {"preserve", proxy::HostHeader::preserve},
    {"upstream", proxy::HostHeader::upstream}};
inline constexpr Choice<policy::BackoffKind> backoff_choices[] = {
    {"exponential", policy::BackoffKind::exponential},
    {"fibonacci", policy::BackoffKind::fibonacci},
    {"constant", policy::BackoffKind::constant}};

inline constexpr Choice<policy::MissingKey> missing_key_choices[] = {
    {"pass", policy::MissingKey::pass},
    {"reject", policy::MissingKey::reject},
    {"generate", policy::MissingKey::generate}};
inline constexpr Choice<policy::KeySyntax> key_syntax_choices[] = {
    {"lenient", policy::KeySyntax::lenient}, {"strict", policy::KeySyntax::strict}};
inline constexpr Choice<policy::ScopeMissing> scope_missing_choices[] = {
    {"anonymous", policy::ScopeMissing::anonymous}, {"reject", policy::ScopeMissing::reject}};
inline constexpr Choice<policy::FingerprintOf> fingerprint_choices[] = {
    {"full", policy::FingerprintOf::full},
    {"body", policy::FingerprintOf::body},
    {"none", policy::FingerprintOf::none}};
inline constexpr Choice<policy::OnUnknown> on_unknown_choices[] = {
    {"hold", policy::OnUnknown::hold}, {"reexecute", policy::OnUnknown::reexecute}};
inline constexpr Choice<policy::OnStoreFailure> on_store_error_choices[] = {
    {"closed", policy::OnStoreFailure::closed}, {"open", policy::OnStoreFailure::open}};
inline constexpr Choice<policy::Recording> record_choices[] = {
    {"definitive", policy::Recording::definitive},
    {"all", policy::Recording::all},
    {"no_5xx", policy::Recording::no_5xx},
    {"success_only", policy::Recording::success_only}};
inline constexpr Choice<store::StoreKind> store_kind_choices[] = {
    {"local", store::StoreKind::local},
    {"memory", store::StoreKind::memory},
    {"redis", store::StoreKind::redis}};
inline constexpr Choice<store::Sync> sync_choices[] = {{"normal", store::Sync::normal},
                                                       {"full", store::Sync::full}};
inline constexpr Choice<store::OnStoreError> on_error_choices[] = {
    {"closed", store::OnStoreError::closed}, {"open", store::OnStoreError::open}};

inline constexpr Range at_least_one = {1};
inline constexpr Range small_count = {1, 1'000'000};

/// [server]
template <class Keys>
void server_keys(Keys& keys, proxy::ServerConfig& server) {
  keys.text("name", server.name, pseudonym_rule);
  keys.count("workers", server.workers, Range{1, 1024}, "auto");
  keys.count("max_connections", server.max_connections, at_least_one);
  keys.duration("drain_timeout", server.drain_timeout, Zero::allowed);
  keys.duration("header_timeout", server.header_timeout);
  keys.duration("idle_timeout", server.idle_timeout);
  keys.byte_rate("min_body_rate", server.min_body_rate);
  keys.size("max_target_bytes", server.max_target_bytes);
  keys.size("max_header_bytes", server.max_header_bytes);
  keys.count("max_headers", server.max_headers, at_least_one);
  keys.size("max_body_bytes", server.max_body_bytes);
  keys.choice("underscore_headers", server.underscore_headers, underscore_choices);
  keys.ranges("trusted_proxies", server.trusted_proxies);
}

/// [log]
template <class Keys>
void log_keys(Keys& keys, proxy::LogConfig& log) {
  keys.choice("level", log.level, log_level_choices);
  keys.choice("format", log.format, log_format_choices);
  keys.choice("access", log.access, access_choices);
}

/// [store], but `url`, which may hold a password
template <class Keys>
void store_keys(Keys& keys, store::StoreOptions& store) {
  keys.choice("kind", store.kind, store_kind_choices);
  keys.text("path", store.path, some_text_rule);
  keys.choice("sync", store.sync, sync_choices);
  keys.size("max_bytes", store.max_bytes);
  keys.text("key_prefix", store.key_prefix, optional_name_rule);
  keys.count("wait_replicas", store.wait_replicas, Range{0, 1000});
  keys.duration("wait_timeout", store.wait_timeout);
  keys.boolean("allow_eviction", store.allow_eviction);
  keys.duration("timeout", store.timeout);
  keys.choice("on_error", store.on_error, on_error_choices);
}

/// [upstream.NAME], the plain keys
template <class Keys>
void upstream_keys(Keys& keys, proxy::UpstreamConfig& upstream) {
  keys.choice("balance", upstream.balance, balance_choices);
  keys.text("hash_key", upstream.hash_key, hash_key_rule);
  keys.duration("dns_refresh", upstream.dns_refresh);
  keys.choice("host_header", upstream.host_header, host_header_choices);
}

/// [upstream.NAME.pool]
template <class Keys>
void pool_keys(Keys& keys, proxy::PoolOptions& pool) {
  keys.count("max_connections", pool.max_connections, at_least_one);
  keys.count("max_pending", pool.max_pending, Range{0});
  keys.duration("idle_timeout", pool.idle_timeout);
  keys.count("max_requests", pool.max_requests, at_least_one);
}

/// [upstream.NAME.breaker]
template <class Keys>
void breaker_keys(Keys& keys, policy::BreakerOptions& breaker) {
  keys.boolean("enabled", breaker.enabled);
  keys.duration("window", breaker.window);
  keys.count("min_requests", breaker.min_requests, small_count);
  keys.ratio("failure_rate", breaker.failure_rate);
  keys.count("consecutive_failures", breaker.consecutive_failures, small_count);
  keys.duration("slow_call", breaker.slow_call);
  keys.ratio("slow_call_rate", breaker.slow_call_rate);
  keys.conditions("failures", breaker.failures, ConditionUse::breaker);
  keys.duration("open_for", breaker.open_for);
  keys.duration("open_max", breaker.open_max);
  keys.count("half_open_requests", breaker.half_open_requests, small_count);
}

/// [upstream.NAME.outlier]
template <class Keys>
void outlier_keys(Keys& keys, policy::OutlierOptions& outlier) {
  keys.count("consecutive_failures", outlier.consecutive_failures, small_count);
  keys.duration("eject_for", outlier.eject_for);
  keys.ratio("max_ejected", outlier.max_ejected);
  keys.ratio("panic_below", outlier.panic_below);
  keys.duration("slow_start", outlier.slow_start);
}

/// [upstream.NAME.health]
template <class Keys>
void health_keys(Keys& keys, policy::HealthOptions& health) {
  keys.text("path", health.path, check_path_rule);
  keys.duration("interval", health.interval);
  keys.duration("timeout", health.timeout);
  keys.count("healthy_after", health.healthy_after, small_count);
  keys.count("unhealthy_after", health.unhealthy_after, small_count);
}

/// timeout, a policy table
template <class Keys>
void timeout_keys(Keys& keys, policy::TimeoutOptions& timeout) {
  keys.duration("connect", timeout.connect);
  keys.duration("per_try", timeout.per_try);
  keys.duration("total", timeout.total);
  keys.duration("idle", timeout.idle);
  keys.duration("stream", timeout.stream);
  keys.text("deadline_header", timeout.deadline_header, deadline_header_rule);
}

template <class Keys>
void backoff_keys(Keys& keys, policy::BackoffOptions& backoff) {
  keys.choice("kind", backoff.kind, backoff_choices);
  keys.duration("base", backoff.base, Zero::allowed);
  keys.duration("max", backoff.max, Zero::allowed);
  keys.jitter("jitter", backoff);
}

template <class Keys>
void budget_keys(Keys& keys, policy::RetryBudgetOptions& budget) {
  keys.ratio("ratio", budget.ratio);
  keys.number("min_per_second", budget.min_per_second);
  keys.duration("window", budget.window);
}

/// retry, a policy table
template <class Keys>
void retry_keys(Keys& keys, policy::RetryOptions& retry) {
  keys.count("attempts", retry.attempts, Range{1, 1000});
  keys.conditions("on", retry.on, ConditionUse::retry);
  keys.methods("methods", retry.methods);
  keys.table("backoff", [&](auto& sub) { backoff_keys(sub, retry.backoff); });
  keys.table("budget", [&](auto& sub) { budget_keys(sub, retry.budget); });
  keys.size("body_limit", retry.body_limit, Zero::allowed);
  keys.duration("retry_after_max", retry.retry_after_max, Zero::allowed);
  keys.duration("hedge_after", retry.hedge_after);
}

/// idempotency, a policy table
template <class Keys>
void idempotency_keys(Keys& keys, policy::IdempotencyOptions& idempotency) {
  keys.boolean("enabled", idempotency.enabled);
  keys.texts("methods", idempotency.methods, keyed_method_rule);
  keys.text("header", idempotency.header, key_header_rule);
  keys.choice("missing_key", idempotency.missing_key, missing_key_choices);
  keys.duration("auto_ttl", idempotency.auto_ttl);
  keys.choice("key_syntax", idempotency.key_syntax, key_syntax_choices);
  keys.count("max_key_length", idempotency.max_key_length, Range{1, 255});
  keys.text("namespace", idempotency.name_space, optional_name_rule);
  keys.scope("scope", idempotency.scope);
  keys.choice("scope_missing", idempotency.scope_missing, scope_missing_choices);
  keys.choice("fingerprint", idempotency.fingerprint, fingerprint_choices);
  keys.duration("ttl", idempotency.ttl);
  keys.duration("lease", idempotency.lease);
  keys.duration("max_execution", idempotency.max_execution);
  keys.duration("in_flight_wait", idempotency.in_flight_wait);
  keys.choice("on_unknown", idempotency.on_unknown, on_unknown_choices);
  keys.choice("on_store_error", idempotency.on_store_error, on_store_error_choices);
  keys.choice("record", idempotency.record, record_choices);
  keys.size("max_request_bytes", idempotency.max_request_bytes);
  keys.size("max_response_bytes", idempotency.max_response_bytes);
  keys.boolean("replay_set_cookie", idempotency.replay_set_cookie);
  keys.boolean("upstream_honours_key", idempotency.upstream_honours_key);
}

}  // namespace holdfast::app
