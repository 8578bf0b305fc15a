// Attempt: one request sent, or tried to be sent, to one endpoint: the breaker's permit and the
// connection it holds, and what became of it.
//
// Contract: single-threaded, filled by the stages of an Exchange. What it holds goes back by its
// destructor: a permit that nobody settled counts neither way, a lease that nobody released is
// closed.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "holdfast/proxy/cluster.h"
#include "holdfast/proxy/request_body.h"

namespace holdfast::proxy {

/// One attempt: what it holds and what became of it. Its destructor gives everything back.
class Attempt {
 public:
  Attempt(Cluster& cluster, Services& services) : cluster_(cluster), services_(services) {}
  Attempt(const Attempt&) = delete;
  Attempt& operator=(const Attempt&) = delete;
  ~Attempt() { settle(policy::Breaker::Outcome::ignored); }

  /// Asks the breaker, then for an endpoint, rather one that is not among `tried`. False: the
  /// breaker is not closed, or no endpoint is in service, and error is set.
  bool admit(std::span<const PoolPin> tried, std::optional<std::uint64_t> key, TimePoint now);
  /// Chooses an endpoint, perhaps anew. False: none is in service, and error is set.
  bool pick(std::span<const PoolPin> tried, std::optional<std::uint64_t> key);
  /// Tells the breaker and the endpoint how the call ended; the first word counts.
  void settle(policy::Breaker::Outcome outcome);
  /// What settle() shall say of a failure.
  void settle_failure(ErrorType type);
  /// Tells the Observer about the attempt; the first call counts. Neither a status nor an error:
  /// cancelled.
  void record(http::Method method);

  /// Reads what has arrived of the response's body into the lease's parser. True if that is its
  /// end. Sets `error` if it can never be complete. REQUIRES: has_response().
  bool read_body();
  /// The response has failed after its head: the breaker is told, the connection closes.
  void give_up();
  /// The response has been read to its end: its connection goes back to the pool if it may carry
  /// another exchange.
  void hand_back();
  /// Drops an answer that the client will not get. If all of it has come, its connection stays
  /// usable.
  void let_go();

  /// Why it failed, in the words of metrics: the group of its error, or its status.
  std::string failure_name() const;
  /// The same in the log's words: the name of its error, or its status.
  std::string failure() const;

  Cluster& cluster() const { return cluster_; }
  bool has_response() const { return status != 0; }
  bool is_probe() const { return permit_ && permit_->probe; }

  PoolPin pool;  // before the lease, which goes back to it
  Lease lease;
  bool begun = false;
  TimePoint started{};
  Duration latency{};
  int status = 0;                             // of the response whose head the lease's parser holds
  std::optional<Error> error;                 // the attempt failed
  std::optional<BodyFailure> client_failure;  // the client's body failed: the exchange is over
  std::optional<Duration> retry_after;        // when an open breaker may admit again
  runtime::Task<void> uploading;  // of the body, where it goes on beside the answer; uses the lease
  bool request_sent = false;      // all of the request is with the kernel
  bool single_use = false;        // its connection carries no other exchange
  bool stale = false;             // a pooled connection that had closed meanwhile

 private:
  void report(const Transitions& transitions);
  void tell_endpoint(policy::Breaker::Outcome outcome);

  Cluster& cluster_;
  Services& services_;
  std::optional<policy::Breaker::Permit> permit_;
  bool recorded_ = false;
};

}  // namespace holdfast::proxy
