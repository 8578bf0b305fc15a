#include "holdfast/app/server.h"

#include <csignal>
#include <cstdio>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

#include "holdfast/app/admin.h"
#include "holdfast/app/admin_pages.h"
#include "holdfast/app/candidate.h"
#include "holdfast/app/certificates.h"
#include "holdfast/app/config_effective.h"
#include "holdfast/app/config_loader.h"
#include "holdfast/app/endpoint_log.h"
#include "holdfast/app/machine.h"
#include "holdfast/app/metrics.h"
#include "holdfast/app/worker.h"
#include "holdfast/base/assert.h"
#include "holdfast/http/parser.h"
#include "holdfast/net/name_service.h"
#include "holdfast/net/uv_listener.h"
#include "holdfast/net/uv_network.h"
#include "holdfast/proxy/connection_set.h"
#include "holdfast/proxy/health_checker.h"
#include "holdfast/runtime/event_loop.h"
#include "holdfast/runtime/scope.h"

namespace holdfast::app {
namespace {

constexpr int exit_done = 0;
constexpr int exit_bad_config = 1;

/// Client connections to the admin listener at one time. One more takes the place of one that has
/// asked nothing yet or is between two requests; where none is it is closed at once.
constexpr std::size_t max_admin_connections = 64;
const std::string admin_listener_name = "admin";

/// What is cut at the end of a drain has this long, beside the store's own time, to be answered
/// for.
constexpr Duration cut_grace = std::chrono::milliseconds(200);

/// Threads beside the workers: those of both logs, the local store's, the four of libuv's pool, and
/// the first that looks names up (more come if names are slow and the machine lends them).
constexpr int threads_beside_workers = 8;

/// What is open before the first connection, at most: the standard three, the main loop and the
/// admin listener, the store; and for each worker its loop. Its listeners come on top.
constexpr std::uint64_t descriptors_beside_workers = 20;
constexpr std::uint64_t descriptors_of_worker = 6;

class Server {
 public:
  Server(const RunOptions& options, LoadedConfig loaded, SignalsHeld& signals);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  int run();

 private:
  using Then = std::function<void()>;

  bool start();
  bool start_store();
  void use_store(std::unique_ptr<store::StoreBackend> backend);
  runtime::Task<void> ask_store();
  bool start_admin();
  void put_into_use(Candidate& candidate, Then then);
  void log_listeners(const Candidate& candidate);

  void reload();
  void finish_reload(const std::shared_ptr<Candidate>& candidate);
  void loading_done();
  void refuse_reload(const std::string& why);

  void drain();
  runtime::Task<void> cut_after(Duration patience);
  void cut();
  void worker_drained();

  AdminSource admin_source();
  const proxy::Config& config() const { return *loaded_.config; }

  const RunOptions& options_;
  LoadedConfig loaded_;
  SignalsHeld& signals_;
  LogSink error_sink_{STDERR_FILENO};
  LogSink access_sink_{STDOUT_FILENO};
  Logger logger_;
  Metrics metrics_;
  EndpointLog endpoint_log_{logger_};
  proxy::SharedUpstreams upstreams_;
  proxy::KeyBoard board_;
  ConnectionGate gate_;
  std::unique_ptr<store::StoreBackend> backend_;  // nullptr until some route keeps records

  const std::shared_ptr<net::NameService> names_ = std::make_shared<net::NameService>();
  runtime::EventLoop loop_;
  net::UvNetwork network_;
  std::unique_ptr<store::Store> store_;  // the main loop's own, for the operator
  bool store_evicts_ = false;
  proxy::HealthCheckers health_;
  Certificates certificates_;
  runtime::Scope scope_;
  std::unique_ptr<Admin> admin_;
  std::unique_ptr<proxy::ConnectionSet> admin_connections_;
  std::unique_ptr<net::UvListener> admin_listener_;
  std::vector<std::unique_ptr<Worker>> workers_;

  int worker_count_;
  std::map<std::string, net::ListenSockets> in_use_;  // descriptors are the workers'
  bool ready_ = false;
  bool draining_ = false;
  bool reloading_ = true;  // the start is the first of them
  bool reload_again_ = false;
  int workers_draining_ = 0;
  int workers_cutting_ = 0;
};

Server::Server(const RunOptions& options, LoadedConfig loaded, SignalsHeld& signals)
    : options_(options),
      loaded_(std::move(loaded)),
      signals_(signals),
      logger_(error_sink_, config().log.level, config().log.format),
      metrics_(options.version, options.commit),
      gate_(config().server.max_connections),
      network_(loop_, names_),
      health_(upstreams_, loop_.context(), network_, network_),
      certificates_(loop_, logger_),
      worker_count_(config().server.workers.value_or(usable_cpus())) {}

Server::~Server() {
  workers_.clear();
  admin_listener_.reset();
  admin_connections_.reset();
  scope_.cancel_all();
  for (auto& [text, sockets] : in_use_) net::close_listen_sockets(sockets);
}

int Server::run() {
  std::signal(SIGPIPE, SIG_IGN);
  drop_unneeded_rights();
  if (!start()) return draining_ ? exit_done : exit_machine_refused;
  loop_.run();
  logger_.log(LogLevel::info, "stopped");
  return exit_done;
}

/// Opens the store if some route needs it. False: it can never work.
bool Server::start_store() {
  if (!config().needs_store()) return true;
  auto opened = store::open_backend(config().store, logger_);
  if (!opened) {
    logger_.log(LogLevel::error, "cannot open the store", {{"reason", opened.error()}});
    return false;
  }
  use_store(std::move(*opened));
  // A Redis that throws records away is found out before the first request, if it can be reached.
  scope_.spawn(ask_store());
  loop_.run();
  return !store_evicts_ && !draining_;
}

void Server::use_store(std::unique_ptr<store::StoreBackend> backend) {
  backend_ = std::move(backend);
  store_ = backend_->open(loop_.context(), network_, network_);
  metrics_.set_store(config().store.kind, [this] { return backend_->stats(); });
}

runtime::Task<void> Server::ask_store() {
  policy::Operation look;
  look.command = policy::Command::inspect;
  Result<policy::Verdict, store::StoreError> answer = co_await store_->apply(look);
  store_evicts_ = !answer && answer.error().kind == store::StoreError::Kind::evicting;
  if (!answer) {
    logger_.log(store_evicts_ ? LogLevel::error : LogLevel::warn, "the store does not answer",
                {{"reason", answer.error().detail}, {"kind", name(answer.error().kind)}});
  }
  // After the coroutine has ended: its frame is destroyed by then.
  loop_.post([this] { loop_.stop(); });
}

bool Server::start() {
  upstreams_.on_endpoint_change(
      {[this](std::string_view upstream, const proxy::EndpointChange& change) {
         endpoint_log_.changed(upstream, change);
       },
       [this] { loop_.post([this] { health_.sync(); }); },
       [this](std::string_view upstream, const proxy::NameChange& change) {
         endpoint_log_.name_changed(upstream, change);
       }});
  metrics_.set_log_dropped([this] { return error_sink_.dropped() + access_sink_.dropped(); });
  metrics_.set_upstreams(
      [this] { return upstream_gauges(config(), upstreams_, loop_.context().now()); });
  metrics_.set_certificates([this] { return certificates_.states(); });
  scope_.spawn(certificates_.watch());
  loop_.on_signal(SIGHUP, [this] { reload(); });
  loop_.on_signal(SIGTERM, [this] { drain(); });
  loop_.on_signal(SIGINT, [this] { drain(); });
  signals_.release();
  // The pool's threads now, when one that is missing is noticed, and not at the first reload.
  loop_.run_blocking([] {}, [] {});
  if (!start_store()) return false;

  Candidate candidate = first_candidate(loaded_, worker_count_);
  if (!candidate.failure.empty()) {
    logger_.log(LogLevel::error, "cannot listen", {{"reason", candidate.failure}});
    return false;
  }
  if (!start_admin()) {
    close_opened(candidate);
    return false;
  }
  const std::string replica = fmt::format("{:016x}", loop_.context().rng.next());
  for (int i = 0; i < worker_count_; ++i) {
    workers_.push_back(std::make_unique<Worker>(
        i, upstreams_, board_, replica, metrics_, access_sink_, logger_, config().log, gate_,
        names_, [this] { loop_.post([this] { worker_drained(); }); }));
  }
  log_listeners(candidate);
  put_into_use(candidate, [this] {
    ready_ = true;
    logger_.log(
        LogLevel::info, "ready",
        {{"version", options_.version}, {"commit", options_.commit}, {"workers", worker_count_}});
    loading_done();
  });
  return true;
}

bool Server::start_admin() {
  if (!config().admin.listen) return true;
  Result<net::ListenSockets, std::string> sockets =
      net::open_listen_sockets(*config().admin.listen, 1);
  if (!sockets) {
    logger_.log(LogLevel::error, "cannot listen", {{"reason", "admin: " + sockets.error()}});
    return false;
  }
  admin_ = std::make_unique<Admin>(admin_source(), loop_.context());
  admin_connections_ = std::make_unique<proxy::ConnectionSet>(*admin_, loop_.context(), [] {});
  admin_listener_ = std::make_unique<net::UvListener>(
      network_, sockets->descriptors.front(), [this](std::unique_ptr<net::Stream> stream) {
        const bool full = admin_connections_->size() >= max_admin_connections;
        if (full && !admin_connections_->close_oldest_idle()) return;
        admin_connections_->serve(std::move(stream), admin_listener_name);
      });
  logger_.log(LogLevel::info, "listening",
              {{"listener", "admin"}, {"address", sockets->address.text()}});
  sockets->descriptors.clear();
  in_use_.emplace("admin " + config().admin.listen->text, std::move(*sockets));
  return true;
}

AdminSource Server::admin_source() {
  AdminSource source;
  source.ready = [this] { return ready_ && !draining_; };
  source.draining = [this] { return draining_; };
  source.metrics = [this] { return metrics_.render(); };
  source.config = [this] { return effective_json(loaded_); };
  source.routes = [this] { return routes_json(loaded_); };
  source.upstreams = [this] { return upstreams_page(config(), upstreams_, loop_.context().clock); };
  source.drain = [this](const DrainTarget& target, bool draining) {
    return drain_endpoint(config(), upstreams_, target, draining, loop_.context().now());
  };
  source.hosts = [this] { return config().admin.hosts; };
  source.store = [this] { return store_.get(); };
  source.resolved_ttl = [this] { return app::resolved_ttl(config()); };
  source.resolved = [this](std::string_view id, bool executed) {
    logger_.log(LogLevel::warn, "idempotency: resolved by hand",
                {{"id", id}, {"outcome", executed ? "executed" : "not_executed"}});
  };
  return source;
}

/// Hands a configuration to every worker; `then` runs on the main loop when all have it.
void Server::put_into_use(Candidate& candidate, Then then) {
  upstreams_.apply(*candidate.loaded.config, loop_.context().now());
  loop_.post([this] { health_.sync(); });  // of upstreams that have gone nobody tells
  certificates_.use(*candidate.loaded.config, backend_ ? backend_->credentials() : nullptr);
  certificates_.look();  // the store's files may have changed since it was opened
  gate_.set_limit(candidate.loaded.config->server.max_connections);
  logger_.configure(candidate.loaded.config->log.level, candidate.loaded.config->log.format);

  auto left = std::make_shared<int>(worker_count_);
  auto all_done = std::make_shared<Then>(std::move(then));
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    WorkerUpdate update;
    update.published = candidate.published;
    update.store = backend_.get();
    for (const proxy::ListenerConfig& listener : candidate.loaded.config->listeners) {
      const auto opened = candidate.opened.find(identity(listener));
      const int descriptor = opened == candidate.opened.end() ? -1 : opened->second.descriptors[i];
      update.listeners.push_back(
          {identity(listener), listener.name, descriptor, listener.credentials});
    }
    workers_[i]->update(std::move(update), [this, left, all_done] {
      loop_.post([this, left, all_done] {
        if (--*left > 0) return;
        metrics_.reload_succeeded(loop_.context().clock.wall_now());
        (*all_done)();
      });
    });
  }
  // The descriptors belong to the workers now; what stays here is the address, and a unix socket's
  // file.
  std::map<std::string, net::ListenSockets> next;
  for (const proxy::ListenerConfig& listener : candidate.loaded.config->listeners) {
    auto opened = candidate.opened.extract(identity(listener));
    auto kept = opened.empty() ? in_use_.extract(identity(listener)) : std::move(opened);
    if (kept.empty()) continue;
    kept.mapped().descriptors.clear();
    next.insert(std::move(kept));
  }
  for (auto& [text, sockets] : in_use_) {
    if (text.starts_with("admin ")) {
      next.emplace(text, std::move(sockets));
    } else {
      net::close_listen_sockets(sockets);
    }
  }
  in_use_ = std::move(next);
  loaded_ = candidate.loaded;
}

void Server::log_listeners(const Candidate& candidate) {
  for (const proxy::ListenerConfig& listener : candidate.loaded.config->listeners) {
    const auto opened = candidate.opened.find(identity(listener));
    if (opened == candidate.opened.end()) continue;
    logger_.log(LogLevel::info, "listening",
                {{"listener", listener.name}, {"address", opened->second.address.text()}});
  }
}

// ---------------------------------------------------------------------------------------------
// reload

void Server::reload() {
  if (draining_) return;
  if (reloading_) {
    reload_again_ = true;  // one more when this one is done, however many signals come
    return;
  }
  reloading_ = true;
  auto candidate = std::make_shared<Candidate>();
  CandidateWish wish{options_.config_path, loaded_.config, {}, worker_count_, backend_ != nullptr};
  for (const auto& [text, sockets] : in_use_) wish.listening.insert(text);
  loop_.run_blocking([this, candidate, wish] { *candidate = next_candidate(wish, logger_); },
                     [this, candidate] { finish_reload(candidate); });
}

void Server::loading_done() {
  reloading_ = false;
  if (std::exchange(reload_again_, false)) reload();
}

void Server::finish_reload(const std::shared_ptr<Candidate>& candidate) {
  if (draining_ || !candidate->failure.empty()) {
    close_opened(*candidate);
    if (!candidate->failure.empty()) refuse_reload(candidate->failure);
    loading_done();
    return;
  }
  log_listeners(*candidate);
  if (candidate->backend) use_store(std::move(candidate->backend));
  put_into_use(*candidate, [this] {
    logger_.log(LogLevel::info, "configuration reloaded", {{"file", options_.config_path}});
    loading_done();
  });
}

void Server::refuse_reload(const std::string& why) {
  metrics_.reload_failed();
  logger_.log(LogLevel::error, "configuration refused, the old one stays",
              {{"reason", why}, {"file", options_.config_path}});
}

// ----------------------------------------------------------------------------------------------
// drain

void Server::drain() {
  if (draining_) _exit(exit_done);  // the second signal
  draining_ = true;
  logger_.log(LogLevel::info, "draining");
  workers_draining_ = worker_count_;
  if (workers_.empty()) return loop_.stop();  // it is still starting
  for (auto& worker : workers_) worker->drain();
  if (const auto& patience = config().server.drain_timeout) scope_.spawn(cut_after(*patience));
}

runtime::Task<void> Server::cut_after(Duration patience) {
  const TimePoint deadline = after(loop_.context().now(), patience);
  co_await runtime::sleep_until(loop_.context().timers, deadline);
  logger_.log(LogLevel::warn, "drain timeout: what is still in flight is cut");
  cut();
  // The store has its timeout to take what is said about the requests that are cut.
  const TimePoint end = after(loop_.context().now(), config().store.timeout * 2 + cut_grace);
  co_await runtime::sleep_until(loop_.context().timers, end);
  loop_.stop();
}

/// Ends what holds an idempotency key, with a record that says so; then everything.
void Server::cut() {
  workers_cutting_ = worker_count_;
  for (auto& worker : workers_) {
    worker->cut([this] {
      loop_.post([this] {
        if (--workers_cutting_ == 0) loop_.stop();
      });
    });
  }
}

void Server::worker_drained() {
  if (--workers_draining_ == 0) loop_.stop();
}

/// What this machine does not lend and the configuration needs; "" if there is enough.
std::string lacking(const proxy::Config& config) {
  const int workers = config.server.workers.value_or(usable_cpus());
  const std::uint64_t descriptors = raise_descriptor_limit();
  const std::uint64_t needed =
      descriptors_beside_workers +
      static_cast<std::uint64_t>(workers) * (descriptors_of_worker + config.listeners.size());
  if (descriptors < needed) {
    return fmt::format("{} descriptors may be open, {} are needed (ulimit -n)", descriptors,
                       needed);
  }
  const int threads = threads_beside_workers + workers;
  if (threads_can_be_started(threads)) return "";
  return fmt::format("{} threads are needed, and the machine refuses them", threads);
}

}  // namespace

int run(const RunOptions& options) {
  HOLDFAST_ASSERT(http::parser_is_strict());
  SignalsHeld signals;
  end_when_out_of_memory();
  Result<LoadedConfig, ConfigFailure> loaded =
      load_config(options.config_path, process_environment());
  if (!loaded) {
    std::fputs(loaded.error().render().c_str(), stderr);
    return exit_bad_config;
  }
  std::fputs(loaded->warnings.c_str(), stderr);
  if (const std::string lack = lacking(*loaded->config); !lack.empty()) {
    std::fputs(("error: cannot start: " + lack + "\n").c_str(), stderr);
    return exit_machine_refused;
  }
  Server server(options, std::move(*loaded), signals);
  return server.run();
}

}  // namespace holdfast::app
