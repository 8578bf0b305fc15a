// What becomes of a key, whatever happens to its execution and whenever: the record, and how often
// the upstream was reached.
#include "holdfast/proxy/execution.h"

#include <doctest/doctest.h>

#include <functional>

#include "tests/support/keyed_fixture.h"

namespace holdfast::test {
namespace {

using namespace std::chrono_literals;
using policy::Command;
using Kind = store::StoreError::Kind;

/// An exchange each of whose steps has a moment of its own: claim, connect, send, answer, complete.
class History : public KeyedFixture {
 public:
  explicit History(bool slow_store = false) : History(Command::claim, std::nullopt, slow_store) {}
  /// One operation of that command ends so.
  History(Command command, std::optional<StoreAnswer> failure, bool slow_store = false) {
    store.otherwise = slow_store ? ScriptedStore::slow(2ms) : ScriptedStore::late(2ms);
    if (failure) store.script(command, *failure);
    network.script("10.0.0.1:80", {ConnectOutcome::Kind::accept, 3ms});
    upstream_always(answer(201, "done"), 5ms);
    client = client_sends(keyed_post());
  }
  /// So many steps. False: all was over before.
  bool run(int steps) {
    for (int n = 0; n < steps; ++n) {
      if (executions->running() == 0 && !client->received().empty()) return false;
      world.step();
    }
    return true;
  }
  /// What was going on has come to its end, and the store is well.
  void come_to_rest() {
    store.comes_up();
    client->reset();
    world.pass(3min);
    CHECK(executions->running() == 0);
  }
  /// The process is killed, and another one starts.
  void dies() {
    clients->cut();
    world.settle();
    executions = std::make_unique<proxy::Executions>(services, store, board, "there");
    services.executions = executions.get();
    store.comes_up();
    board.detached = 0;
    seen.keys_inflight = seen.keys_detached = 0;
  }
  /// Asks again, when all is well.
  std::string repeat() {
    upstream_always(answer(201, "done"));
    const auto again = client_sends(keyed_post());
    world.pass(1s);
    return again->received();
  }

  std::shared_ptr<Peer> client;
};

/// Something that happens to a History.
struct Event {
  const char* name;
  std::function<void(History&)> happens;
};

const Event events[] = {
    {"nothing", [](History&) {}},
    {"the client goes", [](History& history) { history.client->reset(); }},
    {"the upstream goes",
     [](History& history) {
       history.network.script("10.0.0.1:80", {ConnectOutcome::Kind::fail});
       for (const auto& peer : history.network.accepted) peer->reset();
     }},
    {"the upstream is silent",
     [](History& history) {
       history.network.on_accept = nullptr;
       for (const auto& peer : history.network.accepted) peer->on_change = nullptr;
     }},
    {"the store goes down", [](History& history) { history.store.goes_down(); }},
    {"the store hangs", [](History& history) { history.store.goes_down(Kind::timeout); }},
    {"the store is full", [](History& history) { history.store.goes_down(Kind::full); }},
    {"the store carries out and says nothing",
     [](History& history) { history.store.otherwise = ScriptedStore::lost(1ms); }},
    {"time passes", [](History& history) { history.world.pass(20s); }},
};

/// After anything at all: an upstream that was reached is never reached again, one that was not
/// runs the request when it is asked again.
void check_at_most_once(History& history) {
  history.come_to_rest();
  const int starts = history.starts();
  const std::string state = history.state();
  CAPTURE(starts);
  CAPTURE(state);
  CHECK(starts <= 1);
  if (starts == 1)
    CHECK((state == "completed" || state == "unknown" || state == "gone" || state == "expired"));
  const std::string again = history.repeat();
  CAPTURE(again);
  CHECK(history.starts() <= 1);
  if (state == "absent" || state == "revoked") {
    CHECK(starts == 0);
    CHECK(history.starts() == 1);
    CHECK(status_of(again) == 201);
  }
  if (state == "completed") CHECK(field_of(again, "Idempotent-Replayed") == "true");
  if (state == "unknown" || state == "expired" || state == "gone") CHECK(status_of(again) == 409);
}

TEST_CASE("one thing goes wrong, at any moment: an order is never run twice, and no key is lost") {
  for (const Event& event : events) {
    for (const bool slow : {false, true}) {
      for (int step = 0;; ++step) {
        History history(slow);
        const bool reached = history.run(step);
        if (!reached) break;
        CAPTURE(event.name);
        CAPTURE(slow);
        CAPTURE(step);
        event.happens(history);
        check_at_most_once(history);
        // Only what was sent may be in doubt: an exchange that sent nothing gives its key back.
        if (history.starts() == 0) CHECK(history.store.state(history.id()) != "expired");
      }
    }
  }
}

TEST_CASE("two things go wrong, at any two moments: an order is never run twice") {
  constexpr int last_step = 12;
  for (const Event& first : events) {
    for (const Event& second : events) {
      for (int step = 0; step < last_step; ++step) {
        for (const int more : {0, 1, 2, 4}) {
          History history;
          if (!history.run(step)) break;
          CAPTURE(first.name);
          CAPTURE(second.name);
          CAPTURE(step);
          CAPTURE(more);
          first.happens(history);
          for (int n = 0; n < more; ++n) history.world.step();
          second.happens(history);
          check_at_most_once(history);
        }
      }
    }
  }
}

TEST_CASE("one operation of the store fails, whichever and however: never twice, never lost") {
  const StoreAnswer failures[] = {
      ScriptedStore::fails(Kind::unavailable),
      ScriptedStore::fails(Kind::timeout, 100ms),
      ScriptedStore::fails(Kind::refused),
      ScriptedStore::fails(Kind::full),
      ScriptedStore::lost(100ms),
      {.effect = StoreAnswer::Effect::last, .delay = 100ms, .error = Kind::timeout}};
  for (const Command command : {Command::claim, Command::peek, Command::renew, Command::complete,
                                Command::tombstone, Command::release, Command::mark_unknown}) {
    for (const StoreAnswer& failure : failures) {
      for (const Event& event : events) {
        for (const int step : {2, 4, 6}) {
          History history(command, failure);
          CAPTURE(policy::name(command));
          CAPTURE(event.name);
          CAPTURE(step);
          history.run(step);
          event.happens(history);
          check_at_most_once(history);
        }
      }
    }
  }
}

TEST_CASE("the process dies, at any moment: what it had claimed is never run again") {
  for (int step = 0;; ++step) {
    History history;
    const bool reached = history.run(step);
    if (!reached) break;
    CAPTURE(step);
    history.dies();
    const std::string state = history.state();
    CAPTURE(state);
    CHECK((state == "absent" || state == "inflight" || state == "completed"));
    const int starts = history.starts();
    if (state == "absent") CHECK(starts == 0);
    history.world.pass(15s);  // the lease
    const std::string again = history.repeat();
    CHECK(history.starts() == (state == "absent" ? 1 : starts));
    if (state == "inflight") CHECK(field_of(again, "Idempotency-Status") == "outcome-unknown");
  }
}

TEST_CASE("the process ends, at any moment: what was sent is unknown, what was not is free") {
  for (int step = 0;; ++step) {
    History history;
    const bool reached = history.run(step);
    if (!reached) break;
    CAPTURE(step);
    history.executions->drain();
    history.executions->shut_down();
    history.world.pass(10ms);
    CHECK(history.executions->running() == 0);
    const int starts = history.starts();
    const std::string state = history.state();
    CAPTURE(starts);
    CAPTURE(state);
    if (starts == 0) {
      CHECK(state == "revoked");
      CHECK(status_of(history.client->received()) == 503);
      // While the claim is on its way the key may be anybody's, and anything may have run.
      const std::string_view word = step == 0 ? "capacity" : "not-executed";
      CHECK(field_of(history.client->received(), "Idempotency-Status") == word);
    } else if (state == "unknown") {
      CHECK(history.store.record(history.id())->reason == "shutdown");
      CHECK(status_of(history.client->received()) == 503);
      CHECK(field_of(history.client->received(), "Idempotency-Status") == "outcome-unknown");
    } else {
      CHECK(state == "completed");
    }
  }
}

TEST_CASE("the lease is somebody else's, from any moment: nothing of the other's record changes") {
  for (int step = 1;; ++step) {
    History history;
    const bool reached = history.run(step);
    if (!reached) break;
    if (history.state() != "inflight") continue;
    CAPTURE(step);
    history.store.fence(history.id());
    history.come_to_rest();
    CHECK(history.starts() <= 1);
    const auto record = history.store.record(history.id());
    REQUIRE(record);
    CHECK(record->token == "another");
    CHECK(record->state == policy::RecordState::inflight);
  }
}

}  // namespace
}  // namespace holdfast::test
