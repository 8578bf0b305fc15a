#include "tests/sim/replica.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "holdfast/base/assert.h"
#include "holdfast/proxy/health_checker.h"

namespace holdfast::sim {
namespace {

/// What is cut at the end of a drain has this long to be told to the store.
constexpr Duration cut_patience = 8 * store_timeout;

}  // namespace

struct Replica::Worker {
  Worker(runtime::Context& context, NameServer::Reach& reach, TlsLinks* tls,
         proxy::SharedUpstreams& upstreams, proxy::KeyBoard& board, Monitor& monitor,
         std::unique_ptr<store::Store> opened, std::string name)
      : secure(tls != nullptr ? std::make_unique<TlsReach>(reach, *tls) : nullptr),
        services{context, connector(reach), reach, monitor, upstreams, {}},
        proxy(services),
        store(std::move(opened)),
        executions(services, *store, board, std::move(name)),
        clients(std::make_unique<proxy::ConnectionSet>(proxy, context, [] {})) {
    services.executions = &executions;
  }

  net::Connector& connector(NameServer::Reach& reach) {
    if (secure) return *secure;
    return reach;
  }

  std::unique_ptr<TlsReach> secure;
  proxy::Services services;
  proxy::Proxy proxy;
  std::unique_ptr<store::Store> store;
  proxy::Executions executions;
  std::unique_ptr<proxy::ConnectionSet> clients;
};

struct Replica::Process {
  Process(test::World& world, NameServer& names, const Scenario& scenario, Ledger& ledger,
          const std::string& name, TlsLinks* tls)
      : monitor(world, names, scenario, ledger, name), context{world.context()} {
    const auto look = [this] {
      if (!applying) monitor.look_at_endpoints(upstreams);
    };
    const auto list_changed = [this, look] {
      look();
      if (checkers) context.post([this] { sync_checkers(); });
    };
    upstreams.on_endpoint_change(
        {[look](std::string_view, const proxy::EndpointChange&) { look(); }, list_changed});
    if (scenario.checks_health()) check_health(names.network(), tls);
    // What a process has posted to itself ends with it.
    context.post = [&world, alive = alive](std::function<void()> action) {
      world.schedule(Duration::zero(), [alive, action = std::move(action)] {
        if (*alive) action();
      });
    };
  }
  ~Process() { *alive = false; }

  void check_health(test::FakeNetwork& network, TlsLinks* tls) {
    if (tls != nullptr) secure = std::make_unique<TlsReach>(network, *tls);
    net::Connector& connector = secure ? static_cast<net::Connector&>(*secure) : network;
    checkers = std::make_unique<proxy::HealthCheckers>(upstreams, context, connector, network);
  }
  void sync_checkers() {
    if (checkers) checkers->sync();
  }

  void adopt(proxy::Config config, bool over_tls) {
    for (auto& [name, upstream] : config.upstreams) {
      if (!over_tls) break;
      for (auto& endpoint : upstream.endpoints) endpoint.credentials = TlsLinks::credentials();
    }
    for (const auto& [name, upstream] : config.upstreams) {
      const auto [bound, first] = bounds.try_emplace(name, upstream.pool.max_connections);
      // What is open already stays open under a bound that is lower.
      if (first || !bound->second) continue;
      const auto& next = upstream.pool.max_connections;
      bound->second = next ? std::max(next, bound->second) : std::nullopt;
    }
    auto loaded = std::make_shared<const proxy::Config>(std::move(config));
    applying = true;
    monitor.reconfigured(*loaded);
    upstreams.apply(*loaded, context.now());
    applying = false;
    monitor.look_at_endpoints(upstreams);
    const auto published = std::make_shared<const proxy::PublishedConfig>(std::move(loaded));
    for (const auto& worker : workers) worker->proxy.adopt(published);
  }

  /// The files of its listener are read, for the first time or again.
  void identify(const net::TlsServerOptions& options) {
    auto made = net::TlsServerContext::make(options);
    HOLDFAST_ASSERT(made.has_value());
    identity = std::move(*made);
  }

  Monitor monitor;
  runtime::Context context;
  std::shared_ptr<bool> alive = std::make_shared<bool>(true);
  proxy::SharedUpstreams upstreams;
  proxy::KeyBoard board;
  std::unique_ptr<const net::TlsServerContext> identity;  // before clients, over TLS
  std::unique_ptr<TlsReach> secure;  // what checks are made over; workers have their own
  std::unique_ptr<proxy::HealthCheckers> checkers;
  std::unique_ptr<NameServer::Reach> reach;
  std::vector<std::unique_ptr<Worker>> workers;
  std::map<std::string, std::optional<std::uint64_t>> bounds;  // the widest there was
  bool draining = false;
  bool applying = false;  // endpoints are looked at when it is over
};

Replica::Replica(test::World& world, NameServer& names, FaultyStore& store,
                 const Scenario& scenario, Ledger& ledger, std::size_t number, TlsLinks* tls)
    : world_(world),
      names_(names),
      store_(store),
      scenario_(scenario),
      ledger_(ledger),
      tls_(tls),
      listening_(tls != nullptr ? tls->draw_listener() : std::nullopt),
      number_(number),
      name_("replica " + std::to_string(number)) {
  start();
}

Replica::~Replica() = default;

void Replica::start() {
  const std::string name = name_ + "." + std::to_string(++starts_);
  ledger_.note(name + " starts");
  process_ = std::make_unique<Process>(world_, names_, scenario_, ledger_, name, tls_);
  process_->reach = names_.open(name);  // what one worker is told of a name, all of them know
  for (std::size_t i = 0; i < scenario_.workers; ++i) {
    process_->workers.push_back(std::make_unique<Worker>(
        process_->context, *process_->reach, tls_, process_->upstreams, process_->board,
        process_->monitor, store_.open(number_), name + "-w" + std::to_string(i)));
  }
  process_->adopt(scenario_.config, tls_ != nullptr);
  if (listening_) process_->identify(*listening_);
}

Approach Replica::connect(Chance& chance) {
  if (!process_ || process_->draining) return {};
  test::FakePair pair = test::make_pair(world_);
  Approach approach{pair.peer};
  Worker& worker = *process_->workers[chance.below(process_->workers.size())];
  std::unique_ptr<net::Stream> stream = std::move(pair.stream);
  net::TlsSession session;
  if (listening_) {
    stream = tls_->of_client(std::move(stream), *listening_, approach);
    session = process_->identity->session();
  }
  worker.clients->serve(std::move(stream), listener_, std::move(session));
  return approach;
}

void Replica::reload(proxy::Config config) {
  if (!process_) return;
  ledger_.note(name_ + " reloads");
  names_.reloaded();
  process_->adopt(std::move(config), tls_ != nullptr);
  if (listening_) process_->identify(*listening_);
}

void Replica::drain() {
  if (!process_ || process_->draining) return;
  ledger_.note(name_ + " drains");
  process_->draining = true;
  for (const auto& worker : process_->workers) {
    worker->proxy.drain();
    worker->executions.drain();
  }
  // A request that lies unread on a connection that looks idle gets two turns to be seen.
  process_->context.post([this] {
    process_->context.post([this] {
      for (const auto& worker : process_->workers) worker->clients->close_idle();
    });
  });
  const auto in_time = [this, start = starts_](Duration delay, void (Replica::*then)()) {
    world_.schedule(delay, [this, start, then] {
      if (process_ && starts_ == start) (this->*then)();
    });
  };
  in_time(drain_timeout, &Replica::cut);
  in_time(drain_timeout + cut_patience, &Replica::crash);
}

void Replica::take_endpoint_out(Chance& chance) {
  if (!process_) return;
  const auto upstreams = process_->upstreams.all();
  const auto& upstream = upstreams[chance.below(upstreams.size())];
  const auto reports = upstream->endpoints().report(world_.now());
  const std::string key = reports[chance.below(reports.size())].key;
  drain_endpoint(upstream->name(), key, true);
  world_.schedule(chance.between(20ms, 1500ms),
                  [this, name = upstream->name(), key, start = starts_] {
                    if (process_ && starts_ == start) drain_endpoint(name, key, false);
                  });
}

void Replica::drain_endpoint(const std::string& upstream, const std::string& key, bool draining) {
  process_->applying = true;
  const bool found =
      process_->upstreams.find(upstream)->endpoints().drain(key, draining, world_.now());
  process_->applying = false;
  process_->monitor.drained(upstream, key, draining, found);
  process_->monitor.look_at_endpoints(process_->upstreams);
}

void Replica::put_endpoints_back() {
  if (!process_) return;
  for (const auto& [upstream, key] : process_->monitor.drained()) {
    drain_endpoint(upstream, key, false);
  }
}

void Replica::cut() {
  for (const auto& worker : process_->workers) worker->executions.shut_down();
}

void Replica::crash() {
  if (!process_) return;
  ledger_.note(name_ + (process_->draining ? " exits" : " crashes"));
  stop(true);
  start();
}

void Replica::must_be_sound() {
  if (!process_) return;
  for (const auto& upstream : process_->upstreams.all()) {
    const std::int64_t open = upstream->active_connections + upstream->idle_connections;
    const auto& bound = process_->bounds[upstream->name()];
    if (bound && open > static_cast<std::int64_t>(*bound)) {
      ledger_.violated("pool",
                       name_ + ": " + std::to_string(open) + " connections to " + upstream->name());
    }
    if (upstream->breaker_state() != process_->monitor.state_of(upstream->name())) {
      ledger_.violated("breaker", name_ + ": a transition was not told");
    }
  }
  if (process_->board.detached > proxy::KeyBoard::max_detached) {
    ledger_.violated("leak", name_ + ": too many executions are detached");
  }
}

void Replica::must_know_the_ill(const Wellness& wellness) {
  if (process_) process_->monitor.check_the_ill(process_->upstreams, wellness);
}

void Replica::must_be_in_service() {
  if (!process_) return ledger_.violated("recovery", name_ + " is down");
  process_->monitor.check_recovery(process_->upstreams);
  process_->checkers.reset();
}

void Replica::must_be_idle() {
  const auto check = [this](bool holds, const std::string& what) {
    if (!holds) ledger_.violated("leak", name_ + ": " + what);
  };
  for (const auto& worker : process_->workers) {
    check(worker->clients->size() == 0, "a client's connection is still served");
    check(worker->executions.running() == 0, "an execution has not ended");
  }
  check(process_->board.detached == 0, "an execution is still counted as detached");
  for (const auto& upstream : process_->upstreams.all()) {
    check(upstream->active_connections == 0, "a connection is still in use");
    check(upstream->ending_connections == 0, "a connection is still counted as ending");
    check(!upstream->has_waiters(), "somebody still waits for a connection");
    // Long after the last call only a permit that never came back stands in the way.
    check(!upstream->rejection(world_.now()), "the breaker of " + upstream->name() + " is stuck");
  }
}

void Replica::end() {
  if (process_) stop(false);
}

void Replica::stop(bool crashed) {
  *process_->alive = false;
  ledger_.stopped();
  const auto upstreams = process_->upstreams.all();
  for (const auto& worker : process_->workers) worker->clients.reset();
  process_->workers.clear();
  for (const auto& upstream : upstreams) {
    const bool none = upstream->active_connections == 0 && upstream->idle_connections == 0 &&
                      !upstream->has_waiters();
    if (!none) ledger_.violated("leak", name_ + ": connections are counted that are gone");
  }
  process_->monitor.conclude(crashed);
  process_.reset();
}

}  // namespace holdfast::sim
