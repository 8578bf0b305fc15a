#include "holdfast/proxy/cluster.h"

#include <algorithm>

#include "holdfast/base/assert.h"

namespace holdfast::proxy {

Cluster::Cluster(const UpstreamConfig& config, Services& services, const Cluster* previous)
    : config_(config),
      shared_(services.upstreams.find(config.name)),
      slot_(services.observer.upstream_slot(config.name)),
      balancer_(config.balance) {
  HOLDFAST_ASSERT(shared_ != nullptr);
  for (const EndpointConfig& endpoint : config.endpoints) {
    const auto* kept = previous != nullptr ? previous->find(endpoint.endpoint.text()) : nullptr;
    if (kept != nullptr) {
      (*kept)->reconfigure(endpoint, config.pool, config.dns_refresh);
      endpoints_.push_back(*kept);
    } else {
      endpoints_.push_back(std::make_shared<EndpointPool>(endpoint, config.pool, config.dns_refresh,
                                                          shared_, services.context,
                                                          services.connector, services.resolver));
    }
    loads_.push_back({endpoint.weight, 0, true, false});
  }
}

EndpointPool& Cluster::pick(std::span<EndpointPool* const> tried, Rng& rng) {
  if (endpoints_.size() == 1) return *endpoints_.front();
  for (std::size_t i = 0; i < endpoints_.size(); ++i) {
    loads_[i].in_flight = endpoints_[i]->in_flight();
    loads_[i].tried = std::ranges::find(tried, endpoints_[i].get()) != tried.end();
  }
  const int chosen = balancer_.pick(loads_, rng);
  HOLDFAST_ASSERT(chosen >= 0);
  return *endpoints_[static_cast<std::size_t>(chosen)];
}

const std::shared_ptr<EndpointPool>* Cluster::find(std::string_view endpoint) const {
  const auto found =
      std::ranges::find_if(endpoints_, [&](const auto& pool) { return pool->text() == endpoint; });
  return found == endpoints_.end() ? nullptr : &*found;
}

void Cluster::retire_what_is_gone(const Cluster* next) {
  for (const auto& pool : endpoints_) {
    if (next == nullptr || next->find(pool->text()) == nullptr) pool->retire();
  }
}

Generation::Generation(std::shared_ptr<const PublishedConfig> published, Services& services,
                       const Generation* previous)
    : published_(std::move(published)),
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
}

Cluster* Generation::find(std::string_view upstream) const {
  const auto found = std::ranges::lower_bound(clusters_, upstream, {}, [](const auto& cluster) {
    return std::string_view(cluster->config().name);
  });
  if (found == clusters_.end() || (*found)->config().name != upstream) return nullptr;
  return found->get();
}

void Generation::retire_what_is_gone(const Generation& next) {
  for (const auto& cluster : clusters_)
    cluster->retire_what_is_gone(next.find(cluster->config().name));
}

}  // namespace holdfast::proxy
