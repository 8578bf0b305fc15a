// Config: everything the configuration file says, checked and resolved, as plain values.
//
// Contract: built by app/config_loader, immutable afterwards, shared by all workers through one
// pointer. Every route holds its effective policies: [defaults], [upstream.NAME] and [[route]] are
// merged, key by key, when the file is read, so that nothing is looked up in a request's path.
// std::nullopt means "off". The defaults here are contract.md §2's; a test compares the two.
// One thing may move on while a configuration is in use: what TlsCredentials hold, where a file of
// certificates has changed.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "holdfast/base/log.h"
#include "holdfast/base/time.h"
#include "holdfast/http/method.h"
#include "holdfast/net/address.h"
#include "holdfast/net/tls_context.h"
#include "holdfast/net/tls_credentials.h"
#include "holdfast/net/tls_server_context.h"
#include "holdfast/policy/balancer.h"
#include "holdfast/policy/breaker.h"
#include "holdfast/policy/condition.h"
#include "holdfast/policy/health_check.h"
#include "holdfast/policy/idempotency_options.h"
#include "holdfast/policy/outlier.h"
#include "holdfast/policy/retry.h"
#include "holdfast/policy/timeout.h"
#include "holdfast/store/store.h"

namespace holdfast::proxy {

enum class UnderscoreHeaders : std::uint8_t { drop, reject, pass };
enum class AccessLog : std::uint8_t { all, errors, off };

struct ServerConfig {
  std::string name = "holdfast";
  std::optional<int> workers;  // nullopt: "auto"
  std::uint64_t max_connections = 10000;
  std::optional<Duration> drain_timeout = std::chrono::seconds(25);
  std::optional<Duration> header_timeout = std::chrono::seconds(10);
  std::optional<Duration> idle_timeout = std::chrono::seconds(75);
  std::optional<std::uint64_t> min_body_rate = 240;  // bytes a second
  std::uint64_t max_target_bytes = 16 * 1024;
  std::uint64_t max_header_bytes = 64 * 1024;
  std::uint64_t max_headers = 128;
  std::optional<std::uint64_t> max_body_bytes;
  UnderscoreHeaders underscore_headers = UnderscoreHeaders::drop;
  std::vector<net::Cidr> trusted_proxies;
};

struct LogConfig {
  LogLevel level = LogLevel::info;
  LogFormat format = LogFormat::json;
  AccessLog access = AccessLog::all;
};

struct AdminConfig {
  std::optional<net::ListenAddress> listen;  // nullopt: "off"; the loader sets the default
  std::vector<std::string> hosts;            // lower case, without port
};

struct ListenerConfig {
  std::string name;
  net::ListenAddress listen;
  bool forward = false;            // mode: an HTTP_PROXY, else reverse
  std::vector<std::string> allow;  // forward mode: as written; the loader has made routes of them
  std::optional<net::TlsServerOptions> tls;
  /// Of `tls`, and of what its files hold; nullptr without.
  std::shared_ptr<net::TlsServerCredentials> credentials = nullptr;

  bool asks_for_certificates() const { return tls && !tls->client_ca.empty(); }
};

struct EndpointConfig {
  net::Endpoint endpoint;
  std::string url;  // as written, for logs and the admin listener
  std::uint32_t weight = 1;
  std::shared_ptr<net::TlsClientCredentials> credentials = nullptr;  // set exactly if it is https
};

struct PoolOptions {
  std::optional<std::uint64_t> max_connections = 1024;
  std::optional<std::uint64_t> max_pending = 1024;
  std::optional<Duration> idle_timeout = std::chrono::seconds(60);
  std::optional<std::uint64_t> max_requests;
};

enum class HostHeader : std::uint8_t { automatic, preserve, upstream };

struct UpstreamConfig {
  std::string name;
  std::vector<EndpointConfig> endpoints;  // at least one
  policy::BalanceKind balance = policy::BalanceKind::least_request;
  std::string hash_key = "client_ip";  // or "header:NAME"; for consistent_hash
  Duration dns_refresh = std::chrono::seconds(30);
  HostHeader host_header = HostHeader::automatic;
  PoolOptions pool;
  net::TlsClientOptions tls;  // of its https endpoints; files made absolute by the loader
  policy::BreakerOptions breaker;
  policy::OutlierOptions outlier;
  policy::HealthOptions health;
  /// Its requests go to what they name (proxy/destination.h), each endpoint only says what may be
  /// named: some endpoint has a wildcard, or it stands for a listener's `allow`.
  bool dynamic = false;
};

/// What is spoken with an upstream, by its name for ALPN.
inline constexpr std::string_view upstream_protocol = "http/1.1";

using HeaderList = std::vector<std::pair<std::string, std::string>>;

struct MatchConfig {
  std::string listener;  // "": any
  std::string host;      // lower case, no port; "*.x" matches labels before .x; "": any
  enum class PathKind : std::uint8_t { any, exact, prefix, regex } path_kind = PathKind::any;
  std::string path;
  std::vector<std::string> methods;  // empty: any
  HeaderList headers;                // all must be there with that value

  bool operator==(const MatchConfig&) const = default;
};

/// An answer made of configuration alone. A body_file has been read when the file was loaded.
struct StaticResponse {
  int status = 200;
  HeaderList headers;
  std::string body;
};

struct RewriteConfig {
  std::string strip_prefix;
  std::string host;
  HeaderList set_headers;
  std::vector<std::string> remove_headers;  // lower case
};

/// One [[route.fallback]]: exactly one of `response` and `upstream` is used.
struct FallbackConfig {
  policy::ConditionSet on;
  StaticResponse response;
  std::string upstream;  // "": `response`
};

struct RouteConfig {
  std::string name;
  MatchConfig match;
  std::string upstream;                   // "": `respond`
  std::optional<StaticResponse> respond;  // set exactly if `upstream` is ""
  RewriteConfig rewrite;
  std::vector<std::string> upgrade;   // lower case protocols
  std::vector<std::string> trailers;  // lower case field names
  policy::TimeoutOptions timeout;
  policy::RetryOptions retry;
  policy::IdempotencyOptions idempotency;  // never enabled where the route answers by itself
  std::vector<FallbackConfig> fallbacks;
};

struct Config {
  ServerConfig server;
  LogConfig log;
  AdminConfig admin;
  store::StoreOptions store;
  std::vector<ListenerConfig> listeners;  // at least one
  std::map<std::string, UpstreamConfig> upstreams;
  std::vector<RouteConfig> routes;  // in the file's order: the first that matches wins

  /// The store is opened only if a route keeps records.
  bool needs_store() const {
    return std::any_of(routes.begin(), routes.end(),
                       [](const RouteConfig& route) { return route.idempotency.enabled; });
  }
};

}  // namespace holdfast::proxy
