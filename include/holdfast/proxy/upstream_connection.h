// UpstreamConnection and EndpointPool: the connections of one worker to one endpoint.
//
// A connection carries one exchange at a time. After a complete answer it goes back to the pool,
// unless the answer, its owner or a limit says that it ends. Idle connections are watched: the
// peer's FIN, a byte that nobody asked for (RFC 9112 §9.2) or the idle timeout closes them at once,
// so that a dead one is rarely picked up.
//
// Contract: single-threaded, on the worker's loop. A Lease returns its connection by its
// destructor: closed unless release() said that it may be used again. Pools are kept over a reload
// as long as the endpoint stays in its upstream; one that has gone from it lives while in_use().
// Limits: pool.max_connections bounds open connections (in use and idle) of the upstream over all
// workers, pool.max_pending those who wait for one; both are SharedUpstream's.
//
// To an https endpoint a connection is TLS, shaken hands within the time to connect. Each handshake
// takes the newest context of the endpoint's credentials and offers what earlier ones have left.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "holdfast/base/result.h"
#include "holdfast/http/parser.h"
#include "holdfast/net/network.h"
#include "holdfast/net/tls_sessions.h"
#include "holdfast/proxy/config.h"
#include "holdfast/proxy/shared_upstream.h"
#include "holdfast/runtime/context.h"
#include "holdfast/runtime/task.h"

namespace holdfast::proxy {

class EndpointPool;
class PoolPin;

class UpstreamConnection {
 public:
  explicit UpstreamConnection(std::unique_ptr<net::Stream> stream);

  net::Stream& stream() { return *stream_; }
  http::ResponseParser& parser() { return parser_; }
  /// True if an earlier exchange used it: the peer may have closed it meanwhile.
  bool reused() const { return exchanges_ > 1; }

 private:
  friend class EndpointPool;
  std::unique_ptr<net::Stream> stream_;
  http::ResponseParser parser_;
  std::uint64_t exchanges_ = 0;
  runtime::Task<void> idle_watch_;
};

/// One connection for one exchange.
class Lease {
 public:
  Lease() = default;
  Lease(EndpointPool& pool, std::unique_ptr<UpstreamConnection> connection);
  Lease(Lease&& other) noexcept;
  Lease& operator=(Lease&& other) noexcept;
  ~Lease() { close(); }

  explicit operator bool() const { return connection_ != nullptr; }
  UpstreamConnection& operator*() const { return *connection_; }
  UpstreamConnection* operator->() const { return connection_.get(); }

  /// The answer has been read to its end: the connection is about to come back or to close, and
  /// whoever needs its place may queue for it.
  void answered();
  /// Gives the connection back for the next exchange. REQUIRES: its answer was complete and leaves
  /// it usable.
  void release();
  void close();

 private:
  void end();

  EndpointPool* pool_ = nullptr;
  std::unique_ptr<UpstreamConnection> connection_;
  bool answered_ = false;
};

class EndpointPool {
 public:
  EndpointPool(const EndpointMember& member, const PoolOptions& options,
               std::shared_ptr<SharedUpstream> shared, runtime::Context& context,
               net::Connector& connector);
  ~EndpointPool();
  EndpointPool(const EndpointPool&) = delete;
  EndpointPool& operator=(const EndpointPool&) = delete;

  /// A connection: an idle one, or a new one when there is none or `fresh` is asked for. The
  /// connect (TLS included) ends by `connect_timeout`; all of it, waiting for a place too, by
  /// `deadline`. An empty lease: the endpoint has left while the caller stood in line, who picks
  /// another. Errors: those of Connector and tls_connect(), connection_limit_reached,
  /// http_response_timeout (the deadline). REQUIRES: is_resolved().
  runtime::Task<Result<Lease>> acquire(bool fresh, std::optional<Duration> connect_timeout,
                                       TimePoint deadline);
  /// With a rival, another address of the same name (nullptr: none), the connection is the one of
  /// the two that is made first (net/happy_eyeballs.h). `pin`, which is this pool's, becomes the
  /// winner's with that, before TLS: what then comes of it, a failure too, is the winner's.
  runtime::Task<Result<Lease>> acquire(bool fresh, std::optional<Duration> connect_timeout,
                                       TimePoint deadline, EndpointPool* rival, PoolPin& pin);

  /// An idle connection that looks alive, at once, or an empty lease. `certain` asks the kernel
  /// whether the peer has just closed it: for a request that must not be sent twice.
  Lease take_idle(bool certain);

  /// True if its connections are what `endpoint` asks for: TLS by the same options, or none.
  /// REQUIRES: it is the same endpoint.
  bool fits(const EndpointConfig& endpoint) const;
  /// New options after a reload. REQUIRES: it fits().
  void reconfigure(const EndpointMember& member, const PoolOptions& options);
  /// False for a name that no address is known of. Once it is, each address has a pool of its own;
  /// use_address() is for who began before and does not see those.
  bool is_resolved() const { return address_.has_value(); }
  void use_address(const net::Address& address) { address_ = address; }
  /// True if another address of its name was used instead of it a short while ago, for it failed or
  /// was slow (RFC 8305 §4): that one is to be taken at once.
  bool lost_lately() const { return lost_until_ > context_.now(); }
  /// REQUIRES: is_resolved().
  const net::Address& address() const { return *address_; }
  /// The endpoint left the configuration: idle connections close, nothing goes back to the pool.
  void retire();
  /// Closes the connection that has been idle longest; false if there is none.
  bool close_one_idle();

  const EndpointConfig& endpoint() const { return endpoint_; }
  /// As SharedEndpoint::key() has it.
  const std::string& text() const { return member_->key(); }
  SharedEndpoint& shared() const { return *member_; }
  std::uint32_t in_flight() const { return in_flight_; }
  std::size_t idle() const { return idle_.size(); }
  /// True while somebody holds a PoolPin or one of its connections, or waits for one.
  bool in_use() const { return pins_ > 0 || in_flight_ > 0 || !waiters_.empty(); }

 private:
  friend class Lease;
  friend class PoolPin;
  friend class UpstreamConnection;
  struct Waiter;
  class Graveyard;

  runtime::Task<Result<void>> wait_for_place(TimePoint deadline,
                                             std::unique_ptr<UpstreamConnection>& handed);
  runtime::Task<Result<std::unique_ptr<net::Stream>>> open(TimePoint deadline, EndpointPool* rival,
                                                           PoolPin& winner);
  runtime::Task<Result<std::unique_ptr<net::Stream>>> connect(TimePoint deadline,
                                                              EndpointPool* rival, PoolPin& winner);
  runtime::Task<void> watch_idle(UpstreamConnection& connection);

  Lease lease(std::unique_ptr<UpstreamConnection> connection);
  void put_back(std::unique_ptr<UpstreamConnection> connection);
  bool hand_over(std::unique_ptr<UpstreamConnection>& connection);
  void discard(std::unique_ptr<UpstreamConnection> connection);
  std::unique_ptr<UpstreamConnection> take_out(UpstreamConnection& connection);
  /// Closes idle connections while somebody anywhere waits for a place.
  void relieve();

  EndpointConfig endpoint_;
  std::shared_ptr<SharedEndpoint> member_;
  PoolOptions options_;
  std::shared_ptr<SharedUpstream> shared_;
  runtime::Context& context_;
  net::Connector& connector_;

  net::TlsSessions sessions_;  // before the connections, which leave them
  std::vector<std::unique_ptr<UpstreamConnection>> idle_;  // the last used is at the back
  std::deque<Waiter*> waiters_;
  std::uint32_t in_flight_ = 0;
  std::uint32_t pins_ = 0;
  bool retired_ = false;
  std::optional<net::Address> address_;
  TimePoint lost_until_{};
  std::unique_ptr<Graveyard> graveyard_;
  /// What other threads hold of this pool; nulled by the destructor, read on the loop only.
  std::shared_ptr<EndpointPool*> self_;
  std::shared_ptr<std::atomic<bool>> relief_asked_;
};

/// Keeps a pool that leaves its cluster (the list of endpoints changes at any time) until whoever
/// speaks of it has done. Empty, or one pool's.
class PoolPin {
 public:
  PoolPin() = default;
  explicit PoolPin(EndpointPool* pool) : pool_(pool) {
    if (pool_ != nullptr) ++pool_->pins_;
  }
  PoolPin(const PoolPin& other) : PoolPin(other.pool_) {}
  PoolPin(PoolPin&& other) noexcept : pool_(std::exchange(other.pool_, nullptr)) {}
  PoolPin& operator=(PoolPin other) noexcept {
    std::swap(pool_, other.pool_);
    return *this;
  }
  ~PoolPin() {
    if (pool_ != nullptr) --pool_->pins_;
  }

  explicit operator bool() const { return pool_ != nullptr; }
  EndpointPool* operator->() const { return pool_; }
  EndpointPool* get() const { return pool_; }

 private:
  EndpointPool* pool_ = nullptr;
};

}  // namespace holdfast::proxy
