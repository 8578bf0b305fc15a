#include "tests/sim/simulation.h"

#include <list>
#include <memory>
#include <set>
#include <utility>

#include "holdfast/base/digest.h"
#include "holdfast/policy/idempotency_key.h"
#include "tests/sim/client.h"
#include "tests/sim/faulty_store.h"
#include "tests/sim/ledger.h"
#include "tests/sim/replica.h"
#include "tests/sim/scenario.h"
#include "tests/sim/upstream.h"

namespace holdfast::sim {
namespace {

/// Longer than everything that may still go on when the faults have ended: a client that reads
/// nothing is left after 30 s.
constexpr Duration rest = 36s;

class Simulation {
 public:
  explicit Simulation(std::uint64_t seed)
      : scenario_(seed),
        chance_(seed ^ 0x5eed0003),
        world_(seed ^ 0x5eed0004),
        frames_before_(runtime::live_frames()) {
    for (std::size_t i = 0; i < scenario_.replicas; ++i) {
      replicas_.push_back(
          std::make_unique<Replica>(world_, network_, store_, scenario_, ledger_, i));
    }
  }

  Outcome run() {
    plan();
    world_.pass(scenario_.active);
    calm_down();
    world_.pass(rest);
    for (const auto& client : clients_) client->must_be_over();
    ask_for_every_key();
    end();
    judge();
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
    auto peer = replica.connect(chance_);
    if (!peer) return nullptr;
    clients_.push_back(std::make_unique<Client>(world_, scenario_, ledger_,
                                                chance_.below(~std::uint64_t{0}), std::move(peer)));
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
    }
  }

  void calm_down() {
    upstream_.calm();
    store_.calm();
    ledger_.add({.kind = testing::Event::Kind::calm});
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

  void end() {
    for (const auto& client : clients_) client->leave();
    world_.pass(2s);
    for (const auto& replica : replicas_) replica->must_be_idle();
    for (const auto& replica : replicas_) replica->end();
    world_.settle();
    if (runtime::live_frames() != frames_before_) ledger_.violated("leak", "a frame is alive");
    for (const auto& peer : network_.accepted) {
      if (peer->open()) ledger_.violated("leak", "a connection to an upstream is open");
    }
  }

  void judge() {
    ledger_.compare_counts();
    starts_are_few();
    testing::Promises promises;
    const policy::IdempotencyOptions& options = scenario_.keyed_route().idempotency;
    promises.reexecutes = options.on_unknown == policy::OnUnknown::reexecute;
    promises.store_may_fail = scenario_.store_may_fail();
    promises.store_may_fill = scenario_.store_may_fill();
    promises.largest_kept = options.max_response_bytes;
    promises.calm_within = 10s;  // queues of what the faults have held up come first
    for (const testing::Violation& found : testing::check(ledger_.events(), promises)) {
      // An answer that its store did not take is told again from memory, by its own process alone:
      // where unknown keys run again, another process may run this one, or be refused and free it.
      const bool told_by_one = promises.reexecutes && ledger_.was_unrecorded(id_of(found.key));
      const bool of_what_was_told =
          found.invariant == "I4" || found.invariant == "I6" || found.invariant == "I8";
      if (told_by_one && of_what_was_told) continue;
      ledger_.violated(found.invariant, found.key + ": " + found.what);
    }
  }

  /// The beginning of the id of the record of "WHO:KEY", as holdfast tells it.
  std::string id_of(const std::string& identity) const {
    const policy::IdempotencyOptions& options = scenario_.keyed_route().idempotency;
    const std::size_t colon = identity.find(':');
    const std::string who = identity.substr(0, colon);
    const policy::Scope scope = policy::scope_of(
        options.scope, [&](std::string_view) { return std::vector<std::string_view>{who}; });
    const Digest id =
        policy::record_id(options.name_space, scope.digest, "POST", identity.substr(colon + 1));
    return hex(id).substr(0, 12);
  }

  /// A request without a key runs as often as its method allows.
  void starts_are_few() {
    constexpr int fallbacks = 2;
    const int attempts = scenario_.plain_route().retry.attempts;
    for (const testing::Event& event : ledger_.events()) {
      if (event.kind != testing::Event::Kind::send || !event.key.empty()) continue;
      const bool once = event.payload.starts_with("POST");
      // Each attempt may meet a pooled connection that has closed, and be sent again.
      const int most = once ? 1 : 2 * (attempts + fallbacks);
      const int starts = ledger_.starts_of(event.request);
      if (starts <= most) continue;
      ledger_.violated("retries", "#" + std::to_string(event.request) + " ran " +
                                      std::to_string(starts) + " times");
    }
  }

  const Scenario scenario_;
  Chance chance_;
  test::World world_;
  const std::size_t frames_before_;
  test::FakeNetwork network_{world_};
  Ledger ledger_{world_};
  Upstream upstream_{world_, network_, scenario_, ledger_};
  FaultyStore store_{world_, scenario_, ledger_};
  std::vector<std::unique_ptr<Replica>> replicas_;
  std::list<std::unique_ptr<Client>> clients_;
};

}  // namespace

Outcome run(std::uint64_t seed) {
  return Simulation(seed).run();
}

}  // namespace holdfast::sim
