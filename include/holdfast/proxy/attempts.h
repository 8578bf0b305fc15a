// Attempts: what is sent to an upstream for one request, until an answer stands or none will come.
//
//   run        attempts until one stands (policy/retry.h decides, the budget allows)
//   attempted  one attempt, or two when hedging
//   attempt    endpoint, connection, request, head of the response
//
// The breaker stands inside the retry: each attempt asks it and reports to it, so a breaker that
// opens ends the retries. What became of it all is in outcome(): a response whose head is there and
// whose body is still to be read, or an error.
//
// Who sends is either an Exchange, for its client, or an Execution, which holds an idempotency key
// and outlives its client: it comes with a Keeper.
//
// Contract: single-threaded. Destroying a running task, then this, gives everything back: permits,
// connections; what was under way is recorded as cancelled.
#pragma once

#include <array>
#include <optional>
#include <string_view>
#include <vector>

#include "holdfast/proxy/attempt.h"
#include "holdfast/proxy/cluster.h"
#include "holdfast/proxy/downstream.h"
#include "holdfast/runtime/task.h"

namespace holdfast::proxy {

/// The request that attempts send: the client's own, or a copy that outlives it.
struct Outgoing {
  const http::RequestHead& head;
  RequestBody& body;
  std::string_view request_id;
  std::string_view client_ip = {};  // "" for a unix socket
  bool client_trusted = false;
  bool over_tls = false;                     // the client's connection
  std::string_view client_certificate = {};  // ClientIdentity::forwarded, or ""
  Transaction* client = nullptr;  // hears of informational responses; nullptr: nobody does
};

/// What a keyed execution adds (idempotency §2.7, §2.9, §2.11): every attempt has a connection of
/// its own and is allowed anew; once sent, only `execution_end` cuts it; nothing is sent again that
/// may have run, unless the upstream honours the key.
class Keeper {
 public:
  virtual ~Keeper() = default;
  /// Asked before the first byte of each attempt. An error: it is not sent.
  virtual runtime::Task<Result<void, Error>> may_send() = 0;
  /// The first byte of an attempt is with the kernel. From within the attempt: must not wake
  /// anybody at once.
  virtual void sent() = 0;

  TimePoint execution_end = never;
  bool upstream_honours_key = false;
};

class Attempts {
 public:
  /// `started`: when the request began. References outlive it.
  Attempts(Generation& generation, const RouteState& route, const Outgoing& outgoing,
           std::optional<Duration> client_deadline, TimePoint started, Services& services,
           Keeper* keeper = nullptr);
  Attempts(const Attempts&) = delete;
  Attempts& operator=(const Attempts&) = delete;
  ~Attempts();

  runtime::Task<void> run();
  /// Instead of run(): the outcome is an error that came before, after `count` attempts.
  void fail(const Error& error, std::optional<Duration> retry_after, int count);
  /// REQUIRES: run() or fail() was called.
  Attempt& outcome() { return *slots_[outcome_]; }
  const Attempt& outcome() const { return *slots_[outcome_]; }

  /// One attempt at another upstream, beside the outcome of run(), within what is left of the time.
  /// It stays until forget_other(); nullptr: that upstream's breaker is not closed.
  Attempt* begin_other(Cluster& cluster);
  runtime::Task<void> attempt(Attempt& attempt);
  void forget_other();

  /// The client has gone: nobody hears of informational responses any more.
  void forget_client() { outgoing_.client = nullptr; }

  /// Attempts made, at any upstream.
  int count() const { return count_; }
  /// True if a byte of a request may have been acted upon.
  bool sent() const { return sent_; }
  /// True if that holds for an attempt before the last one.
  bool doubtful() const { return doubtful_; }
  /// True for a failure that says nothing about the upstream (contract §2, Conditions): one of our
  /// own making, or a time that was over for a client that may have gone: it has sent its FIN.
  bool says_nothing(const Error& error) const;
  bool method_listed() const;
  std::string_view wanted_upgrade() const;
  Duration left_of_total() const;
  TimePoint total_deadline() const { return total_deadline_; }
  TimePoint stream_deadline() const { return stream_deadline_; }
  /// When the attempt under way, and the exchange, have had their time: per_try and total.
  TimePoint client_deadline(const Attempt& attempt) const;

  // -- for the record
  /// The last failure; "" after an answer.
  std::string_view error_name() const { return error_name_; }
  /// The upstream and the endpoint of the last attempt; nullptr and "" without one.
  const Cluster* cluster() const { return cluster_; }
  std::string_view endpoint() const {
    const PoolPin& pool = last_ != nullptr ? last_->pool : endpoint_;
    return pool ? pool->text() : std::string_view();
  }

 private:
  runtime::Task<void> attempted();
  runtime::Task<void> hedged();
  runtime::Task<void> pause_until(TimePoint at);
  runtime::Task<void> connect(Attempt& attempt, bool fresh);
  runtime::Task<void> round_trip(Attempt& attempt);
  runtime::Task<void> upload(Attempt& attempt);
  runtime::Task<void> read_head(Attempt& attempt, TimePoint deadline);

  void start_clocks(TimePoint at);
  Attempt& begin(Cluster& cluster);
  bool admit(Attempt& attempt);
  std::optional<std::uint64_t> key_for(const Cluster& cluster) const;
  void drop(std::optional<Attempt>& slot);
  bool grant_retry(Attempt& last, Duration& delay);
  bool may_hedge() const;
  bool stands(const Attempt& attempt) const;
  void send_request(Attempt& attempt);
  void finish(Attempt& attempt);
  std::string_view host_for(const Attempt& attempt, std::string& buffer) const;
  std::optional<Duration> deadline_to_tell() const;
  TimePoint deadline_of(const Attempt& attempt) const;
  /// The longest silence while a request goes out; a keyed one that was sent is not cut by it.
  std::optional<Duration> patience() const;
  bool keyed() const { return keeper_ != nullptr; }
  bool is_tunnel() const { return outgoing_.head.method == http::Method::connect; }
  TimePoint now() const { return services_.context.now(); }

  Generation& generation_;
  const RouteState& route_;
  Outgoing outgoing_;
  Services& services_;
  Keeper* const keeper_;

  const std::optional<Duration> client_deadline_;  // of deadline_header
  TimePoint total_deadline_ = never;               // once the clocks run
  std::optional<TimePoint> clocks_started_at_;
  const TimePoint stream_deadline_;

  std::array<std::optional<Attempt>, 2> slots_;
  std::size_t outcome_ = 0;
  int count_ = 0;
  bool sent_ = false;
  bool doubtful_ = false;
  bool hedging_ = false;
  std::vector<PoolPin> tried_;
  std::string_view error_name_;
  const Cluster* cluster_ = nullptr;
  const Attempt* last_ = nullptr;  // that was begun; nullptr once it is dropped
  PoolPin endpoint_;               // of the last one that was dropped
};

}  // namespace holdfast::proxy
