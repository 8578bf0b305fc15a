#include "holdfast/store/redis_store.h"

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "holdfast/base/rng.h"
#include "holdfast/net/uv_network.h"
#include "holdfast/policy/backoff.h"
#include "holdfast/runtime/event_loop.h"
#include "holdfast/runtime/scope.h"
#include "holdfast/store/redis_connection.h"
#include "holdfast/store/redis_health.h"
#include "holdfast/store/redis_operation.h"
#include "holdfast/store/redis_session.h"
#include "holdfast/store/redis_url.h"

namespace holdfast::store {
namespace {

using policy::Command;
using policy::Operation;
using policy::Verdict;
using runtime::Task;
using Outcome = Result<Verdict, StoreError>;
using Reply = Result<RedisReply, StoreError>;
using Done = Result<void, StoreError>;
using Server = Result<RedisServer, StoreError>;

constexpr policy::BackoffOptions reconnecting{policy::BackoffKind::exponential,
                                              std::chrono::milliseconds(50),
                                              std::chrono::seconds(1), policy::JitterKind::full, 0};

/// How often one that refuses writes is asked whether it still does.
constexpr Duration check_while_refusing = std::chrono::seconds(1);

struct Settings {
  StoreOptions options;
  RedisUrl url;
  RedisTuning tuning;
  std::shared_ptr<net::TlsClientCredentials> tls;  // for a rediss URL

  bool waits_for_replicas() const { return options.wait_replicas > 0; }
  Duration time_allowed() const {
    return waits_for_replicas() ? options.timeout + 3 * options.wait_timeout : options.timeout;
  }
  Duration patience() const { return std::max(tuning.patience, time_allowed()); }
};

Outcome outcome_of(Command command, Reply reply) {
  if (!reply) return unexpected(std::move(reply.error()));
  if (reply->kind == RedisReply::Kind::error) return unexpected(error_of(*reply));
  return verdict_of(command, std::move(*reply));
}

/// Not this record or this user, but whatever is written is refused.
bool refuses_all_writes(const StoreError& error) {
  constexpr std::array words{"MISCONF", "NOREPLICAS", "READONLY"};
  return error.kind == StoreError::Kind::full ||
         std::ranges::find(words, error.detail) != words.end();
}

/// While this lives, `pointer` stands in `list`.
template <class T>
class Listed {
 public:
  Listed(std::vector<T*>& list, T& element) : list_(list), element_(element) {
    list_.push_back(&element_);
  }
  Listed(const Listed&) = delete;
  Listed& operator=(const Listed&) = delete;
  ~Listed() { std::erase(list_, &element_); }

 private:
  std::vector<T*>& list_;
  T& element_;
};

class RedisStore final : public Store {
 public:
  RedisStore(const Settings& settings, RedisHealth& health, runtime::Context& context,
             net::Connector& connector, net::Resolver& resolver);
  ~RedisStore() override;

  Task<Outcome> apply(const Operation& operation) override;

 private:
  enum class Phase : std::uint8_t { connecting, ready, down };  // connecting: for the first time
  struct ReplicaWaiter;

  Task<void> keep_connected();
  Task<StoreError> session();
  Task<StoreError> serve();
  Task<Done> trust(const RedisServer& server, TimePoint deadline);
  Task<Done> look_for_canary(TimePoint deadline);
  void tell_health();
  void note_claim(const Outcome& outcome);
  Duration until_next_check() const;
  void become_ready(RedisScripts scripts);
  void go_down(StoreError reason);
  void tell_first_contact();

  Task<void> first_contact(TimePoint deadline);
  Task<Outcome> decide(const Operation& operation, TimePoint deadline);
  bool is_ready() const;
  const StoreError& reason_down() const;

  Task<Done> await_replicas(TimePoint deadline);
  Task<void> count_replicas();
  Task<Done> ask_replicas(TimePoint deadline);
  Task<void> give_back(const Operation& claim);

  const Settings& settings_;
  RedisHealth& health_;
  runtime::Context& context_;
  net::Connector& connector_;
  net::Resolver& resolver_;

  Phase phase_ = Phase::connecting;
  StoreError last_error_{StoreError::Kind::unavailable, "Redis has not been reached yet"};
  std::optional<StoreError> writes_refused_;  // it answers, and takes none: as the last check found
  std::optional<StoreError> claim_refused_;   // the last claim, for a reason of its own
  int failures_ = 0;
  runtime::DeferredSignal attention_;  // the connection ended, or a reply hints at a change
  std::unique_ptr<RedisConnection> connection_;
  RedisScripts scripts_;
  std::vector<runtime::DeferredSignal*> waiting_for_contact_;

  std::vector<ReplicaWaiter*> replica_waiters_;
  std::uint64_t replica_round_ = 0;  // of the WAIT in flight, or of the last one
  bool counting_replicas_ = false;

  runtime::Scope background_;  // last: its tasks use all of the above
};

RedisStore::RedisStore(const Settings& settings, RedisHealth& health, runtime::Context& context,
                       net::Connector& connector, net::Resolver& resolver)
    : settings_(settings),
      health_(health),
      context_(context),
      connector_(connector),
      resolver_(resolver),
      attention_(context.timers) {
  background_.spawn(keep_connected());
}

RedisStore::~RedisStore() {
  health_.forget(this);
}

// -- the connection and its circuit

Task<void> RedisStore::keep_connected() {
  for (;;) {
    StoreError reason = co_await session();
    go_down(std::move(reason));
    ++failures_;
    const Duration pause = policy::backoff_delay(reconnecting, failures_, context_.rng);
    const TimePoint next = context_.now() + pause;
    co_await runtime::sleep_until(context_.timers, next);
  }
}

/// From the connect to the end, and why it came.
Task<StoreError> RedisStore::session() {
  const TimePoint deadline = context_.now() + settings_.patience();
  Result<std::unique_ptr<net::Stream>, StoreError> stream = co_await connect_redis(
      settings_.url, settings_.tls.get(), context_, connector_, resolver_, deadline);
  if (!stream) co_return std::move(stream.error());
  connection_ = std::make_unique<RedisConnection>(context_, std::move(*stream), attention_);
  Server server = co_await introduce(*connection_, settings_.url, deadline);
  if (!server) co_return std::move(server.error());
  const int version = server->major_version;
  Result<RedisScripts, StoreError> scripts = co_await load_scripts(*connection_, version, deadline);
  if (!scripts) co_return std::move(scripts.error());
  Done trusted = co_await trust(*server, deadline);
  if (!trusted) co_return std::move(trusted.error());
  become_ready(std::move(*scripts));
  co_return co_await serve();
}

Task<StoreError> RedisStore::serve() {
  for (;;) {
    const TimePoint next_check = context_.now() + until_next_check();
    if (connection_->usable()) {
      co_await runtime::wait_for(attention_.signal(), context_.timers, next_check);
    }
    if (!connection_->usable()) co_return connection_->failure();
    const TimePoint deadline = context_.now() + settings_.patience();
    Server server = co_await examine(*connection_, deadline);
    if (!server) co_return std::move(server.error());
    Done trusted = co_await trust(*server, deadline);
    if (!trusted) co_return std::move(trusted.error());
    tell_health();
  }
}

Duration RedisStore::until_next_check() const {
  const Duration usual = settings_.tuning.check_every;
  return writes_refused_ ? std::min(usual, check_while_refusing) : usual;
}

Task<Done> RedisStore::trust(const RedisServer& server, TimePoint deadline) {
  Done judged = health_.judge_eviction(server.eviction);
  if (!judged) co_return std::move(judged);
  Done written = co_await look_for_canary(deadline);
  writes_refused_.reset();
  if (!written && refuses_all_writes(written.error())) {
    writes_refused_ = std::move(written.error());
  }
  co_return std::move(judged);
}

/// Sets one if there is none, and tells what is there. The error: why Redis would not set one.
Task<Done> RedisStore::look_for_canary(TimePoint deadline) {
  const std::string key = settings_.options.key_prefix + "canary";
  const std::string value = std::to_string(context_.rng.next());
  const std::array<std::string_view, 4> set{"SET", key, value, "NX"};
  const std::array<std::string_view, 2> get{"GET", key};
  Task<Reply> setting = connection_->call(set, deadline);
  Task<Reply> getting = connection_->call(get, deadline);
  setting.start();
  getting.start();
  Reply set_or_not = co_await setting;
  Reply found = co_await getting;
  if (found && found->kind != RedisReply::Kind::error) health_.saw_canary(found->text);
  if (!set_or_not) co_return unexpected(std::move(set_or_not.error()));
  if (set_or_not->kind == RedisReply::Kind::error) co_return unexpected(error_of(*set_or_not));
  co_return Done();
}

/// Whoever looks at it wants to know whether keyed requests are served.
void RedisStore::tell_health() {
  if (phase_ != Phase::ready) return;
  if (writes_refused_ || claim_refused_) {
    health_.went_down(this, writes_refused_ ? *writes_refused_ : *claim_refused_);
  } else {
    health_.came_up(this);
  }
}

/// A refusal that no check foresees (NOPERM) holds until a claim is answered.
void RedisStore::note_claim(const Outcome& outcome) {
  const bool was_refused = claim_refused_.has_value();
  claim_refused_.reset();
  if (!outcome && outcome.error().kind == StoreError::Kind::refused &&
      !refuses_all_writes(outcome.error())) {
    claim_refused_ = outcome.error();
  }
  if (was_refused || claim_refused_) tell_health();
}

void RedisStore::become_ready(RedisScripts scripts) {
  scripts_ = std::move(scripts);
  phase_ = Phase::ready;
  failures_ = 0;
  claim_refused_.reset();
  tell_health();
  tell_first_contact();
}

void RedisStore::go_down(StoreError reason) {
  // What comes later was never sent: for it there is no doubt whether it was carried out.
  if (reason.kind == StoreError::Kind::timeout) reason.kind = StoreError::Kind::unavailable;
  health_.went_down(this, reason);
  last_error_ = std::move(reason);
  phase_ = Phase::down;
  connection_.reset();
  tell_first_contact();
}

void RedisStore::tell_first_contact() {
  for (runtime::DeferredSignal* waiting : waiting_for_contact_) waiting->notify(context_.now());
}

Task<void> RedisStore::first_contact(TimePoint deadline) {
  runtime::DeferredSignal told(context_.timers);
  const Listed<runtime::DeferredSignal> listed(waiting_for_contact_, told);
  while (phase_ == Phase::connecting) {
    const bool in_time = co_await runtime::wait_for(told.signal(), context_.timers, deadline);
    if (in_time || phase_ != Phase::connecting) continue;
    phase_ = Phase::down;  // one has waited in vain, no other shall
  }
}

bool RedisStore::is_ready() const {
  return phase_ == Phase::ready && connection_->usable();
}

const StoreError& RedisStore::reason_down() const {
  return phase_ == Phase::ready ? connection_->failure() : last_error_;
}

// -- operations

Task<Outcome> RedisStore::apply(const Operation& operation) {
  const TimePoint deadline = context_.now() + settings_.time_allowed();
  if (phase_ == Phase::connecting) co_await first_contact(deadline);
  if (!is_ready()) co_return unexpected(reason_down());
  Outcome outcome = co_await decide(operation, deadline);
  // It may have become a replica, or take no writes from now on.
  const bool hint = !outcome && (outcome.error().kind == StoreError::Kind::refused ||
                                 outcome.error().kind == StoreError::Kind::full);
  if (hint && !writes_refused_ && !claim_refused_) attention_.notify(context_.now());
  if (operation.command == Command::claim) note_claim(outcome);
  const bool acquired = outcome && outcome->kind == Verdict::Kind::acquired;
  if (!acquired || !settings_.waits_for_replicas()) co_return std::move(outcome);
  Done copied = co_await await_replicas(deadline);
  if (copied) co_return std::move(outcome);
  co_await give_back(operation);
  co_return unexpected(std::move(copied.error()));
}

Task<Outcome> RedisStore::decide(const Operation& operation, TimePoint deadline) {
  const auto index = static_cast<std::size_t>(operation.command);
  RedisRequest request(settings_.options.key_prefix, operation);
  const std::span<const std::string_view> by_name = request.words("EVALSHA", scripts_.sha[index]);
  Reply reply = co_await connection_->call(by_name, deadline);
  const bool forgotten = reply && is_unknown_script(*reply) && is_ready();
  if (!forgotten) co_return outcome_of(operation.command, std::move(reply));
  const std::span<const std::string_view> by_text = request.words("EVAL", scripts_.text[index]);
  Reply again = co_await connection_->call(by_text, deadline);
  co_return outcome_of(operation.command, std::move(again));
}

// -- replicas
// WAIT holds up its connection, so one is in flight at a time and serves every claim that was
// answered before it was sent.

struct RedisStore::ReplicaWaiter {
  explicit ReplicaWaiter(RedisStore& store)
      : round(store.replica_round_ + 1), told(store.context_.timers) {}
  std::uint64_t round;  // of the WAIT that covers it
  runtime::DeferredSignal told;
  std::optional<Done> result;
};

Task<Done> RedisStore::await_replicas(TimePoint deadline) {
  ReplicaWaiter waiter(*this);
  const Listed<ReplicaWaiter> listed(replica_waiters_, waiter);
  if (!counting_replicas_) background_.spawn(count_replicas());
  while (!waiter.result) {
    const bool in_time =
        co_await runtime::wait_for(waiter.told.signal(), context_.timers, deadline);
    if (in_time || waiter.result) continue;
    co_return unexpected(
        StoreError{StoreError::Kind::replicas, "the replicas did not answer in time"});
  }
  co_return std::move(*waiter.result);
}

Task<void> RedisStore::count_replicas() {
  counting_replicas_ = true;
  while (!replica_waiters_.empty()) {
    ++replica_round_;
    const TimePoint deadline = context_.now() + settings_.time_allowed();
    const Done enough = co_await ask_replicas(deadline);
    const auto covered = [&](const ReplicaWaiter* waiter) {
      return waiter->round <= replica_round_;
    };
    for (ReplicaWaiter* waiter : replica_waiters_) {
      if (!covered(waiter)) continue;
      waiter->result = enough;
      waiter->told.notify(context_.now());
    }
    std::erase_if(replica_waiters_, covered);
  }
  counting_replicas_ = false;
}

Task<Done> RedisStore::ask_replicas(TimePoint deadline) {
  if (!is_ready()) co_return unexpected(reason_down());
  // For Redis a time of 0 is for ever.
  const auto at_most =
      std::max(std::chrono::ceil<policy::Milliseconds>(settings_.options.wait_timeout),
               policy::Milliseconds(1));
  const std::string wanted = std::to_string(settings_.options.wait_replicas);
  const std::string milliseconds = std::to_string(at_most.count());
  const std::array<std::string_view, 3> words{"WAIT", wanted, milliseconds};
  Reply reply = co_await connection_->call(words, deadline);
  if (!reply) co_return unexpected(std::move(reply.error()));
  if (reply->kind == RedisReply::Kind::error) co_return unexpected(error_of(*reply));
  if (reply->integer >= settings_.options.wait_replicas) co_return Done();
  co_return unexpected(
      StoreError{StoreError::Kind::replicas,
                 std::to_string(reply->integer) + " of " + wanted + " replicas have the claim"});
}

/// If this fails too, the claim's lease runs out into unknown: nothing runs twice.
Task<void> RedisStore::give_back(const Operation& claim) {
  if (!is_ready()) co_return;
  Operation release;
  release.command = Command::release;
  release.id = claim.id;
  release.token = claim.token;
  const TimePoint deadline = context_.now() + settings_.options.timeout;
  const Outcome ignored = co_await decide(release, deadline);
}

// -- the process

class RedisBackend final : public StoreBackend {
 public:
  RedisBackend(Settings settings, Logger& logger)
      : settings_(std::move(settings)),
        health_(settings_.url.text(), settings_.options.allow_eviction, logger) {}

  std::unique_ptr<Store> open(runtime::Context& context, net::Connector& connector,
                              net::Resolver& resolver) override {
    return std::make_unique<RedisStore>(settings_, health_, context, connector, resolver);
  }
  StoreStats stats() override { return health_.stats(); }
  std::shared_ptr<net::TlsClientCredentials> credentials() const override { return settings_.tls; }
  RedisHealth& health() { return health_; }
  const Settings& settings() const { return settings_; }

 private:
  const Settings settings_;
  RedisHealth health_;
};

Task<void> look_and_stop(const Settings& settings, runtime::EventLoop& loop,
                         net::UvNetwork& network, std::optional<Server>& found) {
  const TimePoint deadline = loop.context().now() + settings.patience();
  Server server = co_await look_at_redis(settings.url, settings.tls.get(), loop.context(), network,
                                         network, deadline);
  found = std::move(server);
  loop.stop();
}

/// Looks at the server from a loop of its own.
Server look_now(const Settings& settings) {
  runtime::EventLoop loop;
  net::UvNetwork network(loop);
  std::optional<Server> found;
  Task<void> looking = look_and_stop(settings, loop, network, found);
  looking.start();
  if (!looking.done()) loop.run();
  return std::move(*found);
}

}  // namespace

Result<std::unique_ptr<StoreBackend>, std::string> open_redis_backend(const StoreOptions& options,
                                                                      Logger& logger,
                                                                      const RedisTuning& tuning) {
  Result<RedisUrl, std::string> url = parse_redis_url(options.url);
  if (!url) return unexpected(std::move(url.error()));
  Settings settings{options, std::move(*url), tuning, nullptr};
  if (settings.url.transport == RedisUrl::Transport::tls) {
    auto tls = net::TlsClientContext::make(options.tls);
    if (!tls) return unexpected("store.tls: " + tls.error().text());
    settings.tls = std::make_shared<net::TlsClientCredentials>(std::move(*tls));
  }
  auto backend = std::make_unique<RedisBackend>(std::move(settings), logger);
  const Server server = look_now(backend->settings());
  if (!server) {
    backend->health().went_down(backend.get(), server.error());
    backend->health().forget(backend.get());
    return std::unique_ptr<StoreBackend>(std::move(backend));
  }
  const Done judged = backend->health().judge_eviction(server->eviction);
  if (!judged) return unexpected(backend->settings().url.text() + ": " + judged.error().detail);
  return std::unique_ptr<StoreBackend>(std::move(backend));
}

}  // namespace holdfast::store
