// SharedEndpoints: what must be one for the whole process and each endpoint of an upstream: which
// endpoints there are, and whether each is in service.
//
// The list may change while it is used: by a reload, and for a name by what a look-up finds (each
// of its addresses is an endpoint of its own). An endpoint that stays, by its key, keeps its state;
// one that has gone is forgotten here and lives on for those who still use it.
//
// An endpoint is in service unless it is draining (a person took it out), unhealthy (active checks
// fail) or ejected (its answers fail, policy/outlier.h); of several reasons the first in this order
// is shown. An ejection never leaves none in service: where another reason takes out the last one,
// the ejected one that is nearest to its return comes back at once, and so it is while more than
// max_ejected are out because the list has become shorter.
//
// Contract: thread-safe. A request reads without the lock: version(), calm(), available(), share();
// the lock is taken where something changes, and by a worker that has seen a new version. What is
// due by the clock (a return, the end of a slow start) happens when somebody asks: tick(). The
// listener is called on the thread that changed something, without the lock.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "holdfast/base/time.h"
#include "holdfast/net/address.h"
#include "holdfast/policy/health_check.h"
#include "holdfast/policy/outlier.h"
#include "holdfast/proxy/config.h"

namespace holdfast::proxy {

enum class EndpointState : std::uint8_t { healthy, ejected, unhealthy, draining };
std::string_view name(EndpointState state);

/// One endpoint's state, shared by the pools of all workers.
class SharedEndpoint {
 public:
  SharedEndpoint(std::string key, TimePoint now) : key_(std::move(key)), since_(now) {}

  /// "10.0.0.5:8443", "unix:/path"; for an address of a name "app.local:80 10.0.0.5:80".
  const std::string& key() const { return key_; }
  EndpointState state() const { return state_.load(std::memory_order_relaxed); }
  /// False once it has left the list, which a worker follows at its next pick only.
  bool listed() const { return listed_.load(std::memory_order_relaxed); }
  /// Its row of failures is not empty: a success has something to end.
  bool failing() const { return failing_.load(std::memory_order_relaxed); }

 private:
  friend class SharedEndpoints;
  const std::string key_;
  std::atomic<EndpointState> state_{EndpointState::healthy};
  std::atomic<bool> listed_{true};
  std::atomic<bool> failing_{false};
  /// When it came into service where others were already; never: its share is whole.
  std::atomic<TimePoint> slow_start_from_{never};
  // What follows is read and written under the lock of SharedEndpoints.
  policy::Outlier outlier_;
  policy::HealthCheck health_;
  bool unhealthy_ = false;
  bool draining_ = false;
  TimePoint since_;
  std::string ejected_why_;
  std::string unhealthy_why_;
};

/// An endpoint as a pool of connections needs it.
struct EndpointMember {
  EndpointConfig config;
  std::optional<net::Address> address;  // of a name: the one that this endpoint is
  std::shared_ptr<SharedEndpoint> shared;
};

/// The list at one moment. `configuration` counts reloads: an exchange of an earlier one goes on
/// with the list that it began with.
struct EndpointMembers {
  std::uint64_t version = 0;
  std::uint64_t configuration = 0;
  std::vector<EndpointMember> list;
};

/// An endpoint for those who ask, with why it is not in service and since when.
struct EndpointReport {
  std::string key;
  std::string url;  // as it is configured
  std::uint32_t weight = 1;
  EndpointState state = EndpointState::healthy;
  TimePoint since{};
  std::string why;                 // "" while healthy
  std::optional<TimePoint> until;  // of an ejected one
};

/// An endpoint's state has changed.
struct EndpointChange {
  std::string key;
  EndpointState from;
  EndpointState to;
  std::string why;                // "" for healthy
  std::optional<Duration> lasts;  // of an ejection
  TimePoint at{};
};

/// A name could not be looked up, or could be again. Each is told once, however often it is tried.
struct NameChange {
  std::string name;  // as in an endpoint's key: "app.local:80"
  bool found;
  std::string why;        // "" when found
  std::size_t addresses;  // in use: those of the last good answer
  TimePoint at{};
};

/// A name for those who ask.
struct NameReport {
  std::string name;
  std::size_t addresses = 0;
  std::optional<TimePoint> answered = {};       // the last good answer
  std::optional<TimePoint> failing_since = {};  // nullopt: it was found when last looked up
  std::string why = {};
};

/// Who hears of what changes, on the thread that changed it and without the lock.
struct EndpointListener {
  std::function<void(std::string_view upstream, const EndpointChange&)> state_changed;
  std::function<void()> list_changed;
  std::function<void(std::string_view upstream, const NameChange&)> name_changed = {};
};

class SharedEndpoints {
 public:
  SharedEndpoints(const UpstreamConfig& config, TimePoint now, EndpointListener listener = {});

  // -- the list
  /// A reload. Addresses found for names that stay are kept. Endpoints that are written twice are
  /// one, with the sum of their weights.
  void configure(const UpstreamConfig& config, TimePoint now);
  /// The addresses of a named endpoint (its Endpoint::text()), which take the place of those it
  /// had; without any it is one endpoint that knows no address. The order says nothing. Nothing
  /// happens to a name that is not configured (any more).
  void resolved(std::string_view endpoint, const std::vector<net::Address>& addresses,
                TimePoint now);
  /// A look-up of that name has failed: its addresses stay.
  void not_found(std::string_view endpoint, std::string_view why, TimePoint now);
  struct Resolved {
    std::vector<net::Address> addresses;
    TimePoint at{};
  };
  /// What was told of a name last, by any worker.
  std::optional<Resolved> known(std::string_view endpoint) const;
  /// Grows with each change of the list.
  std::uint64_t version() const { return version_.load(std::memory_order_acquire); }
  std::shared_ptr<const EndpointMembers> members() const;

  // -- states
  /// True while every endpoint is in service with its whole share: none needs to be looked at.
  bool calm() const { return calm_.load(std::memory_order_relaxed); }
  /// Too few are in service: all are used but those that are draining.
  bool panic() const { return panic_.load(std::memory_order_relaxed); }
  bool available(const SharedEndpoint& endpoint) const {
    const EndpointState state = endpoint.state();
    return state == EndpointState::healthy || (panic() && state != EndpointState::draining);
  }
  /// Of its weight, in percent.
  std::uint32_t share(const SharedEndpoint& endpoint, TimePoint now) const;
  /// Brings back what is due. Cheap while nothing is.
  void tick(TimePoint now);
  /// An attempt that began at `began` has ended. `what` names a failure ("503", "dns_error").
  void record(SharedEndpoint& endpoint, policy::Outlier::Outcome outcome, TimePoint began,
              TimePoint now, std::string_view what);
  /// An active check has ended; `what` is its status or the name of its error.
  void checked(SharedEndpoint& endpoint, bool passed, std::string_view what, TimePoint now);
  policy::HealthOptions health() const;
  /// Takes a listed endpoint out by hand, or puts back what is out. False: there is none.
  bool drain(std::string_view key, bool draining, TimePoint now);
  std::vector<EndpointReport> report(TimePoint now);
  std::vector<NameReport> names() const;
  /// Since the start, of endpoints that were here at any time.
  std::uint64_t ejections() const { return ejections_.load(std::memory_order_relaxed); }
  std::uint64_t checks_passed() const { return passed_.load(std::memory_order_relaxed); }
  std::uint64_t checks_failed() const { return failed_.load(std::memory_order_relaxed); }

 private:
  using Changes = std::vector<EndpointChange>;
  struct Trouble {
    std::string why;
    TimePoint since{};
  };

  // -- under the lock
  void rebuild(TimePoint now, Changes& changes);
  policy::EndpointCensus census() const;
  void forget_checks(TimePoint now, Changes& changes);
  static std::string_view why(const SharedEndpoint& endpoint);
  static void show(SharedEndpoint& endpoint, TimePoint now, Changes& changes);
  void return_due(TimePoint now, Changes& changes);
  void settle(TimePoint now, Changes& changes);
  void readmit_one(TimePoint now, Changes& changes);
  static void take_out(SharedEndpoint& endpoint, bool& reason, bool out, TimePoint now,
                       Changes& changes);
  bool lists(const SharedEndpoint& endpoint) const;
  bool has_name(std::string_view endpoint) const;
  void publish(TimePoint now);

  void tell(const Changes& changes) const;

  const std::string upstream_;
  const EndpointListener listener_;
  mutable std::mutex mutex_;
  policy::OutlierOptions outlier_;
  policy::HealthOptions health_;
  std::vector<EndpointConfig> configured_;
  std::map<std::string, Resolved, std::less<>> resolved_;
  std::map<std::string, Trouble, std::less<>> troubles_;  // of names not found when last looked up
  /// Taken out by hand: an address of a name stays so while its name does not give it, and a
  /// configured endpoint as long as it is configured.
  std::set<std::string> drained_;
  std::shared_ptr<const EndpointMembers> members_;
  std::uint64_t configuration_ = 0;
  std::atomic<std::uint64_t> version_{0};
  std::atomic<bool> calm_{true};
  std::atomic<bool> panic_{false};
  std::atomic<TimePoint> next_event_{never};
  std::atomic<Duration> slow_start_{Duration::zero()};  // zero: off
  std::atomic<std::uint64_t> ejections_{0};
  std::atomic<std::uint64_t> passed_{0};
  std::atomic<std::uint64_t> failed_{0};
};

}  // namespace holdfast::proxy
