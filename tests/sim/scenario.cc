#include "tests/sim/scenario.h"

#include <algorithm>
#include <iterator>
#include <string>

#include "holdfast/base/assert.h"

namespace holdfast::sim {
namespace {

policy::ConditionSet some_conditions(Chance& chance, std::initializer_list<std::string_view> all) {
  policy::ConditionSet set;
  for (const std::string_view name : all) {
    if (chance.percent(70)) HOLDFAST_ASSERT(set.add(name));
  }
  return set;
}

proxy::UpstreamConfig draw_upstream(Chance& chance, const std::string& name, int network) {
  proxy::UpstreamConfig upstream;
  upstream.name = name;
  upstream.balance =
      chance.one_of({policy::BalanceKind::least_request, policy::BalanceKind::round_robin});
  const std::uint64_t endpoints = chance.number(1, 3);
  for (std::uint64_t i = 1; i <= endpoints; ++i) {
    const std::string url = "http://10.0." + std::to_string(network) + "." + std::to_string(i);
    const auto endpoint = net::Endpoint::parse(url + ":80");
    HOLDFAST_ASSERT(endpoint.has_value());
    upstream.endpoints.push_back({*endpoint, url, static_cast<std::uint32_t>(chance.number(1, 2))});
  }
  if (chance.percent(40)) upstream.pool.max_connections = chance.number(1, 4);
  if (chance.percent(40)) upstream.pool.max_pending = chance.below(4);
  if (chance.percent(50)) upstream.pool.idle_timeout = chance.between(1ms, 300ms);
  if (chance.percent(20)) upstream.pool.max_requests = chance.number(1, 3);
  return upstream;
}

policy::BreakerOptions draw_breaker(Chance& chance) {
  policy::BreakerOptions breaker;
  breaker.enabled = chance.percent(85);
  breaker.window = chance.between(300ms, 3s);
  breaker.min_requests = static_cast<int>(chance.number(2, 10));
  if (chance.percent(60)) breaker.consecutive_failures = static_cast<int>(chance.number(1, 4));
  if (chance.percent(20)) breaker.slow_call = chance.between(20ms, 100ms);
  breaker.open_for = chance.between(20ms, 300ms);
  breaker.open_max = 500ms;
  breaker.half_open_requests = static_cast<int>(chance.number(1, 3));
  return breaker;
}

policy::RetryOptions draw_retry(Chance& chance) {
  policy::RetryOptions retry;
  retry.attempts = static_cast<int>(chance.number(1, 4));
  retry.on = some_conditions(chance, {"connect", "reset", "timeout", "503", "429", "500"});
  for (const http::Method method : {http::Method::get, http::Method::head, http::Method::put}) {
    retry.methods |= http::bit(method);
  }
  retry.backoff.base = chance.between(1ms, 25ms);
  retry.budget.ratio = chance.one_of({0.0, 0.2, 1.0});
  retry.budget.min_per_second = chance.one_of({0.02, 0.05, 0.5});
  retry.budget.window = 60s;  // longer than anything that is retried within: one window holds all
  retry.body_limit = chance.one_of<std::uint64_t>({0, 64, 64 * 1024});
  retry.retry_after_max = 1s;
  if (chance.percent(30)) retry.hedge_after = chance.between(1ms, 50ms);
  return retry;
}

policy::TimeoutOptions draw_timeout(Chance& chance) {
  policy::TimeoutOptions timeout;
  timeout.connect = chance.between(50ms, 400ms);
  if (chance.percent(40)) timeout.per_try = chance.between(30ms, 300ms);
  timeout.total = chance.between(200ms, 1200ms);
  timeout.idle = chance.between(150ms, 600ms);
  if (chance.percent(20)) timeout.stream = chance.between(500ms, 2s);
  return timeout;
}

policy::IdempotencyOptions draw_idempotency(Chance& chance) {
  policy::IdempotencyOptions options;
  options.enabled = true;
  options.name_space = "pay";
  options.lease = chance.between(60ms, 300ms);
  options.max_execution = chance.between(300ms, 1500ms);
  if (chance.percent(50)) options.in_flight_wait = chance.between(50ms, 500ms);
  if (chance.percent(35)) options.on_unknown = policy::OnUnknown::reexecute;
  options.max_response_bytes = 2048;
  options.max_request_bytes = 4096;
  return options;
}

std::vector<proxy::FallbackConfig> draw_fallbacks(Chance& chance) {
  std::vector<proxy::FallbackConfig> fallbacks;
  const std::uint64_t count = chance.percent(40) ? chance.number(1, 2) : 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    proxy::FallbackConfig fallback;
    fallback.on = some_conditions(chance, {"open", "timeout", "connect", "reset", "5xx"});
    fallback.response.status = 203;
    fallback.response.body = "fallback";
    if (chance.percent(40)) fallback.upstream = "backup";
    fallbacks.push_back(std::move(fallback));
  }
  return fallbacks;
}

proxy::RouteConfig draw_route(Chance& chance, const std::string& name) {
  proxy::RouteConfig route;
  route.name = name;
  route.upstream = "api";
  route.timeout = draw_timeout(chance);
  route.retry = draw_retry(chance);
  route.fallbacks = draw_fallbacks(chance);
  return route;
}

proxy::Config draw_config(Chance& chance) {
  proxy::Config config;
  config.server.header_timeout = 500ms;
  config.server.idle_timeout = chance.between(100ms, 3s);
  config.server.drain_timeout = drain_timeout;
  config.upstreams.emplace("api", draw_upstream(chance, "api", 0));
  config.upstreams.emplace("backup", draw_upstream(chance, "backup", 1));
  for (auto& [name, upstream] : config.upstreams) upstream.breaker = draw_breaker(chance);
  proxy::RouteConfig keyed = draw_route(chance, "pay");
  keyed.match.path_kind = proxy::MatchConfig::PathKind::exact;
  keyed.match.path = keyed_path;
  keyed.idempotency = draw_idempotency(chance);
  proxy::RouteConfig plain = draw_route(chance, "main");
  plain.retry.budget = keyed.retry.budget;  // one budget, one limit to measure by
  config.routes.push_back(std::move(keyed));
  config.routes.push_back(std::move(plain));
  return config;
}

StoreFaults draw_store_faults(Chance& chance) {
  StoreFaults faults;
  if (chance.percent(50)) faults.slow_percent = chance.below(80);
  if (chance.percent(40)) faults.late_percent = chance.below(15);
  if (chance.percent(40)) faults.lost_percent = chance.below(15);
  if (chance.percent(30)) faults.refused_percent = chance.below(15);
  return faults;
}

std::vector<Happening> draw_happenings(Chance& chance, Duration active, std::size_t replicas) {
  using Kind = Happening::Kind;
  std::vector<Happening> all;
  const auto some = [&](Kind kind, std::uint64_t share, std::uint64_t most) {
    if (!chance.percent(share)) return;
    for (std::uint64_t n = chance.number(1, most); n > 0; --n) {
      all.push_back({kind, chance.between(0us, active), chance.below(replicas)});
    }
  };
  some(Kind::mood, 80, 6);
  some(Kind::store_outage, 25, 2);
  some(Kind::store_cut, 35, 2);
  some(Kind::reload, 30, 3);
  some(Kind::drain, 15, 1);
  some(Kind::crash, 20, 2);
  some(Kind::wall_jump, 20, 2);
  return all;
}

void draw_ejections(Chance& chance, proxy::UpstreamConfig& upstream) {
  policy::OutlierOptions& outlier = upstream.outlier;
  outlier.consecutive_failures = static_cast<int>(chance.number(1, 4));
  outlier.eject_for = chance.between(10ms, 400ms);
  outlier.max_ejected = chance.one_of({0.34, 0.5, 1.0});
  outlier.panic_below = chance.one_of({0.0, 0.5, 0.9});
  if (chance.percent(40)) outlier.slow_start = chance.between(10ms, 500ms);
  if (chance.percent(25)) upstream.balance = policy::BalanceKind::consistent_hash;
}

bool has_names(const proxy::UpstreamConfig& upstream) {
  return std::ranges::any_of(upstream.endpoints,
                             [](const auto& one) { return one.endpoint.is_named(); });
}

/// Names stay: what a worker has been told of one it must not forget.
void keep_names(proxy::UpstreamConfig& upstream, const proxy::UpstreamConfig& before) {
  const auto is_named = [](const proxy::EndpointConfig& one) { return one.endpoint.is_named(); };
  upstream.dns_refresh = before.dns_refresh;
  if (std::ranges::all_of(before.endpoints, is_named)) upstream.endpoints.clear();
  std::ranges::copy_if(before.endpoints, std::back_inserter(upstream.endpoints), is_named);
}

}  // namespace

Scenario::Scenario(std::uint64_t given, bool with_tls) : seed(given), over_tls(with_tls) {
  Chance chance(seed);
  config = draw_config(chance);
  replicas = chance.percent(45) ? 2 : 1;
  workers = chance.percent(35) ? 2 : 1;
  clients = static_cast<int>(chance.number(3, 24));
  active = chance.between(300ms, 2500ms);
  hot_keys = static_cast<int>(chance.number(1, 5));
  keyed_percent = chance.one_of<std::uint64_t>({0, 30, 70, 95});
  rude_percent = chance.one_of<std::uint64_t>({0, 10, 40});
  bad_mood_percent = chance.one_of<std::uint64_t>({0, 20, 50, 80});
  client_latency = chance.one_of<Duration>({0ms, 5ms, 60ms});
  upstream_latency = chance.one_of<Duration>({0ms, 5ms, 60ms});
  store_bytes = chance.percent(10) ? chance.number(1000, 6000) : plenty;
  store = draw_store_faults(chance);
  happenings = draw_happenings(chance, active, replicas);
  if (chance.percent(25)) {
    for (proxy::RouteConfig& route : config.routes) route.timeout.deadline_header = deadline_field;
  }
  if (chance.percent(20)) {
    pauses = chance.between(10ms, 900ms);
    happenings.push_back({Happening::Kind::pause, chance.between(0us, active)});
  }
  // What came later has a chance of its own: what is drawn above stays what it was.
  Chance more(seed ^ 0x5eed0005);
  vary_keys(more);
  name_endpoints(more);
  allow_tunnels(more);
  reorders = more.percent(50);
  Chance outliers(seed ^ 0x5eed0006);
  eject_endpoints(outliers);
  Chance service(seed ^ 0x5eed0007);
  eject_addresses(service);
  check_health(service);
  take_endpoints_out(service);
}

/// Endpoints are ejected soon and for a short while.
void Scenario::eject_endpoints(Chance& chance) {
  for (auto& [name, upstream] : config.upstreams) {
    if (!has_names(upstream) && chance.percent(60)) draw_ejections(chance, upstream);
  }
}

/// So are the addresses that names stand for.
void Scenario::eject_addresses(Chance& chance) {
  for (auto& [name, upstream] : config.upstreams) {
    if (has_names(upstream) && chance.percent(50)) draw_ejections(chance, upstream);
  }
}

void Scenario::check_health(Chance& chance) {
  if (!chance.percent(20)) return;
  for (auto& [name, upstream] : config.upstreams) {
    if (chance.percent(30)) continue;
    policy::HealthOptions& health = upstream.health;
    health.path = health_path;
    health.interval = chance.between(50ms, 300ms);
    health.timeout = chance.between(30ms, 200ms);
    health.healthy_after = static_cast<int>(chance.number(1, 3));
    health.unhealthy_after = static_cast<int>(chance.number(1, 3));
    upstream.outlier.panic_below = chance.one_of({0.0, 0.5, 0.9});
  }
  for (std::uint64_t n = chance.number(1, 4); n > 0; --n) {
    happenings.push_back({Happening::Kind::health, chance.between(0us, active)});
  }
}

void Scenario::take_endpoints_out(Chance& chance) {
  if (!chance.percent(20)) return;
  for (std::uint64_t n = chance.number(1, 4); n > 0; --n) {
    const std::size_t replica = chance.below(replicas);
    happenings.push_back({Happening::Kind::take_out, chance.between(0us, active), replica});
  }
  // Addresses that are out go and come back meanwhile.
  for (auto& [name, upstream] : config.upstreams) {
    if (!has_names(upstream)) continue;
    upstream.dns_refresh = chance.between(50ms, 300ms);
    for (std::uint64_t n = chance.number(2, 6); n > 0; --n) {
      happenings.push_back({Happening::Kind::names, chance.between(0us, active)});
    }
  }
}

/// What a route with keys may be told beside what it usually is.
void Scenario::vary_keys(Chance& chance) {
  policy::IdempotencyOptions& options = config.routes.front().idempotency;
  if (chance.percent(20)) {
    options.on_store_error = policy::OnStoreFailure::open;
  } else if (chance.percent(25)) {
    options.upstream_honours_key = true;
    if (chance.percent(70)) options.on_unknown = policy::OnUnknown::reexecute;
  }
  if (chance.percent(70)) return;
  options.missing_key = chance.one_of({policy::MissingKey::generate, policy::MissingKey::generate,
                                       policy::MissingKey::reject, policy::MissingKey::pass});
  options.auto_ttl = chance.one_of<Duration>({500ms, 2s, 60s});
  keyless_percent = chance.one_of<std::uint64_t>({20, 60});
}

/// Some endpoints have names, beside or instead of those with addresses.
void Scenario::name_endpoints(Chance& chance) {
  if (!chance.percent(40)) return;
  for (auto& [name, upstream] : config.upstreams) {
    if (name != "api" && chance.percent(50)) continue;
    if (chance.percent(60)) upstream.endpoints.clear();
    upstream.dns_refresh = chance.between(50ms, 2s);
    for (std::uint64_t i = chance.number(1, 2); i > 0; --i) {
      const std::string url = "http://" + name + "-" + std::to_string(i) + ".test:80";
      const auto endpoint = net::Endpoint::parse(url);
      HOLDFAST_ASSERT(endpoint.has_value());
      upstream.endpoints.push_back({*endpoint, url, 1});
    }
  }
  for (std::uint64_t n = chance.below(4); n > 0; --n) {
    happenings.push_back({Happening::Kind::names, chance.between(0us, active)});
  }
}

void Scenario::allow_tunnels(Chance& chance) {
  if (!chance.percent(35)) return;
  upgrade_percent = chance.one_of<std::uint64_t>({10, 40});
  if (chance.percent(85)) config.routes.back().upgrade = {"websocket"};
}

bool Scenario::checks_health() const {
  return std::ranges::any_of(config.upstreams,
                             [](const auto& entry) { return entry.second.health.enabled(); });
}

bool Scenario::crashes() const {
  return std::ranges::any_of(happenings, [](const Happening& one) {
    return one.kind == Happening::Kind::crash || one.kind == Happening::Kind::drain;
  });
}

bool Scenario::reloads() const {
  return std::ranges::any_of(
      happenings, [](const Happening& one) { return one.kind == Happening::Kind::reload; });
}

bool Scenario::store_may_fail() const {
  const auto outage = [](const Happening& one) {
    return one.kind == Happening::Kind::store_outage || one.kind == Happening::Kind::store_cut;
  };
  // After a pause an answer of the store may be found too late.
  return store.any() || store_may_fill() || pauses > Duration::zero() ||
         std::ranges::any_of(happenings, outage);
}

proxy::Config next_config(const Scenario& scenario, Chance& chance) {
  proxy::Config next = scenario.config;
  for (auto& [name, upstream] : next.upstreams) {
    const policy::BreakerOptions breaker = upstream.breaker;
    const policy::OutlierOptions outlier = upstream.outlier;
    const policy::HealthOptions health = upstream.health;
    const proxy::UpstreamConfig before = upstream;
    upstream = draw_upstream(chance, name, name == "api" ? 0 : 1);
    keep_names(upstream, before);
    upstream.breaker = breaker;
    upstream.outlier = outlier;
    upstream.health = health;
    upstream.breaker.window = chance.between(300ms, 3s);
  }
  for (proxy::RouteConfig& route : next.routes) {
    const policy::RetryOptions retry = route.retry;
    route.retry = draw_retry(chance);
    route.retry.attempts = retry.attempts;
    route.retry.budget = retry.budget;
    route.fallbacks = draw_fallbacks(chance);
  }
  return next;
}

}  // namespace holdfast::sim
