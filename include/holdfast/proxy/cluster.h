// Cluster: one upstream as one worker sees it under one configuration: its endpoints' pools, the
// balancer, and what is shared with the other workers. It follows the list of endpoints
// (SharedEndpoints) while its configuration is the current one.
//
// Generation: one configuration in use by one worker. Exchanges pin the generation they began with;
// it is destroyed when a newer one is in place and nobody pins it (a plain count: one thread).
//
// Contract: single-threaded, except PublishedConfig, which is immutable and shared by all workers.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "holdfast/base/assert.h"
#include "holdfast/policy/balancer.h"
#include "holdfast/proxy/cluster_names.h"
#include "holdfast/proxy/config.h"
#include "holdfast/proxy/downstream.h"
#include "holdfast/proxy/observer.h"
#include "holdfast/proxy/route.h"
#include "holdfast/proxy/shared_upstream.h"
#include "holdfast/proxy/upstream_connection.h"

namespace holdfast::proxy {

class Executions;

/// What the proxy needs of the worker it runs in. References outlive every exchange.
struct Services {
  runtime::Context& context;
  net::Connector& connector;
  net::Resolver& resolver;
  Observer& observer;
  SharedUpstreams& upstreams;
  /// For heads that are composed and sent without waiting in between.
  std::string scratch;
  /// Of keyed requests; nullptr where no route keeps records.
  Executions* executions = nullptr;
  /// For names that clients choose; nullptr: `resolver`.
  net::Resolver* clients_names = nullptr;
};

class Cluster {
 public:
  Cluster(const UpstreamConfig& config, Services& services, const Cluster* previous);
  /// One of the destinations of a dynamic upstream, or one of a tunnel.
  Cluster(const UpstreamConfig& config, Services& services, std::shared_ptr<SharedUpstream> shared,
          net::Resolver& resolver, const Cluster* previous = nullptr);

  /// The endpoint for an attempt, rather one that is not among `tried`; nullptr: none is in
  /// service. Who goes on speaking of it, once others may have run, holds a PoolPin. `key` is of
  /// consistent_hash.
  EndpointPool* pick(std::span<const PoolPin> tried, Rng& rng,
                     std::optional<std::uint64_t> key = std::nullopt);

  /// Another address of the same name, to connect to beside it (rather one of the other family,
  /// then one with less to do); nullptr: there is none in service.
  EndpointPool* rival_of(const EndpointPool& pool) const;
  ClusterNames& names() { return names_; }

  const UpstreamConfig& config() const { return config_; }
  SharedUpstream& shared() const { return *shared_; }
  Slot slot() const { return slot_; }

  /// Closes the idle connections of endpoints that `next` (nullptr: nobody) does not have any more.
  void retire_what_is_gone(const Cluster* next);

 private:
  using Pools = std::vector<std::shared_ptr<EndpointPool>>;

  static const std::shared_ptr<EndpointPool>* find(const Pools& pools, std::string_view endpoint);
  static bool holds(const Pools& pools, const std::shared_ptr<EndpointPool>& pool);
  void follow(const EndpointMembers& members, const Pools& before);
  void catch_up();

  const UpstreamConfig& config_;
  Services& services_;
  std::shared_ptr<SharedUpstream> shared_;
  SharedEndpoints& shared_endpoints_;
  ClusterNames names_;
  Slot slot_;
  policy::Balancer balancer_;
  std::uint64_t version_ = 0;        // of the list
  std::uint64_t configuration_ = 0;  // of the list
  Pools endpoints_;
  Pools leaving_;  // gone from the list, perhaps in use
  std::vector<policy::EndpointLoad> loads_;
};

/// A configuration that was put into use, with its routes made ready.
struct PublishedConfig {
  explicit PublishedConfig(std::shared_ptr<const Config> loaded)
      : config(std::move(loaded)), routes(*config) {}
  std::shared_ptr<const Config> config;
  RouteTable routes;
};

struct RouteState {
  const RouteConfig* config = nullptr;
  Cluster* cluster = nullptr;               // nullptr: the route responds by itself
  std::vector<Cluster*> fallback_clusters;  // one for each fallback; nullptr for static ones
  Slot slot = 0;
  mutable std::uint64_t pins = 0;  // of those who use it, where it may go: a destination's
};

/// Keeps a destination's RouteState where it is.
class RoutePin {
 public:
  RoutePin() = default;
  explicit RoutePin(const RouteState& state) : state_(&state) { ++state_->pins; }
  RoutePin(const RoutePin&) = delete;
  RoutePin& operator=(const RoutePin&) = delete;
  ~RoutePin() {
    if (state_ != nullptr) --state_->pins;
  }
  void hold(const RouteState& state) {
    HOLDFAST_ASSERT(state_ == nullptr);
    state_ = &state;
    ++state_->pins;
  }

 private:
  const RouteState* state_ = nullptr;
};

class Generation {
 public:
  /// Takes over the pools of `previous` (may be nullptr) whose endpoints stay, and its destinations
  /// that the same routes still cover.
  Generation(std::shared_ptr<const PublishedConfig> published, Services& services,
             const Generation* previous);
  ~Generation();

  const Config& config() const { return *published_->config; }
  const RouteTable& routes() const { return published_->routes; }
  const RouteState& route(int index) const { return routes_[static_cast<std::size_t>(index)]; }
  const DownstreamOptions& downstream() const { return downstream_; }

  bool is_forward(std::string_view listener) const;
  /// True if the route's requests go to what they name.
  bool is_dynamic(int route) const {
    const Cluster* cluster = routes_[static_cast<std::size_t>(route)].cluster;
    return any_dynamic_ && cluster != nullptr && cluster->config().dynamic;
  }
  /// The route towards one destination: the same policies, and a breaker, bounds, a pool and
  /// records of its own. There are max_destinations at most; the one that was used longest ago, and
  /// that nobody pins, makes room: nullptr if there is none.
  const RouteState* route_to(int route, const EndpointConfig& destination, bool tunnel);
  static constexpr std::size_t max_destinations = 256;

  void retire_what_is_gone(const Generation& next);

  void pin() { ++pins_; }
  void unpin() { --pins_; }
  bool pinned() const { return pins_ > 0; }

 private:
  struct Destination;
  using DestinationMap = std::map<std::string, std::unique_ptr<Destination>, std::less<>>;

  Cluster* find(std::string_view upstream) const;
  const Cluster* find_destination(const std::string& key) const;
  Destination& add_destination(const RouteState& route, const EndpointConfig& endpoint, bool tunnel,
                               const Cluster* previous);
  void take_over_destinations(const Generation& previous);
  bool make_room();

  Services& services_;
  std::shared_ptr<const PublishedConfig> published_;
  std::vector<std::unique_ptr<Cluster>> clusters_;  // by name, in order
  std::vector<RouteState> routes_;
  std::vector<std::string> forward_listeners_;
  bool any_dynamic_ = false;
  DestinationMap destinations_;
  DownstreamOptions downstream_;
  std::uint64_t pins_ = 0;
};

}  // namespace holdfast::proxy
