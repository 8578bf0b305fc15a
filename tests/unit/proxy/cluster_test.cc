#include "holdfast/proxy/cluster.h"

#include <doctest/doctest.h>

#include <deque>
#include <set>

#include "holdfast/proxy/destination.h"
#include "tests/support/proxy_fixture.h"

namespace holdfast::test {
namespace {

using proxy::Cluster;
using proxy::Config;
using proxy::EndpointPool;
using proxy::Generation;
using proxy::PoolPin;
using proxy::PublishedConfig;

const std::vector<std::string> three = {"http://10.0.0.1:80", "http://10.0.0.2:80",
                                        "http://10.0.0.3:80"};

struct ClusterFixture {
  std::unique_ptr<Generation> generation(Config config, const Generation* previous = nullptr) {
    auto loaded = std::make_shared<const Config>(std::move(config));
    upstreams.apply(*loaded);
    return std::make_unique<Generation>(std::make_shared<const PublishedConfig>(loaded), services,
                                        previous);
  }
  World world;
  FakeNetwork network{world};
  Recorder seen;
  proxy::SharedUpstreams upstreams;
  proxy::Services services{world.context(), network, network, seen, upstreams, {}};
};

TEST_CASE("round robin goes round; what was tried is avoided while there is another") {
  ClusterFixture fixture;
  auto generation = fixture.generation(one_upstream(three));
  Cluster& cluster = *generation->route(0).cluster;
  std::set<EndpointPool*> all;
  for (int i = 0; i < 3; ++i) all.insert(cluster.pick({}, fixture.world.rng()));
  CHECK(all.size() == 3);
  std::vector<PoolPin> tried;
  for (int i = 0; i < 3; ++i) {
    EndpointPool* const next = cluster.pick(tried, fixture.world.rng());
    CHECK(std::ranges::find(tried, next, &PoolPin::get) == tried.end());
    tried.emplace_back(next);
  }
  CHECK(all.contains(cluster.pick(tried, fixture.world.rng())));
}

TEST_CASE("least_request looks at what is in flight") {
  ClusterFixture fixture;
  Config config = one_upstream({"http://10.0.0.1:80", "http://10.0.0.2:80"});
  config.upstreams["api"].balance = policy::BalanceKind::least_request;
  auto generation = fixture.generation(config);
  Cluster& cluster = *generation->route(0).cluster;
  EndpointPool& busy = *cluster.pick({}, fixture.world.rng());
  auto acquiring = busy.acquire(false, std::nullopt, never);
  acquiring.start();
  fixture.world.settle();
  REQUIRE(acquiring.done());
  auto lease = acquiring.take();
  REQUIRE(lease);
  int to_busy = 0;
  for (int i = 0; i < 100; ++i) to_busy += cluster.pick({}, fixture.world.rng()) == &busy ? 1 : 0;
  CHECK(to_busy < 50);
}

TEST_CASE("a reload takes over the pools of the endpoints that stay, whatever their order") {
  ClusterFixture fixture;
  auto before = fixture.generation(one_upstream({three[0], three[1]}));
  Cluster& old_cluster = *before->route(0).cluster;
  std::set<EndpointPool*> old_pools;
  for (int i = 0; i < 2; ++i) old_pools.insert(old_cluster.pick({}, fixture.world.rng()));
  auto after = fixture.generation(one_upstream({three[2], three[1]}), before.get());
  Cluster& new_cluster = *after->route(0).cluster;
  CHECK(&new_cluster.shared() == &old_cluster.shared());
  int kept = 0;
  for (int i = 0; i < 2; ++i) {
    EndpointPool& pool = *new_cluster.pick({}, fixture.world.rng());
    if (!old_pools.contains(&pool)) continue;
    ++kept;
    CHECK(pool.text() == "10.0.0.2:80");
  }
  CHECK(kept == 1);
}

std::set<std::string> picked(Cluster& cluster, Rng& rng) {
  std::set<std::string> texts;
  for (int i = 0; i < 10; ++i) {
    const EndpointPool* const pool = cluster.pick({}, rng);
    texts.insert(pool == nullptr ? "none" : pool->text());
  }
  return texts;
}

TEST_CASE("what is drained is not picked, not even where it is the only one") {
  ClusterFixture fixture;
  auto generation = fixture.generation(one_upstream({three[0], three[1]}));
  Cluster& cluster = *generation->route(0).cluster;
  proxy::SharedEndpoints& shared = cluster.shared().endpoints();
  Rng& rng = fixture.world.rng();
  CHECK(shared.drain("10.0.0.1:80", true, fixture.world.now()));
  CHECK(picked(cluster, rng) == std::set<std::string>{"10.0.0.2:80"});
  CHECK(shared.drain("10.0.0.2:80", true, fixture.world.now()));
  CHECK(picked(cluster, rng) == std::set<std::string>{"none"});
  auto after = fixture.generation(one_upstream({three[0]}), generation.get());
  CHECK(picked(*after->route(0).cluster, rng) == std::set<std::string>{"none"});
  CHECK(shared.drain("10.0.0.1:80", false, fixture.world.now()));
  CHECK(picked(*after->route(0).cluster, rng) == std::set<std::string>{"10.0.0.1:80"});
}

TEST_CASE(
    "an address that went and came back between two requests is the one that others speak of") {
  ClusterFixture fixture;
  auto generation = fixture.generation(one_upstream({"http://app.local:80"}));
  Cluster& cluster = *generation->route(0).cluster;
  proxy::SharedEndpoints& shared = cluster.shared().endpoints();
  Rng& rng = fixture.world.rng();
  const TimePoint now = fixture.world.now();
  const net::Address one = *net::Address::from_ip("10.0.0.1", 80);
  const net::Address two = *net::Address::from_ip("10.0.0.2", 80);
  shared.resolved("app.local:80", {one, two}, now);
  CHECK(picked(cluster, rng).size() == 2);
  shared.resolved("app.local:80", {two}, now);
  shared.resolved("app.local:80", {one, two}, now);
  CHECK(shared.drain("app.local:80 10.0.0.1:80", true, now));
  CHECK(picked(cluster, rng) == std::set<std::string>{"app.local:80 10.0.0.2:80"});
}

TEST_CASE("the addresses of a name are endpoints, which come and go while requests run") {
  ClusterFixture fixture;
  auto generation = fixture.generation(one_upstream({"http://app.local:80"}));
  Cluster& cluster = *generation->route(0).cluster;
  proxy::SharedEndpoints& shared = cluster.shared().endpoints();
  Rng& rng = fixture.world.rng();
  const auto found = [&](std::initializer_list<const char*> ips) {
    std::vector<net::Address> addresses;
    for (const char* ip : ips) addresses.push_back(*net::Address::from_ip(ip, 80));
    shared.resolved("app.local:80", addresses, fixture.world.now());
  };
  CHECK(picked(cluster, rng) == std::set<std::string>{"app.local:80"});
  found({"10.0.0.1", "10.0.0.2"});
  CHECK(picked(cluster, rng) ==
        std::set<std::string>{"app.local:80 10.0.0.1:80", "app.local:80 10.0.0.2:80"});
  // One that is in use when it goes stays whole until its user has done.
  std::optional<PoolPin> used(cluster.pick({}, rng));
  const std::string text = (*used)->text();
  const auto acquired = [&](EndpointPool& pool) {
    auto acquiring = pool.acquire(false, std::nullopt, never);
    acquiring.start();
    fixture.world.settle();
    return acquiring.take();
  };
  auto lease = acquired(*used->get());
  REQUIRE(lease);
  found({"10.0.0.3"});
  CHECK(picked(cluster, rng) == std::set<std::string>{"app.local:80 10.0.0.3:80"});
  CHECK((*used)->text() == text);
  lease->close();
  used.reset();
  found({});
  CHECK(picked(cluster, rng) == std::set<std::string>{"app.local:80"});
}

TEST_CASE("a list that a reload has changed is not followed by what began before it") {
  ClusterFixture fixture;
  auto before = fixture.generation(one_upstream({three[0]}));
  auto after = fixture.generation(one_upstream({three[1]}), before.get());
  Rng& rng = fixture.world.rng();
  CHECK(picked(*before->route(0).cluster, rng) == std::set<std::string>{"10.0.0.1:80"});
  CHECK(picked(*after->route(0).cluster, rng) == std::set<std::string>{"10.0.0.2:80"});
}

TEST_CASE("routes know their clusters; a fallback knows its own") {
  ClusterFixture fixture;
  Config config = one_upstream();
  config.upstreams.emplace("backup", upstream_of("backup", {"http://10.0.0.9:80"}));
  proxy::FallbackConfig fixed;
  proxy::FallbackConfig other;
  other.upstream = "backup";
  config.routes[0].fallbacks = {fixed, other};
  proxy::RouteConfig mock;
  mock.name = "mock";
  mock.respond = proxy::StaticResponse{};
  config.routes.push_back(mock);
  auto generation = fixture.generation(config);
  const proxy::RouteState& route = generation->route(0);
  CHECK(route.cluster->config().name == "api");
  REQUIRE(route.fallback_clusters.size() == 2);
  CHECK(route.fallback_clusters[0] == nullptr);
  CHECK(route.fallback_clusters[1]->config().name == "backup");
  CHECK(generation->route(1).cluster == nullptr);
  CHECK(generation->route(0).slot != generation->route(1).slot);
}

// -- destinations

/// An upstream of every host under .internal, and of two that it names.
Config wildcard() {
  Config config = one_upstream({"http://named.internal:80"});
  for (const std::string url : {"http://*.internal:80", "http://10.0.0.1:80"}) {
    const auto endpoint = net::Endpoint::parse_pattern(url);
    REQUIRE(endpoint);
    config.upstreams["api"].endpoints.push_back({*endpoint, url, 1});
  }
  config.upstreams["api"].dynamic = true;
  return config;
}

const proxy::RouteState* route_to(Generation& generation, const std::string& authority) {
  const auto place = proxy::destination_of(generation.route(0).cluster->config(), authority, false);
  REQUIRE(place);
  return generation.route_to(0, *place, false);
}

TEST_CASE("names that clients choose are looked up apart from those that the file has") {
  ClusterFixture fixture;
  FakeNetwork of_clients{fixture.world};
  fixture.services.clients_names = &of_clients;
  auto generation = fixture.generation(wildcard());
  for (const std::string host : {"chosen.internal", "named.internal"}) {
    route_to(*generation, host + ":80")->cluster->pick({}, fixture.world.rng());
  }
  CHECK(of_clients.look_ups == std::vector<std::string>{"chosen.internal"});
  CHECK(fixture.network.look_ups == std::vector<std::string>{"named.internal"});
}

TEST_CASE("a worker knows so many destinations; the one not used for longest makes room") {
  ClusterFixture fixture;
  auto generation = fixture.generation(wildcard());
  const auto host = [](std::size_t i) { return "n" + std::to_string(i) + ".internal:80"; };
  std::deque<proxy::RoutePin> pins;
  for (std::size_t i = 0; i < Generation::max_destinations; ++i) {
    const proxy::RouteState* const route = route_to(*generation, host(i));
    REQUIRE(route != nullptr);
    pins.emplace_back(*route);
  }
  const auto knows = [&](std::size_t i) {
    return std::ranges::any_of(fixture.upstreams.destinations("api"),
                               [&](const auto& known) { return known.authority == host(i); });
  };
  // All are in use: another is refused, and those that are known are not.
  CHECK(route_to(*generation, host(1000)) == nullptr);
  CHECK(route_to(*generation, host(7)) != nullptr);
  CHECK(fixture.upstreams.destinations("api").size() == Generation::max_destinations);
  fixture.world.pass(std::chrono::seconds(1));
  route_to(*generation, host(0));  // used again just now
  pins.pop_front();
  pins.pop_front();
  CHECK(route_to(*generation, host(1000)) != nullptr);
  CHECK(knows(0));
  CHECK_FALSE(knows(1));
  CHECK(knows(1000));
  CHECK(fixture.upstreams.destinations("api").size() == Generation::max_destinations);
}

TEST_CASE("a reload keeps the destinations that are covered still, their breakers and pools") {
  ClusterFixture fixture;
  Config config = wildcard();
  config.upstreams["api"].breaker.consecutive_failures = 1;
  auto before = fixture.generation(config);
  const proxy::RouteState* const old_app = route_to(*before, "app.internal:80");
  REQUIRE(old_app != nullptr);
  proxy::Transitions transitions;
  proxy::SharedUpstream& shared = old_app->cluster->shared();
  const auto permit = shared.acquire(fixture.world.now(), transitions);
  REQUIRE(permit);
  shared.record(*permit, policy::Breaker::Outcome::failure, {}, fixture.world.now(),
                fixture.world.rng(), transitions);
  CHECK(shared.breaker_state() == policy::BreakerState::open);
  EndpointPool* const pool = old_app->cluster->pick({}, fixture.world.rng());

  SUBCASE("behind another route, which comes first now") {
    config.routes.insert(config.routes.begin(), config.routes[0]);
    config.routes[0].name = "another";
    auto after = fixture.generation(config, before.get());
    before->retire_what_is_gone(*after);
    before.reset();
    const auto known = fixture.upstreams.destinations("api");
    REQUIRE(known.size() == 1);
    CHECK(known[0].shared->breaker_state() == policy::BreakerState::open);
    const auto place =
        proxy::destination_of(after->config().upstreams.at("api"), "app.internal:80", false);
    const proxy::RouteState* const app = after->route_to(1, *place, false);
    REQUIRE(app != nullptr);
    CHECK(&app->cluster->shared() == known[0].shared.get());
    CHECK(app->cluster->pick({}, fixture.world.rng()) == pool);
    CHECK(app->config->name == after->config().routes[1].name);
    CHECK(fixture.upstreams.destinations("api").size() == 1);
  }
  SUBCASE("not what is not covered any more") {
    config.upstreams["api"].endpoints[1].endpoint =
        *net::Endpoint::parse_pattern("http://*.other:80");
    auto after = fixture.generation(config, before.get());
    before->retire_what_is_gone(*after);
    before.reset();
    CHECK(fixture.upstreams.destinations("api").empty());
  }
  SUBCASE("nor what was a route's that has gone") {
    config.routes[0].name = "renamed";
    auto after = fixture.generation(config, before.get());
    before->retire_what_is_gone(*after);
    before.reset();
    CHECK(fixture.upstreams.destinations("api").empty());
  }
}

TEST_CASE("a destination that is made while a worker has yet to adopt a reload has its options") {
  ClusterFixture fixture;
  auto before = fixture.generation(wildcard());
  Config stricter = wildcard();
  stricter.upstreams["api"].breaker.consecutive_failures = 1;
  auto after = fixture.generation(stricter, before.get());
  proxy::SharedUpstream& shared = route_to(*before, "app.internal:80")->cluster->shared();
  proxy::Transitions transitions;
  const auto permit = shared.acquire(fixture.world.now(), transitions);
  REQUIRE(permit);
  shared.record(*permit, policy::Breaker::Outcome::failure, {}, fixture.world.now(),
                fixture.world.rng(), transitions);
  CHECK(shared.breaker_state() == policy::BreakerState::open);
}

TEST_CASE(
    "destinations speak TLS by the credentials of the newest configuration, tunnels by none") {
  const auto credentials = [] {
    net::TlsClientOptions careless;
    careless.verify = false;
    auto made = net::TlsClientContext::make(careless, proxy::upstream_protocol);
    REQUIRE(made);
    return std::make_shared<net::TlsClientCredentials>(std::move(*made));
  };
  const auto secure = [](const std::shared_ptr<net::TlsClientCredentials>& with) {
    Config config = wildcard();
    auto& endpoint = config.upstreams["api"].endpoints[1];
    endpoint.endpoint = *net::Endpoint::parse_pattern("https://*.internal:443");
    endpoint.credentials = with;
    return config;
  };
  const auto spoken_with = [](Generation& generation, bool tunnel) {
    const auto& upstream = generation.route(0).cluster->config();
    const auto place = proxy::destination_of(upstream, "app.internal:443", tunnel);
    REQUIRE(place);
    const proxy::RouteState* const route = generation.route_to(0, *place, tunnel);
    const auto members = route->cluster->shared().endpoints().members();
    return members->list.front().config.credentials;
  };
  ClusterFixture fixture;
  const auto first = credentials();
  const auto second = credentials();
  auto before = fixture.generation(secure(first));
  CHECK(spoken_with(*before, false) == first);
  CHECK(spoken_with(*before, true) == nullptr);
  // What is in use of the earlier one stays, and with it what workers share of the destination.
  auto after = fixture.generation(secure(second), before.get());
  CHECK(spoken_with(*after, false) == second);
  CHECK(spoken_with(*after, true) == nullptr);
}

}  // namespace
}  // namespace holdfast::test
