// Scenario: what one seed decides before anything runs: the configuration, how many replicas,
// workers and clients there are, how well the network, the store and the upstream do, and what
// befalls them when.
//
// Contract: a value, drawn from the seed alone. What changes within a run (by a reload) is drawn by
// next_config(), which leaves alone what the invariants are measured by: bounds, budgets, identity.
#pragma once

#include <cstdint>
#include <vector>

#include "holdfast/proxy/config.h"
#include "tests/sim/chance.h"

namespace holdfast::sim {

inline constexpr Duration store_timeout = 60ms;
inline constexpr Duration drain_timeout = 400ms;
inline constexpr std::string_view keyed_path = "/pay";
inline constexpr std::string_view deadline_field = "X-Deadline";
/// What active checks ask for.
inline constexpr std::string_view health_path = "/well";
/// The endpoints of the upstream that fallbacks go to: what is done there is done without the key.
inline constexpr std::string_view backup_network = "10.0.1.";

/// Something that happens at a moment of the run.
struct Happening {
  enum class Kind : std::uint8_t {
    mood,   // the upstream changes its mood
    names,  // the name server does
    store_outage,
    store_cut,  // from one replica
    reload,
    drain,  // SIGTERM, and a new process when it has ended
    crash,  // SIGKILL, and a new process
    pause,  // nothing runs anywhere, longer than a lease perhaps
    wall_jump,
    health,   // other endpoints than before fail their checks
    take_out  // an operator takes an endpoint out of service, and puts it back
  };
  Kind kind = Kind::mood;
  Duration at{};
  std::size_t replica = 0;
};

struct StoreFaults {
  std::uint64_t late_percent = 0;     // it is done after the time-out, if at all
  std::uint64_t lost_percent = 0;     // it is done, and the answer is lost
  std::uint64_t refused_percent = 0;  // it is not done
  std::uint64_t slow_percent = 0;     // it takes a while
  bool any() const { return late_percent + lost_percent + refused_percent > 0; }
};

struct Scenario {
  explicit Scenario(std::uint64_t seed, bool with_tls = false);

  std::uint64_t seed;
  bool over_tls = false;  // to the upstream and of some clients; everything else is as without it
  proxy::Config config;
  std::size_t replicas = 1;
  std::size_t workers = 1;
  int clients = 0;
  Duration active{};  // how long clients come and faults happen
  int hot_keys = 1;
  std::uint64_t keyed_percent = 50;
  std::uint64_t keyless_percent = 0;   // of requests to the keyed route: they have no key
  std::uint64_t upgrade_percent = 0;   // of GETs: they ask for a tunnel
  std::uint64_t rude_percent = 0;      // of clients: slow, stalled, gone
  std::uint64_t bad_mood_percent = 0;  // of the upstream's moods
  bool reorders = false;               // what is sent on two connections comes in any order
  Duration client_latency{};           // at most
  Duration upstream_latency{};
  std::uint64_t store_bytes = 0;
  StoreFaults store;
  Duration pauses{};  // all of them together
  std::vector<Happening> happenings;

  const proxy::RouteConfig& keyed_route() const { return config.routes.front(); }
  const proxy::RouteConfig& plain_route() const { return config.routes.back(); }
  const policy::IdempotencyOptions& keys() const { return keyed_route().idempotency; }
  /// A request to the keyed route without a key gets one that is made of its content.
  bool generates_keys() const { return keys().missing_key == policy::MissingKey::generate; }
  bool allows_tunnels() const { return !plain_route().upgrade.empty(); }
  /// Some upstream is asked whether it is well.
  bool checks_health() const;
  /// Without its store a keyed request is sent on without protection.
  bool fails_open() const { return keys().on_store_error == policy::OnStoreFailure::open; }
  bool crashes() const;
  bool reloads() const;
  bool store_may_fail() const;
  bool store_may_fill() const { return store_bytes < plenty; }

  static constexpr std::uint64_t plenty = 1 << 20;

 private:
  void vary_keys(Chance& chance);
  void name_endpoints(Chance& chance);
  void allow_tunnels(Chance& chance);
  void eject_endpoints(Chance& chance);
  void eject_addresses(Chance& chance);
  void check_health(Chance& chance);
  void take_endpoints_out(Chance& chance);
};

/// A configuration that a reload may bring.
proxy::Config next_config(const Scenario& scenario, Chance& chance);

}  // namespace holdfast::sim
