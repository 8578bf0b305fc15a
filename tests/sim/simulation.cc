#include "tests/sim/simulation.h"

#include <list>
#include <memory>
#include <utility>

#include "tests/sim/client.h"
#include "tests/sim/faulty_store.h"
#include "tests/sim/judge.h"
#include "tests/sim/ledger.h"
#include "tests/sim/names.h"
#include "tests/sim/replica.h"
#include "tests/sim/scenario.h"
#include "tests/sim/tls_link.h"
#include "tests/sim/upstream.h"
#include "tests/sim/wellness.h"

namespace holdfast::sim {
namespace {

/// Longer than everything that may still go on when the faults have ended: a client that reads
/// nothing is left after 30 s.
constexpr Duration rest = 36s;
/// ... and than what active checks need to find everybody well.
constexpr Duration recovery = 3s;

class Simulation {
 public:
  Simulation(std::uint64_t seed, Transport transport)
      : scenario_(seed, transport == Transport::tls),
        chance_(seed ^ 0x5eed0003),
        world_(seed ^ 0x5eed0004),
        frames_before_(runtime::live_frames()) {
    for (std::size_t i = 0; i < scenario_.replicas; ++i) {
      TlsLinks* const tls = scenario_.over_tls ? &tls_ : nullptr;
      replicas_.push_back(
          std::make_unique<Replica>(world_, names_, store_, scenario_, ledger_, i, tls));
    }
  }

  Outcome run() {
    world_.on_rest = [this] {
      for (const auto& replica : replicas_) replica->must_be_sound();
    };
    plan();
    world_.pass(scenario_.active);
    calm_down();
    world_.pass(rest);
    for (const auto& client : clients_) client->must_be_over();
    ask_for_every_key();
    ask_every_replica();
    end();
    judge(scenario_, ledger_);
    return {ledger_.violations(), ledger_.text(), ledger_.requests()};
  }

 private:
  void plan() {
    for (int i = 0; i < scenario_.clients; ++i) {
      world_.schedule(chance_.between(0us, scenario_.active), [this] { client_comes(); });
    }
    for (const Happening& happening : scenario_.happenings) {
      world_.schedule(happening.at, [this, happening] { happen(happening); });
    }
  }

  Client* connect(Replica& replica) {
    const Approach approach = replica.connect(chance_);
    if (!approach.peer) return nullptr;
    clients_.push_back(std::make_unique<Client>(world_, scenario_, ledger_,
                                                chance_.below(~std::uint64_t{0}), approach));
    return clients_.back().get();
  }

  void client_comes() {
    Client* client = connect(*replicas_[chance_.below(replicas_.size())]);
    if (client != nullptr) client->begin();
  }

  void happen(const Happening& happening) {
    Replica& replica = *replicas_[happening.replica];
    switch (happening.kind) {
      case Happening::Kind::mood:
        return upstream_.change_mood();
      case Happening::Kind::names:
        return names_.change_mood();
      case Happening::Kind::store_outage:
        return store_.cut_for(chance_.between(10ms, 600ms));
      case Happening::Kind::store_cut:
        return store_.cut_one_for(happening.replica, chance_.between(100ms, 1500ms));
      case Happening::Kind::reload:
        return replica.reload(next_config(scenario_, chance_));
      case Happening::Kind::drain:
        return replica.drain();
      case Happening::Kind::crash:
        return replica.crash();
      case Happening::Kind::pause:
        ledger_.note("everything stands still");
        return world_.stand_still(scenario_.pauses);
      case Happening::Kind::wall_jump:
        ledger_.note("the wall clock jumps");
        return world_.jump_wall(chance_.between(-3600s, 3600s));
      case Happening::Kind::health:
        for (const auto& one : replicas_) one->must_know_the_ill(wellness_);
        return wellness_.change();
      case Happening::Kind::take_out:
        return replica.take_endpoint_out(chance_);
    }
  }

  void calm_down() {
    for (const auto& replica : replicas_) replica->must_know_the_ill(wellness_);
    upstream_.calm();
    wellness_.calm();
    tls_.calm();
    names_.calm();
    store_.calm();
    ledger_.add({.kind = testing::Event::Kind::calm});
    for (const auto& replica : replicas_) replica->put_endpoints_back();
    world_.schedule(recovery, [this] {
      for (const auto& replica : replicas_) replica->must_be_in_service();
    });
  }

  void ask_for_every_key() {
    if (scenario_.keyed_percent == 0) return;
    for (const auto& replica : replicas_) {
      for (int key = 0; key < scenario_.hot_keys; ++key) {
        connect(*replica)->ask(keyed_question(static_cast<std::uint64_t>(key), "alice"));
      }
      world_.pass(1s);  // two replicas asked at once would be told that it is in progress
    }
    for (const auto& client : clients_) client->must_be_over();
  }

  /// By itself, everything is as before the faults.
  void ask_every_replica() {
    for (const auto& replica : replicas_) {
      Client* client = connect(*replica);
      client->ask({.method = "GET", .path = "/things"});
      world_.pass(2s);
      if (!client->was_served()) ledger_.violated("recovery", "a replica does not serve again");
    }
  }

  void end() {
    for (const auto& client : clients_) client->leave();
    world_.pass(2s);
    for (const auto& replica : replicas_) replica->must_be_idle();
    if (scenario_.over_tls) tls_.judge();
    for (const auto& replica : replicas_) replica->end();
    world_.settle();
    if (runtime::live_frames() != frames_before_) ledger_.violated("leak", "a frame is alive");
    for (const auto& peer : network_.accepted) {
      if (peer->open()) ledger_.violated("leak", "a connection to an upstream is open");
    }
  }

  const Scenario scenario_;
  Chance chance_;
  test::World world_;
  const std::size_t frames_before_;
  test::FakeNetwork network_{world_};
  Ledger ledger_{world_};
  NameServer names_{world_, network_, scenario_, ledger_};
  Wellness wellness_{world_, scenario_, ledger_};
  Upstream upstream_{world_, network_, names_, wellness_, scenario_, ledger_};
  FaultyStore store_{world_, scenario_, ledger_};
  TlsLinks tls_{world_, ledger_, scenario_.seed};
  std::vector<std::unique_ptr<Replica>> replicas_;
  std::list<std::unique_ptr<Client>> clients_;
};

}  // namespace

Outcome run(std::uint64_t seed, Transport transport) {
  return Simulation(seed, transport).run();
}

}  // namespace holdfast::sim
