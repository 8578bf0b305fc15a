#include "holdfast/proxy/upstream_connection.h"

#include <algorithm>
#include <utility>

#include "holdfast/base/assert.h"
#include "holdfast/net/happy_eyeballs.h"
#include "holdfast/net/tls.h"
#include "holdfast/policy/timeout.h"

namespace holdfast::proxy {
namespace {

/// How long the loser of a race is not taken where the winner can be.
constexpr Duration race_memory = std::chrono::seconds(30);

/// A place for a connection that has been taken and not used yet.
class Place {
 public:
  explicit Place(SharedUpstream& shared) : shared_(&shared) {}
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  ~Place() {
    if (shared_ != nullptr) shared_->closed();
  }
  void keep() { shared_ = nullptr; }

 private:
  SharedUpstream* shared_;
};

}  // namespace

UpstreamConnection::UpstreamConnection(std::unique_ptr<net::Stream> stream)
    : stream_(std::move(stream)), parser_(http::ParserLimits{}) {}

Lease::Lease(EndpointPool& pool, std::unique_ptr<UpstreamConnection> connection)
    : pool_(&pool), connection_(std::move(connection)) {}

Lease::Lease(Lease&& other) noexcept
    : pool_(other.pool_),
      connection_(std::move(other.connection_)),
      answered_(std::exchange(other.answered_, false)) {}

Lease& Lease::operator=(Lease&& other) noexcept {
  if (this != &other) {
    close();
    pool_ = other.pool_;
    connection_ = std::move(other.connection_);
    answered_ = std::exchange(other.answered_, false);
  }
  return *this;
}

void Lease::answered() {
  HOLDFAST_ASSERT(connection_ != nullptr && !answered_);
  answered_ = true;
  pool_->shared_->ending_connections.fetch_add(1, std::memory_order_relaxed);
}

void Lease::release() {
  HOLDFAST_ASSERT(connection_ != nullptr);
  pool_->put_back(std::move(connection_));
  end();
}

void Lease::close() {
  if (connection_ == nullptr) return;
  pool_->discard(std::move(connection_));
  end();
}

/// Afterwards only: until then its place must count as one that comes free, or as free.
void Lease::end() {
  if (!std::exchange(answered_, false)) return;
  pool_->shared_->ending_connections.fetch_sub(1, std::memory_order_relaxed);
}

/// Connections to be destroyed at the loop's next turn: those whose own idle watch found them dead.
class EndpointPool::Graveyard final : private runtime::Timer {
 public:
  explicit Graveyard(runtime::Context& context) : context_(context) {}
  void bury(std::unique_ptr<UpstreamConnection> connection) {
    buried_.push_back(std::move(connection));
    if (!armed()) context_.timers.arm(*this, context_.now());
  }

 private:
  void fire() override { buried_.clear(); }
  runtime::Context& context_;
  std::vector<std::unique_ptr<UpstreamConnection>> buried_;
};

/// One acquire() that waits until a connection may be opened, or until one is handed over. Other
/// threads reach it through `cell`, which outlives it.
struct EndpointPool::Waiter {
  explicit Waiter(EndpointPool& owner)
      : pool(owner), signal(owner.context_.timers), cell(std::make_shared<Waiter*>(this)) {
    ticket.granted = [post = pool.context_.post, shared = pool.shared_, waiter = cell,
                      clock = &pool.context_.clock] {
      post([shared, waiter, clock] {
        if (*waiter == nullptr) {
          shared->closed();  // nobody waits any more: the place goes to the next
        } else {
          (*waiter)->granted = true;
          (*waiter)->signal.notify(clock->now());
        }
      });
    };
    pool.waiters_.push_back(this);
  }
  ~Waiter() {
    *cell = nullptr;
    std::erase(pool.waiters_, this);
    pool.shared_->withdraw(ticket);
    if (granted) pool.shared_->closed();
    if (handed) pool.lease(std::move(handed)).release();
  }

  EndpointPool& pool;
  ConnectionTicket ticket;
  runtime::DeferredSignal signal;
  std::shared_ptr<Waiter*> cell;
  bool granted = false;
  std::unique_ptr<UpstreamConnection> handed;
};

EndpointPool::EndpointPool(const EndpointMember& member, const PoolOptions& options,
                           std::shared_ptr<SharedUpstream> shared, runtime::Context& context,
                           net::Connector& connector)
    : endpoint_(member.config),
      member_(member.shared),
      options_(options),
      shared_(std::move(shared)),
      context_(context),
      connector_(connector),
      graveyard_(std::make_unique<Graveyard>(context)),
      self_(std::make_shared<EndpointPool*>(this)),
      relief_asked_(std::make_shared<std::atomic<bool>>(false)) {
  address_ = member.address ? member.address : endpoint_.endpoint.address;
  shared_->on_pressure(this, [post = context_.post, pool = self_, asked = relief_asked_] {
    if (asked->exchange(true)) return;  // once is enough until it was done
    post([pool, asked] {
      asked->store(false);
      if (*pool != nullptr) (*pool)->relieve();
    });
  });
}

EndpointPool::~EndpointPool() {
  *self_ = nullptr;
  shared_->forget_pressure(this);
  HOLDFAST_ASSERT(!in_use());
  while (close_one_idle()) {
  }
}

bool EndpointPool::fits(const EndpointConfig& endpoint) const {
  const auto& mine = endpoint_.credentials;
  const auto& other = endpoint.credentials;
  if (mine == nullptr || other == nullptr) return mine == other;
  return mine->current()->options() == other->current()->options();
}

void EndpointPool::reconfigure(const EndpointMember& member, const PoolOptions& options) {
  member_ = member.shared;  // another one, where the address had gone and has come back
  endpoint_.weight = member.config.weight;
  endpoint_.credentials = member.config.credentials;
  options_ = options;
}

void EndpointPool::retire() {
  retired_ = true;
  while (close_one_idle()) {
  }
}

void EndpointPool::relieve() {
  while (shared_->has_waiters() && close_one_idle()) {
  }
}

bool EndpointPool::close_one_idle() {
  if (idle_.empty()) return false;
  take_out(*idle_.front()).reset();
  return true;
}

Lease EndpointPool::take_idle(bool certain) {
  while (!idle_.empty()) {
    UpstreamConnection& last = *idle_.back();
    net::Stream& stream = last.stream();
    const bool alive =
        certain ? stream.still_quiet() : stream.open_for_input() && stream.input().empty();
    if (!alive) {
      take_out(last).reset();
      continue;
    }
    auto connection = std::move(idle_.back());
    idle_.pop_back();
    shared_->idle_connections.fetch_sub(1, std::memory_order_relaxed);
    connection->idle_watch_.reset();
    return lease(std::move(connection));
  }
  return {};
}

runtime::Task<Result<Lease>> EndpointPool::acquire(bool fresh,
                                                   std::optional<Duration> connect_timeout,
                                                   TimePoint deadline) {
  PoolPin self(this);
  co_return co_await acquire(fresh, connect_timeout, deadline, nullptr, self);
}

runtime::Task<Result<Lease>> EndpointPool::acquire(bool fresh,
                                                   std::optional<Duration> connect_timeout,
                                                   TimePoint deadline, EndpointPool* rival,
                                                   PoolPin& pin) {
  HOLDFAST_ASSERT(is_resolved() && pin.get() == this);
  const PoolPin self(this);  // `pin` may let go of it
  const bool had_left = !member_->listed();
  if (!fresh) {
    Lease idle = take_idle(false);
    if (idle) co_return Result<Lease>(std::move(idle));
  }
  if (!shared_->try_open()) {
    std::unique_ptr<UpstreamConnection> handed;
    Result<void> place = co_await wait_for_place(deadline, handed);
    if (!place) co_return unexpected(std::move(place.error()));
    // Nobody watched it between its last exchange and now. If it has ended, its place is used anew.
    if (handed && handed->stream().still_quiet()) co_return Result<Lease>(lease(std::move(handed)));
    handed.reset();
  }
  Place place(*shared_);
  if (!member_->listed() && !had_left) co_return Result<Lease>(Lease());
  if (rival != nullptr && !rival->member_->listed()) rival = nullptr;
  const TimePoint connect_deadline =
      std::min(deadline, policy::deadline_after(context_.now(), connect_timeout));
  Result<std::unique_ptr<net::Stream>> stream = co_await open(connect_deadline, rival, pin);
  if (!stream) {
    if (connect_deadline == deadline && context_.now() >= deadline) {
      co_return unexpected(Error{ErrorType::http_response_timeout,
                                 "the time for the request was over while connecting"});
    }
    co_return unexpected(std::move(stream.error()));
  }
  place.keep();
  if (pin.get() != this) lost_until_ = after(context_.now(), race_memory);
  co_return pin->lease(std::make_unique<UpstreamConnection>(std::move(*stream)));
}

runtime::Task<Result<void>> EndpointPool::wait_for_place(
    TimePoint deadline, std::unique_ptr<UpstreamConnection>& handed) {
  Waiter waiter(*this);
  if (!shared_->enqueue(waiter.ticket)) {
    co_return unexpected(
        Error{ErrorType::connection_limit_reached,
              "the pool of the upstream is full and enough requests wait already"});
  }
  while (!waiter.granted && !waiter.handed) {
    const bool in_time =
        co_await runtime::wait_for(waiter.signal.signal(), context_.timers, deadline);
    if (!in_time && !waiter.granted && !waiter.handed) {
      co_return unexpected(
          Error{ErrorType::http_response_timeout,
                "the time for the request was over while it waited for a connection", true});
    }
  }
  waiter.granted = false;
  handed = std::move(waiter.handed);
  co_return Result<void>();
}

/// Ready for a request: TLS, with whoever has won, is a part of the connect, which no byte of a
/// request has preceded.
runtime::Task<Result<std::unique_ptr<net::Stream>>> EndpointPool::open(TimePoint deadline,
                                                                       EndpointPool* rival,
                                                                       PoolPin& winner) {
  Result<std::unique_ptr<net::Stream>> plain = co_await connect(deadline, rival, winner);
  if (!plain || winner->endpoint_.credentials == nullptr) co_return std::move(plain);
  const std::shared_ptr<const net::TlsClientContext> tls = winner->endpoint_.credentials->current();
  const std::string& host = winner->endpoint_.endpoint.host;
  net::TlsSessions* const sessions = &winner->sessions_;
  co_return co_await net::tls_connect(*plain, *tls, host, deadline, context_, sessions);
}

/// The place of this pool's connection is the rival's as well: they are of one upstream.
runtime::Task<Result<std::unique_ptr<net::Stream>>> EndpointPool::connect(TimePoint deadline,
                                                                          EndpointPool* rival,
                                                                          PoolPin& winner) {
  if (rival == nullptr) co_return co_await connector_.connect(*address_, deadline);
  Result<net::RaceResult> won =
      co_await net::connect_to_either(connector_, context_, *address_, *rival->address_, deadline);
  if (!won) co_return unexpected(std::move(won.error()));
  if (won->second_won) winner = PoolPin(rival);
  co_return std::move(won->stream);
}

runtime::Task<void> EndpointPool::watch_idle(UpstreamConnection& connection) {
  const TimePoint deadline = policy::deadline_after(context_.now(), options_.idle_timeout);
  co_await connection.stream().until_input(deadline);
  // This very task lives in the connection, so it cannot be destroyed here.
  graveyard_->bury(take_out(connection));
}

Lease EndpointPool::lease(std::unique_ptr<UpstreamConnection> connection) {
  ++connection->exchanges_;
  ++in_flight_;
  shared_->active_connections.fetch_add(1, std::memory_order_relaxed);
  return Lease(*this, std::move(connection));
}

void EndpointPool::put_back(std::unique_ptr<UpstreamConnection> connection) {
  HOLDFAST_ASSERT(in_flight_ > 0);
  const bool worn_out = options_.max_requests && connection->exchanges_ >= *options_.max_requests;
  const net::Stream& stream = connection->stream();
  if (retired_ || worn_out || !stream.open_for_input() || !stream.input().empty() ||
      stream.sending()) {
    discard(std::move(connection));
    return;
  }
  if (shared_->has_waiters()) {
    if (!hand_over(connection)) discard(std::move(connection));
    return;
  }
  --in_flight_;
  shared_->active_connections.fetch_sub(1, std::memory_order_relaxed);
  shared_->idle_connections.fetch_add(1, std::memory_order_relaxed);
  UpstreamConnection& idle = *idle_.emplace_back(std::move(connection));
  idle.idle_watch_ = watch_idle(idle);
  idle.idle_watch_.start();
}

/// Gives the connection, place and all, to a request of this worker that waits for one.
bool EndpointPool::hand_over(std::unique_ptr<UpstreamConnection>& connection) {
  for (Waiter* waiter : waiters_) {
    if (waiter->handed || !shared_->withdraw(waiter->ticket)) continue;
    --in_flight_;
    shared_->active_connections.fetch_sub(1, std::memory_order_relaxed);
    waiter->handed = std::move(connection);
    waiter->signal.notify(context_.now());
    return true;
  }
  return false;
}

void EndpointPool::discard(std::unique_ptr<UpstreamConnection> connection) {
  HOLDFAST_ASSERT(in_flight_ > 0);
  --in_flight_;
  shared_->active_connections.fetch_sub(1, std::memory_order_relaxed);
  connection.reset();
  shared_->closed();
}

/// Gives the place back of an idle connection whose end has come. To destroy it ends its watch.
std::unique_ptr<UpstreamConnection> EndpointPool::take_out(UpstreamConnection& connection) {
  const auto found = std::find_if(idle_.begin(), idle_.end(),
                                  [&](const auto& idle) { return idle.get() == &connection; });
  HOLDFAST_ASSERT(found != idle_.end());
  std::unique_ptr<UpstreamConnection> taken = std::move(*found);
  idle_.erase(found);
  shared_->closed();
  shared_->idle_connections.fetch_sub(1, std::memory_order_relaxed);
  return taken;
}

}  // namespace holdfast::proxy
