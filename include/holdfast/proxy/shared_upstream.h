// SharedUpstream: what must be one for the whole process and each upstream: its breaker, its retry
// budgets, its bound on connections, its endpoints. Survives reloads as long as the upstream keeps
// its name.
//
// Contract: thread-safe. Each call takes one mutex for one call of a policy, nothing more; nothing
// waits. A closed breaker is asked without it: its permit is one number, which workers can read.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "holdfast/base/rng.h"
#include "holdfast/base/time.h"
#include "holdfast/policy/breaker.h"
#include "holdfast/policy/retry_budget.h"
#include "holdfast/proxy/config.h"
#include "holdfast/proxy/shared_endpoints.h"

namespace holdfast::proxy {

/// Up to three transitions of one call (acquire makes at most one, record at most one).
using Transitions = std::vector<policy::Breaker::Transition>;

/// A worker's wish for one connection when the bound is reached. `granted` is called once, on any
/// thread, with the place already taken for this worker and with the upstream's lock held: it must
/// only post to the worker's loop.
struct ConnectionTicket {
  std::function<void()> granted;
  bool queued = false;
};

class SharedUpstream {
 public:
  explicit SharedUpstream(const UpstreamConfig& config, TimePoint now = {},
                          EndpointListener listener = {});

  const std::string& name() const { return name_; }
  SharedEndpoints& endpoints() { return endpoints_; }

  // -- breaker
  Result<policy::Breaker::Permit, policy::Breaker::Rejected> acquire(TimePoint now,
                                                                     Transitions& transitions);
  void record(policy::Breaker::Permit permit, policy::Breaker::Outcome outcome, Duration latency,
              TimePoint now, Rng& rng, Transitions& transitions);
  /// What acquire() would refuse with.
  std::optional<policy::Breaker::Rejected> rejection(TimePoint now);
  policy::BreakerState breaker_state() const { return state_.load(std::memory_order_relaxed); }

  // -- retry budget; counts are shared by all windows in use
  /// Begins to count for budgets of that window. Idempotent.
  void count_window(Duration window);
  void record_request(TimePoint now);
  bool try_retry(const policy::RetryBudgetOptions& options, TimePoint now);

  // -- connections: the bound holds for open ones, in use or idle, over all workers
  /// Takes a place for one connection if there is one.
  bool try_open();
  /// Puts the ticket at the end of the queue; false if max_pending others wait for a connection in
  /// use to end. An idle one, or one whose answer has been read to its end, makes room at once.
  bool enqueue(ConnectionTicket& ticket);
  /// Takes a ticket out. True if it was queued still; false: it was granted (the place is the
  /// caller's).
  bool withdraw(ConnectionTicket& ticket);
  /// Gives a place back; hands it to the first ticket if any waits.
  void closed();
  bool has_waiters() const { return waiters_.load(std::memory_order_relaxed) > 0; }
  /// Called on another worker's behalf when the bound is reached while idle connections exist
  /// elsewhere: every worker that registered is asked (on any thread, with the lock held) to close
  /// idle ones.
  void on_pressure(const void* owner, std::function<void()> close_idle);
  void forget_pressure(const void* owner);

  std::atomic<std::int64_t> active_connections{0};
  std::atomic<std::int64_t> idle_connections{0};
  /// Of the active ones, those whose answer has been read to its end.
  std::atomic<std::int64_t> ending_connections{0};

  void reconfigure(const UpstreamConfig& config, TimePoint now = {});

 private:
  /// The breaker has been asked or told something: what is read without the lock is renewed.
  void publish(Transitions& transitions);
  void publish_state();
  policy::RetryBudget& budget_for(Duration window);
  std::uint64_t free_soon() const;
  /// REQUIRES: the queue is not empty and the lock is held.
  void grant_first();

  const std::string name_;
  mutable std::mutex mutex_;
  policy::Breaker breaker_;
  std::vector<policy::RetryBudget> budgets_;
  std::uint64_t max_connections_;
  std::uint64_t max_pending_;
  std::uint64_t open_ = 0;
  // Empty while a place is free: one that is given back goes to the first ticket, so that nobody
  // overtakes.
  std::list<ConnectionTicket*> queue_;
  // In the order of their coming, so that one seed of the simulator is one history.
  std::vector<std::pair<const void*, std::function<void()>>> pressure_;
  std::atomic<policy::BreakerState> state_{policy::BreakerState::closed};
  /// Of the permit that a closed breaker gives; not_closed otherwise.
  std::atomic<std::uint64_t> closed_epoch_{0};
  std::atomic<int> waiters_{0};
  SharedEndpoints endpoints_;
};

/// Every upstream by name, over all configurations that are in use.
class SharedUpstreams {
 public:
  /// Hears of every change of endpoints, on any thread. REQUIRES: before apply().
  void on_endpoint_change(EndpointListener listener) { listener_ = std::move(listener); }
  /// Brings the set in line with a configuration: makes new ones, passes new options to those that
  /// stay, forgets those whose name is gone (exchanges that still use one keep it alive).
  void apply(const Config& config, TimePoint now = {});
  std::shared_ptr<SharedUpstream> find(std::string_view name) const;
  /// That of one destination of an upstream without a fixed place: its breaker, bounds and
  /// endpoint. It lives as long as some worker uses it. `config` is the destination's own,
  /// `authority` tells it from the upstream's others.
  std::shared_ptr<SharedUpstream> destination(const UpstreamConfig& config,
                                              std::string_view authority, TimePoint now);
  std::vector<std::shared_ptr<SharedUpstream>> all() const;

  struct NamedDestination {
    std::string authority;  // as destination() was told it
    std::shared_ptr<SharedUpstream> shared;
  };
  /// The destinations of an upstream that some worker uses, by their authority.
  std::vector<NamedDestination> destinations(std::string_view upstream) const;

 private:
  EndpointListener listener_;
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<SharedUpstream>, std::less<>> upstreams_;
  struct Destination {
    std::weak_ptr<SharedUpstream> shared;
    std::vector<EndpointConfig> endpoints;
  };
  std::map<std::string, Destination, std::less<>> destinations_;
  std::map<std::string, UpstreamConfig, std::less<>> dynamic_;  // as last applied
};

}  // namespace holdfast::proxy
