#include "holdfast/proxy/destination.h"

#include <algorithm>
#include <string>
#include <utility>

namespace holdfast::proxy {
namespace {

using Scheme = net::Endpoint::Scheme;

constexpr std::uint16_t http_port = 80;

bool covers_host(const net::Endpoint& endpoint, const net::Endpoint& asked) {
  if (!endpoint.wildcard) return endpoint.host == asked.host;
  const std::string_view suffix = std::string_view(endpoint.host).substr(1);  // ".internal"
  return asked.is_named() && asked.host.size() > suffix.size() && asked.host.ends_with(suffix);
}

bool covers_port(const net::Endpoint& endpoint, const net::Endpoint& asked, bool tunnel) {
  if (asked.port == endpoint.port) return true;
  return !tunnel && endpoint.scheme == Scheme::https && asked.port == http_port;
}

}  // namespace

std::optional<EndpointConfig> destination_of(const UpstreamConfig& upstream,
                                             std::string_view authority, bool tunnel) {
  std::optional<net::Endpoint> asked = net::Endpoint::parse("http://" + std::string(authority));
  if (!asked) return std::nullopt;
  const auto found = std::ranges::find_if(upstream.endpoints, [&](const EndpointConfig& one) {
    const net::Endpoint& endpoint = one.endpoint;
    return endpoint.scheme != Scheme::unix_socket && covers_host(endpoint, *asked) &&
           covers_port(endpoint, *asked, tunnel);
  });
  if (found == upstream.endpoints.end()) return std::nullopt;
  asked->port = found->endpoint.port;
  if (asked->address) asked->address = asked->address->with_port(asked->port);
  if (!tunnel) asked->scheme = found->endpoint.scheme;
  EndpointConfig destination = *found;
  destination.url = asked->text();
  destination.endpoint = *std::move(asked);
  if (tunnel) destination.credentials = nullptr;
  return destination;
}

std::optional<Way> way_to(const Config& config, std::string_view listener, int matched,
                          std::string_view authority, bool tunnel) {
  const auto by = [&](std::size_t index) -> std::optional<Way> {
    const auto upstream = config.upstreams.find(config.routes[index].upstream);
    if (upstream == config.upstreams.end()) return std::nullopt;
    auto destination = destination_of(upstream->second, authority, tunnel);
    if (!destination) return std::nullopt;
    return Way{static_cast<int>(index), *std::move(destination)};
  };
  if (matched >= 0) {
    const auto index = static_cast<std::size_t>(matched);
    auto way = by(index);
    if (way || config.routes[index].respond) return way;
  }
  if (!tunnel) return std::nullopt;
  const std::string allow = "allow:" + std::string(listener);
  const auto allowed = std::ranges::find(config.routes, allow, &RouteConfig::name);
  if (allowed == config.routes.end()) return std::nullopt;
  return by(static_cast<std::size_t>(allowed - config.routes.begin()));
}

}  // namespace holdfast::proxy
