// NameServer: what the names of endpoints stand for, and every way to be told: at once, late, too
// late, not at all, another list each time, with addresses where nobody listens. A worker asks it,
// and connects, through a Reach of its own, which knows what the worker was told and judges where
// it goes:
//   - only to addresses of an answer, and not to those of one that was replaced long ago;
//   - never with an answer that is older than dns_refresh without having asked anew.
// Whoever has had an answer keeps it: knew_all() is what Monitor holds failed look-ups against.
//
// Contract: everything is drawn from its own chance; calm(): from then on it answers at once and
// well. What is known belongs to a Reach: who lets workers share it opens one for them all.
// Ownership: outlives its Reaches; a Reach outlives the proxy that uses it.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "tests/sim/ledger.h"
#include "tests/sim/scenario.h"
#include "tests/support/fake_network.h"

namespace holdfast::sim {

class NameServer {
 public:
  class Reach;

  NameServer(test::World& world, test::FakeNetwork& network, const Scenario& scenario,
             Ledger& ledger);
  ~NameServer();
  NameServer(const NameServer&) = delete;
  NameServer& operator=(const NameServer&) = delete;

  /// A worker's way to the network.
  std::unique_ptr<Reach> open(const std::string& process);
  /// True if every worker of that process had had an answer for every name of that upstream.
  bool knew_all(const std::string& process, const std::string& upstream, TimePoint when) const;
  /// True if nobody listens there, for now.
  bool is_dead(const std::string& address) const { return dead_.contains(address); }

  /// A process has begun to use a newer configuration. What it is asked by exchanges that began
  /// before, which go on with the list of endpoints that they had, cannot be told from the rest.
  void reloaded() { reloaded_ = world_.now(); }
  void change_mood();
  void calm();
  /// The network below, for what asks it without a worker.
  test::FakeNetwork& network() { return network_; }

 private:
  enum class Mood : std::uint8_t { well, slow, late, failing, flapping };
  /// What one Reach knows of one name.
  struct Known {
    struct Answer {
      TimePoint at;
      std::vector<net::Address> addresses;
    };
    std::vector<Answer> answers = {};
    TimePoint asked = TimePoint::min();
    int pending = 0;
  };

  bool serves_earlier_configuration() const;
  test::LookUpOutcome look_up(const std::string& host);
  std::vector<net::Address> some_addresses(const std::string& host);
  /// The name that an address belongs to; "" for none.
  std::string host_of(const net::Address& address) const;
  void check(const Reach& reach, const net::Address& address) const;
  bool bad() { return !calm_ && chance_.percent(trouble_); }

  test::World& world_;
  test::FakeNetwork& network_;
  const Scenario& scenario_;
  Ledger& ledger_;
  Chance chance_;
  std::map<std::string, std::string> upstreams_;                // of each name
  std::map<std::string, std::vector<net::Address>> addresses_;  // all that a name ever has
  std::map<std::string, std::vector<net::Address>> told_;       // while it does not flap
  std::map<std::string, std::vector<Reach*>> reaches_;          // by process
  std::set<std::string> dead_;
  std::optional<TimePoint> reloaded_;
  Mood mood_ = Mood::well;
  std::uint64_t trouble_ = 0;
  bool calm_ = false;
};

class NameServer::Reach final : public net::Connector, public net::Resolver {
 public:
  Reach(NameServer& owner, std::string process);
  ~Reach() override;

  runtime::Task<Result<std::unique_ptr<net::Stream>>> connect(const net::Address& address,
                                                              TimePoint deadline) override;
  runtime::Task<Result<std::vector<net::Address>>> resolve(std::string_view host,
                                                           std::uint16_t port,
                                                           TimePoint deadline) override;

 private:
  friend class NameServer;
  NameServer& owner_;
  const std::string process_;
  std::map<std::string, Known, std::less<>> known_;
};

}  // namespace holdfast::sim
