#include "holdfast/app/config_sections.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include "holdfast/app/config_future.h"
#include "holdfast/app/config_policies.h"
#include "holdfast/app/config_schema.h"
#include "holdfast/app/config_tls.h"
#include "holdfast/base/text.h"
#include "holdfast/http/fields.h"
#include "holdfast/proxy/route.h"

namespace holdfast::app {
namespace {

constexpr std::string_view default_listen = "127.0.0.1:8470";
constexpr std::string_view default_admin_listen = "127.0.0.1:8471";
constexpr std::string_view listen_what =
    R"(an address such as "127.0.0.1:8470", "[::1]:8470" or "unix:/run/holdfast.sock")";
constexpr std::string_view endpoint_what =
    R"(an endpoint such as "http://127.0.0.1:3000", "https://app.local" or "unix:/run/app.sock")";

bool is_destination(std::string_view text) {
  const std::string url = fmt::format("http://{}", text);
  return text.find('/') == std::string_view::npos && net::Endpoint::parse_pattern(url).has_value();
}

constexpr TextRule destination_rule = {
    R"(a host and a port such as "*.internal:80" or "api.internal:443")", is_destination};

/// What the listener is for, and where it goes beside the routes.
void read_mode(Reader& keys, proxy::ListenerConfig& listener) {
  constexpr Choice<bool> modes[] = {{"reverse", false}, {"forward", true}};
  keys.choice("mode", listener.forward, modes);
  keys.texts("allow", listener.allow, destination_rule);
  if (listener.allow.empty() || listener.forward) return;
  keys.error(keys.find("allow")->place, R"("allow" needs mode = "forward")");
}

/// A wrong address leaves none, so that it is not compared with the others.
void read_listen(Reader& keys, net::ListenAddress& listen) {
  const Entry* entry = keys.find("listen", Node::Kind::text, listen_what);
  if (entry == nullptr) return;
  if (auto address = net::ListenAddress::parse(entry->value.text)) {
    listen = *std::move(address);
  } else {
    keys.must_be("listen", listen_what, entry->value);
    listen = {};
  }
}

/// One endpoint from its URL, which stands alone or in { url = …, weight = … }.
void read_endpoint(Reader& keys, const Node& url, std::uint32_t weight,
                   std::vector<proxy::EndpointConfig>& endpoints) {
  const auto endpoint = net::Endpoint::parse_pattern(url.text);
  if (!endpoint) {
    // A URL that is refused may hold a password: it is not repeated.
    const bool has_user = url.text.find('@') != std::string::npos;
    if (has_user) {
      keys.error(url.place, "an endpoint holds no user and no password");
    } else {
      keys.item_must_be("endpoints", endpoint_what, url);
    }
    return;
  }
  endpoints.push_back({*endpoint, url.text, weight});
}

void read_weighted_endpoint(Reader& keys, std::vector<proxy::EndpointConfig>& endpoints) {
  std::uint32_t weight = 1;
  keys.count("weight", weight, small_count);
  const Entry* url = keys.find("url", Node::Kind::text, endpoint_what);
  if (url != nullptr) {
    read_endpoint(keys, url->value, weight, endpoints);
  } else if (!keys.has("url")) {
    keys.error(keys.place(), R"(an endpoint needs a "url")");
  }
}

void read_endpoints(Reader& keys, std::vector<proxy::EndpointConfig>& endpoints) {
  const Entry* entry = keys.find("endpoints", Node::Kind::array, "an array of endpoints");
  if (entry == nullptr) return;
  if (entry->value.items.empty()) keys.error(entry->value.place, "an upstream needs an endpoint");
  for (const Node& item : entry->value.items) {
    if (item.kind == Node::Kind::text) {
      read_endpoint(keys, item, 1, endpoints);
    } else if (item.kind == Node::Kind::table) {
      keys.item("endpoints", item, [&](Reader& sub) { read_weighted_endpoint(sub, endpoints); });
    } else {
      keys.item_must_be("endpoints", endpoint_what, item);
    }
  }
}

bool is_https(const proxy::EndpointConfig& endpoint) {
  return endpoint.endpoint.scheme == net::Endpoint::Scheme::https;
}

/// One address is one endpoint, which is spoken to in one way.
void check_schemes(Reader& keys, const std::vector<proxy::EndpointConfig>& endpoints) {
  std::map<std::string, bool> seen;
  for (const proxy::EndpointConfig& endpoint : endpoints) {
    const auto [at, is_new] = seen.emplace(endpoint.endpoint.text(), is_https(endpoint));
    if (is_new || at->second == is_https(endpoint)) continue;
    keys.error(keys.find("endpoints")->value.place,
               fmt::format("{} is an endpoint with TLS and one without", in_quotes(at->first)));
  }
}

/// `tls`, and what the https endpoints connect with. To forget an "s" must not be to send in clear
/// what was meant to be secret.
void read_upstream_tls(Reader& keys, proxy::UpstreamConfig& upstream, LoadContext& context) {
  const bool used = std::ranges::any_of(upstream.endpoints, is_https);
  std::shared_ptr<net::TlsClientCredentials> credentials;
  keys.table("tls", [&](Reader& table) {
    read_client_tls(table, upstream.tls, context.folder);
    if (used) credentials = upstream_credentials(upstream.tls, &table, context.tls);
  });
  if (used && !keys.has("tls")) {
    credentials = upstream_credentials(upstream.tls, nullptr, context.tls);
  }
  const Entry* tls = keys.find("tls");
  if (tls != nullptr && !used && !upstream.endpoints.empty()) {
    keys.error(tls->place, R"("tls" is only for endpoints that begin with https://)");
  }
  for (proxy::EndpointConfig& endpoint : upstream.endpoints) {
    if (is_https(endpoint)) endpoint.credentials = credentials;
  }
}

void read_breaker(Reader& keys, policy::BreakerOptions& breaker) {
  breaker_keys(keys, breaker);
  if (breaker.open_max >= breaker.open_for) return;
  if (const Entry* open_max = keys.find("open_max")) {
    keys.must_be("open_max",
                 fmt::format("at least open_for ({})", format_duration(breaker.open_for)),
                 open_max->value);
  } else {
    breaker.open_max = breaker.open_for;  // a longer pause than the default bound was asked for
  }
}

}  // namespace

bool is_authority(std::string_view text) {
  return text.find('/') == std::string_view::npos &&
         net::Endpoint::parse(fmt::format("http://{}", text)).has_value();
}

bool is_name(std::string_view text) {
  const auto is_visible = [](char c) { return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f; };
  return !text.empty() && text.size() <= 128 && text.front() != ' ' && text.back() != ' ' &&
         std::all_of(text.begin(), text.end(), is_visible);
}

void read_admin(Reader& keys, proxy::AdminConfig& admin) {
  const Entry* listen = keys.find("listen");
  if (listen != nullptr && listen->value.text == "off") {
    admin.listen.reset();
  } else {
    admin.listen = net::ListenAddress::parse(default_admin_listen);
    read_listen(keys, *admin.listen);
  }
  keys.texts("hosts", admin.hosts, authority_rule);
  for (std::string& host : admin.hosts) host = to_lower(proxy::host_of(host));
}

proxy::ListenerConfig read_listener(Reader& keys, std::size_t number, LoadContext& context) {
  proxy::ListenerConfig listener;
  listener.name = fmt::format("listener-{}", number);
  listener.listen = *net::ListenAddress::parse(default_listen);
  keys.text("name", listener.name, name_rule);
  read_listen(keys, listener.listen);
  keys.table("tls",
             [&](Reader& table) { read_server_tls(table, listener, context.folder, context.tls); });
  read_mode(keys, listener);
  return listener;
}

proxy::UpstreamConfig read_upstream(Reader& keys, const std::string& name, LoadContext& context) {
  proxy::UpstreamConfig upstream;
  upstream.name = name;
  if (!keys.has("endpoints")) {
    keys.error(keys.place(), fmt::format(R"(upstream {} has no "endpoints")", in_quotes(name)));
  }
  read_endpoints(keys, upstream.endpoints);
  check_schemes(keys, upstream.endpoints);
  read_upstream_tls(keys, upstream, context);
  upstream.dynamic = std::ranges::any_of(
      upstream.endpoints, [](const proxy::EndpointConfig& one) { return one.endpoint.wildcard; });
  upstream_keys(keys, upstream);
  const bool hashes = upstream.balance == policy::BalanceKind::consistent_hash;
  if (const Entry* hash_key = keys.find("hash_key"); hash_key != nullptr && !hashes) {
    keys.error(hash_key->place, R"("hash_key" makes no sense without balance = "consistent_hash")");
  }
  keys.table("pool", [&](Reader& pool) { pool_keys(pool, upstream.pool); });
  keys.table("breaker", [&](Reader& breaker) { read_breaker(breaker, upstream.breaker); });
  keys.table("outlier", [&](Reader& outlier) { outlier_keys(outlier, upstream.outlier); });
  keys.table("health", [&](Reader& health) { health_keys(health, upstream.health); });
  Policies policies;
  read_policies(keys, policies, context);
  return upstream;
}

}  // namespace holdfast::app
