#include "holdfast/proxy/cluster.h"

#include <algorithm>
#include <string>
#include <tuple>
#include <utility>

#include "holdfast/proxy/destination.h"

namespace holdfast::proxy {

namespace {

/// True if a client chose the host: the configuration only covers it.
bool is_clients_choice(const UpstreamConfig& upstream, const net::Endpoint& destination) {
  return std::ranges::none_of(upstream.endpoints, [&](const EndpointConfig& one) {
    return !one.endpoint.wildcard && one.endpoint.host == destination.host;
  });
}

std::string destination_key(const RouteConfig& route, std::string_view authority, bool tunnel) {
  std::string key = route.name;
  key.append(tunnel ? " CONNECT " : " ").append(authority);
  return key;
}

}  // namespace

struct Generation::Destination {
  UpstreamConfig upstream;
  RouteConfig route;
  bool tunnel = false;
  std::unique_ptr<Cluster> cluster;
  RouteState state;
  TimePoint used{};
};

Cluster::Cluster(const UpstreamConfig& config, Services& services, const Cluster* previous)
    : Cluster(config, services, services.upstreams.find(config.name), services.resolver, previous) {
}

Cluster::Cluster(const UpstreamConfig& config, Services& services,
                 std::shared_ptr<SharedUpstream> shared, net::Resolver& resolver,
                 const Cluster* previous)
    : config_(config),
      services_(services),
      shared_(std::move(shared)),
      shared_endpoints_(shared_->endpoints()),
      names_(config, shared_endpoints_, services.context, resolver),
      slot_(services.observer.upstream_slot(config.name)),
      balancer_(config.balance) {
  const std::shared_ptr<const EndpointMembers> members = shared_endpoints_.members();
  configuration_ = members->configuration;
  follow(*members, previous != nullptr ? previous->endpoints_ : Pools{});
}

/// Has a pool for each endpoint of the list, those of `before` that stay and new ones.
void Cluster::follow(const EndpointMembers& members, const Pools& before) {
  Pools next;
  loads_.clear();
  for (const EndpointMember& member : members.list) {
    const auto* kept = find(before, member.shared->key());
    if (kept != nullptr && (*kept)->fits(member.config)) {
      (*kept)->reconfigure(member, config_.pool);
      next.push_back(*kept);
    } else {
      next.push_back(std::make_shared<EndpointPool>(member, config_.pool, shared_,
                                                    services_.context, services_.connector));
    }
    loads_.push_back(
        {.weight = member.config.weight, .hash = policy::stable_hash(member.shared->key())});
  }
  endpoints_ = std::move(next);
  version_ = members.version;
}

/// The list has changed: by a look-up, which is followed, or by a reload that this worker has not
/// seen yet: then requests go on as they began, until it has.
void Cluster::catch_up() {
  const std::shared_ptr<const EndpointMembers> members = shared_endpoints_.members();
  version_ = members->version;
  if (members->configuration != configuration_) return;
  const Pools before = endpoints_;
  follow(*members, before);
  std::erase_if(leaving_, [](const auto& pool) { return !pool->in_use(); });
  for (const auto& pool : before) {
    if (holds(endpoints_, pool)) continue;
    pool->retire();
    if (pool->in_use()) leaving_.push_back(pool);
  }
}

EndpointPool* Cluster::pick(std::span<const PoolPin> tried, Rng& rng,
                            std::optional<std::uint64_t> key) {
  names_.refresh();
  if (shared_endpoints_.version() != version_) catch_up();
  const bool calm = shared_endpoints_.calm();
  if (calm && endpoints_.size() == 1) return endpoints_.front().get();
  const TimePoint now = services_.context.now();
  if (!calm) shared_endpoints_.tick(now);
  for (std::size_t i = 0; i < endpoints_.size(); ++i) {
    const EndpointPool& pool = *endpoints_[i];
    policy::EndpointLoad& load = loads_[i];
    load.in_flight = pool.in_flight();
    load.tried = std::ranges::find(tried, &pool, &PoolPin::get) != tried.end();
    load.available = calm || shared_endpoints_.available(pool.shared());
    load.share = calm ? 100 : shared_endpoints_.share(pool.shared(), now);
  }
  const int chosen = balancer_.pick(loads_, rng, key);
  if (chosen < 0) return nullptr;
  EndpointPool* const pool = endpoints_[static_cast<std::size_t>(chosen)].get();
  if (!pool->lost_lately()) return pool;
  EndpointPool* const rival = rival_of(*pool);
  return rival != nullptr && !rival->lost_lately() ? rival : pool;
}

EndpointPool* Cluster::rival_of(const EndpointPool& pool) const {
  const net::Endpoint& endpoint = pool.endpoint().endpoint;
  if (!endpoint.is_named() || !pool.is_resolved()) return nullptr;
  const auto same_family = [&](const EndpointPool& other) {
    return other.address().family() == pool.address().family();
  };
  EndpointPool* best = nullptr;
  for (const auto& other : endpoints_) {
    const net::Endpoint& its = other->endpoint().endpoint;
    if (other.get() == &pool || !other->is_resolved()) continue;
    if (its.host != endpoint.host || its.port != endpoint.port || !its.is_named()) continue;
    if (its.scheme != endpoint.scheme) continue;
    if (!shared_endpoints_.available(other->shared())) continue;
    const auto rank = [&](const EndpointPool& one) {
      return std::tuple(one.lost_lately(), same_family(one), one.in_flight());
    };
    if (best == nullptr || rank(*other) < rank(*best)) best = other.get();
  }
  return best;
}

const std::shared_ptr<EndpointPool>* Cluster::find(const Pools& pools, std::string_view endpoint) {
  const auto found =
      std::ranges::find_if(pools, [&](const auto& pool) { return pool->text() == endpoint; });
  return found == pools.end() ? nullptr : &*found;
}

bool Cluster::holds(const Pools& pools, const std::shared_ptr<EndpointPool>& pool) {
  return std::ranges::find(pools, pool) != pools.end();
}

void Cluster::retire_what_is_gone(const Cluster* next) {
  for (const auto& pool : endpoints_) {
    if (next == nullptr || !holds(next->endpoints_, pool)) pool->retire();
  }
}

Generation::Generation(std::shared_ptr<const PublishedConfig> published, Services& services,
                       const Generation* previous)
    : services_(services),
      published_(std::move(published)),
      downstream_(downstream_options(published_->config->server)) {
  for (const auto& [name, upstream] : config().upstreams) {
    Cluster* before = previous != nullptr ? previous->find(name) : nullptr;
    clusters_.push_back(std::make_unique<Cluster>(upstream, services, before));
  }
  for (const RouteConfig& route : config().routes) {
    RouteState state;
    state.config = &route;
    state.cluster = route.upstream.empty() ? nullptr : find(route.upstream);
    for (const FallbackConfig& fallback : route.fallbacks) {
      state.fallback_clusters.push_back(fallback.upstream.empty() ? nullptr
                                                                  : find(fallback.upstream));
    }
    state.slot = services.observer.route_slot(route.name);
    routes_.push_back(std::move(state));
  }
  for (const ListenerConfig& listener : config().listeners) {
    if (listener.forward) forward_listeners_.push_back(listener.name);
  }
  for (const auto& [name, upstream] : config().upstreams) {
    any_dynamic_ = any_dynamic_ || upstream.dynamic;
  }
  if (previous != nullptr) take_over_destinations(*previous);
}

Generation::~Generation() = default;

bool Generation::is_forward(std::string_view listener) const {
  return !forward_listeners_.empty() &&
         std::ranges::find(forward_listeners_, listener) != forward_listeners_.end();
}

const RouteState* Generation::route_to(int route, const EndpointConfig& destination, bool tunnel) {
  const RouteState& general = this->route(route);
  const std::string key = destination_key(*general.config, destination.endpoint.text(), tunnel);
  const TimePoint now = services_.context.now();
  if (const auto found = destinations_.find(key); found != destinations_.end()) {
    found->second->used = now;
    return &found->second->state;
  }
  if (destinations_.size() >= max_destinations && !make_room()) return nullptr;
  Destination& made = add_destination(general, destination, tunnel, nullptr);
  made.used = now;
  return &made.state;
}

Generation::Destination& Generation::add_destination(const RouteState& route,
                                                     const EndpointConfig& endpoint, bool tunnel,
                                                     const Cluster* previous) {
  const std::string authority = endpoint.endpoint.text();
  auto made = std::make_unique<Destination>();
  made->upstream = route.cluster->config();
  made->upstream.dynamic = false;
  made->upstream.endpoints = {endpoint};
  made->route = *route.config;
  made->tunnel = tunnel;
  // A tunnel and a request over TLS to one place have different endpoints.
  const std::string name = authority + (endpoint.credentials != nullptr ? " tls" : "");
  const auto shared =
      services_.upstreams.destination(made->upstream, name, services_.context.now());
  // One key at two destinations is two keys.
  made->route.idempotency.name_space += " " + authority;
  const bool chosen = is_clients_choice(route.cluster->config(), endpoint.endpoint);
  net::Resolver* const apart = chosen ? services_.clients_names : nullptr;
  // Its pools count their connections with what is shared: those of another are no use.
  const bool goes_on = previous != nullptr && &previous->shared() == shared.get();
  made->cluster = std::make_unique<Cluster>(made->upstream, services_, shared,
                                            apart != nullptr ? *apart : services_.resolver,
                                            goes_on ? previous : nullptr);
  shared->count_window(made->route.retry.budget.window);
  made->state.config = &made->route;
  made->state.cluster = made->cluster.get();
  made->state.fallback_clusters = route.fallback_clusters;
  made->state.slot = route.slot;
  std::string key = destination_key(*route.config, authority, tunnel);
  return *destinations_.emplace(std::move(key), std::move(made)).first->second;
}

/// What workers share of a destination lives as long as one of them uses it.
void Generation::take_over_destinations(const Generation& previous) {
  for (const auto& [key, before] : previous.destinations_) {
    const auto route = std::ranges::find_if(routes_, [&](const RouteState& one) {
      return one.config->name == before->route.name && one.cluster != nullptr &&
             one.cluster->config().name == before->upstream.name;
    });
    if (route == routes_.end()) continue;
    const std::string authority = before->upstream.endpoints.front().endpoint.text();
    const auto place = destination_of(route->cluster->config(), authority, before->tunnel);
    if (!place || place->endpoint.text() != authority) continue;
    add_destination(*route, *place, before->tunnel, before->cluster.get()).used = before->used;
  }
}

bool Generation::make_room() {
  auto oldest = destinations_.end();
  for (auto at = destinations_.begin(); at != destinations_.end(); ++at) {
    if (at->second->state.pins > 0) continue;
    if (oldest == destinations_.end() || at->second->used < oldest->second->used) oldest = at;
  }
  if (oldest == destinations_.end()) return false;
  destinations_.erase(oldest);
  return true;
}

Cluster* Generation::find(std::string_view upstream) const {
  const auto found = std::ranges::lower_bound(clusters_, upstream, {}, [](const auto& cluster) {
    return std::string_view(cluster->config().name);
  });
  if (found == clusters_.end() || (*found)->config().name != upstream) return nullptr;
  return found->get();
}

const Cluster* Generation::find_destination(const std::string& key) const {
  const auto found = destinations_.find(key);
  return found == destinations_.end() ? nullptr : found->second->cluster.get();
}

void Generation::retire_what_is_gone(const Generation& next) {
  for (const auto& cluster : clusters_)
    cluster->retire_what_is_gone(next.find(cluster->config().name));
  for (const auto& [key, destination] : destinations_)
    destination->cluster->retire_what_is_gone(next.find_destination(key));
}

}  // namespace holdfast::proxy
