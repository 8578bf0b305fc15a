// SharedEndpoints: what must be one for the whole process and each endpoint of an upstream: which
// endpoints there are, and whether each is in service.
//
// The list may change while it is used: by a reload, and for a name by what a look-up finds (each
// of its addresses is an endpoint of its own). An endpoint that stays, by its key, keeps its state;
// one that has gone is forgotten here and lives on for those who still use it.
//
// Contract: thread-safe. A request reads without the lock: version(), calm(), available(). The lock
// is taken where something changes, and by a worker that has seen a new version.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "holdfast/base/time.h"
#include "holdfast/net/address.h"
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

 private:
  friend class SharedEndpoints;
  const std::string key_;
  std::atomic<EndpointState> state_{EndpointState::healthy};
  // What follows is read and written under the lock of SharedEndpoints.
  bool draining_ = false;
  TimePoint since_;
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
  std::uint32_t weight = 1;
  EndpointState state = EndpointState::healthy;
  TimePoint since{};
};

class SharedEndpoints {
 public:
  explicit SharedEndpoints(const UpstreamConfig& config, TimePoint now);

  // -- the list
  /// A reload. Addresses found for names that stay are kept. Endpoints that are written twice are
  /// one, with the sum of their weights.
  void configure(const UpstreamConfig& config, TimePoint now);
  /// The addresses of a named endpoint (its Endpoint::text()), which take the place of those it
  /// had; without any it is one endpoint that knows no address. Nothing happens to a name that is
  /// not configured (any more).
  void resolved(std::string_view endpoint, const std::vector<net::Address>& addresses,
                TimePoint now);
  /// Grows with each change of the list.
  std::uint64_t version() const { return version_.load(std::memory_order_acquire); }
  std::shared_ptr<const EndpointMembers> members() const;

  // -- states
  /// True while every endpoint is in service: none needs to be looked at.
  bool calm() const { return calm_.load(std::memory_order_relaxed); }
  bool available(const SharedEndpoint& endpoint) const {
    return endpoint.state() == EndpointState::healthy;
  }
  /// Takes an endpoint out of service by hand, or puts it back. False: there is none of that key.
  bool drain(std::string_view key, bool draining, TimePoint now);
  std::vector<EndpointReport> report() const;

 private:
  void rebuild(TimePoint now);
  void show(SharedEndpoint& endpoint, TimePoint now);
  void publish();

  mutable std::mutex mutex_;
  std::vector<EndpointConfig> configured_;
  std::map<std::string, std::vector<net::Address>, std::less<>> resolved_;
  std::shared_ptr<const EndpointMembers> members_;
  std::uint64_t configuration_ = 0;
  std::atomic<std::uint64_t> version_{0};
  std::atomic<bool> calm_{true};
};

}  // namespace holdfast::proxy
