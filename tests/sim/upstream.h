// Upstream: the far ends of all connections that the replicas make, with every mood that a service
// can be in: it answers, late, refuses, fails, says half of it, says nonsense, stands still, closes
// at any byte. What it did, it tells the ledger before it answers. Where it honours keys, it runs a
// key once, whatever becomes of the answer, and says the same again to whoever comes with it.
//
// Contract: everything is drawn from its own chance. calm(): from then on new connections are
// accepted at once and every request is answered. Outlives the replicas.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "tests/sim/ledger.h"
#include "tests/sim/message.h"
#include "tests/sim/names.h"
#include "tests/sim/scenario.h"
#include "tests/sim/tunnel.h"
#include "tests/sim/wellness.h"
#include "tests/support/fake_network.h"

namespace holdfast::sim {

/// What an upstream says for each run: a text that no other run has.
std::string answer_of(const Run& run, std::size_t size);

class Upstream {
 public:
  Upstream(test::World& world, test::FakeNetwork& network, const NameServer& names,
           Wellness& wellness, const Scenario& scenario, Ledger& ledger);

  /// Another mood, for all endpoints.
  void change_mood();
  void calm();

 private:
  enum class Mood : std::uint8_t { well, busy, failing, refusing, silent, broken };
  struct Connection {
    std::shared_ptr<test::Peer> peer;
    MessageReader reader = {};
    bool deaf = false;  // it looks at nothing more
    std::uint64_t answers = 0;
    std::unique_ptr<TunnelEnd> tunnel = {};
  };
  /// One answer, and what becomes of it on its way.
  struct Answer {
    std::string bytes = {};
    std::size_t cut_at = std::string::npos;
    bool reset = false;   // at the cut, or at the end
    bool finish = false;  // at the end
    Duration delay{};
    std::size_t piece = 1 << 16;
  };

  test::ConnectOutcome connected(const std::string& address);
  void accepted(test::Peer& peer);
  void read(Connection& connection);
  void half_read(Connection& connection);
  void execute(Connection& connection, const Message& request);
  void answer_check(Connection& connection);
  /// What it has begun to execute.
  Run& begin(const Connection& connection, const Message& request, std::string payload);
  /// It is told no more time than its client has, or its route gives it.
  void judge_deadline(const Run& run, const Message& request);
  void conclude(Run& run);
  Answer answer(Run& run, const Message& request);
  /// The request asks for a tunnel. True: it gets one, or something like it.
  bool upgraded(Connection& connection, Run& run, const Message& request);
  void open_tunnel(Connection& connection, Run& run);
  void spoil(Answer& answer);
  void say(Connection& connection, const Answer& answer);
  void close(Connection& connection);
  bool bad() { return !calm_ && chance_.percent(trouble_); }

  test::World& world_;
  const NameServer& names_;
  Wellness& wellness_;
  const Scenario& scenario_;
  Ledger& ledger_;
  Chance chance_;
  std::list<Connection> connections_;
  std::map<std::string, std::uint64_t> runs_;  // by key and content, of one that honours keys
  Mood mood_ = Mood::well;
  std::uint64_t trouble_ = 0;
  bool calm_ = false;
};

}  // namespace holdfast::sim
