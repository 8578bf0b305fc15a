// An execution and its store: the lease and its renewal, answers that are lost, a store that is
// down or full, and a key that becomes somebody else's (idempotency §2.9, §2.12).
#include <doctest/doctest.h>

#include "holdfast/proxy/execution.h"
#include "tests/support/keyed_fixture.h"

namespace holdfast::test {
namespace {

using namespace std::chrono_literals;
using policy::Command;
using Kind = store::StoreError::Kind;
using Words = std::vector<std::string>;

constexpr Duration tick{1};
const std::string done = answer(201, "done");

std::string status_word(const Peer& client) {
  return field_of(client.received(), "Idempotency-Status");
}

// -- the lease: 15 s

TEST_CASE("the lease is renewed every third of it, as long as the exchange lives, client or not") {
  KeyedFixture fixture;
  const auto client = fixture.client_sends(keyed_post());
  fixture.world.pass(5s - tick);
  CHECK(fixture.store.count(Command::renew) == 0);
  fixture.world.pass(tick);
  CHECK(fixture.store.count(Command::renew) == 1);
  bool leaves = false;
  SUBCASE("the client stays") {}
  SUBCASE("the client leaves") {
    leaves = true;
  }
  if (leaves) client->reset();
  fixture.world.pass(45s);
  CHECK(fixture.store.count(Command::renew) == 10);
  CHECK(fixture.state() == "inflight");
  fixture.upstream_answers(done);
  CHECK(fixture.state() == "completed");
  fixture.world.pass(1min);
  CHECK(fixture.store.count(Command::renew) == 10);
}

TEST_CASE("no renewal follows the last word about a key") {
  KeyedFixture fixture;
  const auto client = fixture.client_sends(keyed_post());
  fixture.world.pass(4s);
  fixture.store.script(Command::mark_unknown, ScriptedStore::late(2s));
  fixture.upstream().reset();
  fixture.world.pass(10s);
  CHECK(fixture.told() == "claim mark_unknown");
  CHECK(fixture.state() == "unknown");
}

TEST_CASE("a claim that took half of its lease or less is fresh enough to send under") {
  KeyedFixture fixture;
  fixture.upstream_always(done);
  fixture.store.script(Command::claim, ScriptedStore::late(7500ms));
  const auto client = fixture.client_sends(keyed_post());
  fixture.world.pass(7500ms);
  CHECK(fixture.told() == "claim complete");
}

class OldClaim : public KeyedFixture {
 public:
  explicit OldClaim(proxy::Config config = keyed_route()) : KeyedFixture(std::move(config)) {
    upstream_always(done);
    store.script(Command::claim, ScriptedStore::late(7500ms + tick));
    client = client_sends(keyed_post());
    CHECK(executions->running() == 1);
  }
  std::shared_ptr<Peer> client;
};

TEST_CASE("a claim older than half of its lease is renewed before anything is sent") {
  OldClaim fixture;
  fixture.store.script(Command::renew, ScriptedStore::late(10ms));
  fixture.world.pass(7509ms);
  CHECK(fixture.starts() == 0);
  fixture.world.pass(10ms);
  CHECK(fixture.told() == "claim renew complete");
  CHECK(status_of(fixture.client->received()) == 201);
}

TEST_CASE("it cannot be renewed: nothing is sent, and the key is given back") {
  proxy::Config config = keyed_route();
  bool open = false;
  SUBCASE("closed") {}
  SUBCASE("open") {
    open = true;
  }
  if (open) config.routes[0].idempotency.on_store_error = policy::OnStoreFailure::open;
  OldClaim fixture(config);
  fixture.store.script(Command::renew, ScriptedStore::fails(Kind::timeout, 100ms));
  fixture.world.pass(8s);
  CHECK(fixture.told() == "claim renew release");
  CHECK(fixture.state() == "revoked");
  CHECK(fixture.starts() == (open ? 1 : 0));
  CHECK(status_word(*fixture.client) == (open ? "bypassed" : "store-unavailable"));
}

TEST_CASE("open: what the attempts under the key have taken of the total is not given again") {
  proxy::Config config = keyed_route();
  config.routes[0].idempotency.on_store_error = policy::OnStoreFailure::open;
  config.routes[0].timeout.total = 1s;
  config.routes[0].timeout.connect = 5s;
  OldClaim fixture(config);
  fixture.network.script("10.0.0.1:80", {});
  fixture.network.script("10.0.0.1:80", {ConnectOutcome::Kind::silence});
  fixture.store.script(Command::renew, ScriptedStore::fails(Kind::timeout, 500ms));
  fixture.world.pass(8100ms);
  CHECK(fixture.network.connects.size() == 2);
  CHECK(fixture.client->received().empty());
  fixture.world.pass(450ms);
  CHECK(status_of(fixture.client->received()) == 504);
  CHECK(status_word(*fixture.client) == "bypassed");
}

TEST_CASE("the client leaves while it is renewed: nothing is sent") {
  OldClaim fixture;
  fixture.store.script(Command::renew, ScriptedStore::late(1s));
  fixture.world.pass(8s);
  fixture.client->reset();
  fixture.world.pass(2s);
  CHECK(fixture.starts() == 0);
  CHECK(fixture.told() == "claim renew release");
}

TEST_CASE(
    "it is somebody else's: nothing is sent, protected or not, and the client hears what "
    "became of the key") {
  proxy::Config config = keyed_route();
  config.routes[0].idempotency.on_store_error = policy::OnStoreFailure::open;
  OldClaim fixture(config);
  const Digest id = fixture.id();
  fixture.store.fence(id);
  SUBCASE("in progress there") {
    fixture.world.pass(8s);
    CHECK(status_of(fixture.client->received()) == 409);
    CHECK(status_word(*fixture.client) == "in-progress");
  }
  SUBCASE("completed there") {
    policy::Operation wish = fixture.store.asked.back();
    wish.command = Command::complete;
    wish.token = "another";
    wish.status = 202;
    fixture.store.apply_now(wish);
    fixture.world.pass(8s);
    CHECK(status_of(fixture.client->received()) == 202);
    CHECK(status_word(*fixture.client) == "replayed");
  }
  CHECK(fixture.starts() == 0);
  CHECK(fixture.told() == "claim renew peek");
  CHECK(fixture.seen.key_events == Words{"fenced"});
}

TEST_CASE(
    "fenced while it runs: its client gets its answer, the other's record stays, no renewals") {
  KeyedFixture fixture;
  const auto client = fixture.client_sends(keyed_post());
  fixture.store.fence(fixture.id());
  bool noticed = false;
  SUBCASE("noticed by a renewal") {
    noticed = true;
  }
  SUBCASE("noticed by the completion") {}
  if (noticed) fixture.world.pass(20s);
  CHECK(fixture.store.count(Command::renew) == (noticed ? 1 : 0));
  if (noticed) return;
  fixture.upstream_answers(done);
  CHECK(status_of(client->received()) == 201);
  CHECK(status_word(*client) == "unrecorded");
  CHECK(fixture.seen.key_events == Words{"fenced"});
  CHECK(fixture.state() == "inflight");
}

// A seed of the simulator.
TEST_CASE("fenced with an answer that is too large to be kept: its client is told as much") {
  proxy::Config config = keyed_route();
  config.routes[0].idempotency.max_response_bytes = 2;
  KeyedFixture fixture(config);
  const auto client = fixture.client_sends(keyed_post());
  fixture.store.fence(fixture.id());
  fixture.upstream_answers(done);
  CHECK(status_of(client->received()) == 201);
  CHECK(status_word(*client) == "unrecorded");
  CHECK(fixture.state() == "inflight");
}

TEST_CASE("renewals that fail end nothing: the store comes back and the answer is recorded") {
  KeyedFixture fixture;
  const auto client = fixture.client_sends(keyed_post());
  fixture.store.goes_down();
  fixture.world.pass(14s);
  CHECK(fixture.seen.key_events == Words{"renew_failed unavailable", "renew_failed unavailable"});
  fixture.store.comes_up();
  fixture.upstream_answers(done);
  CHECK(fixture.state() == "completed");
  CHECK(status_word(*client) == "-");
}

// -- answers that are lost

TEST_CASE(
    "the claim's answer is lost: nothing is sent, and the key is given back, however long "
    "that takes") {
  StoreAnswer lost = ScriptedStore::lost(100ms);
  SUBCASE("it was made, and no answer came in time") {}
  SUBCASE("it was made, and the connection to the store was lost") {
    lost.error = Kind::unavailable;
  }
  SUBCASE("it was not made") {
    lost.effect = StoreAnswer::Effect::none;
  }
  KeyedFixture fixture;
  fixture.upstream_always(done);
  fixture.store.script(Command::claim, lost);
  for (int n = 0; n < 5; ++n) {
    fixture.store.script(Command::release, ScriptedStore::fails(Kind::unavailable));
  }
  const auto client = fixture.client_sends(keyed_post());
  fixture.world.pass(100ms);
  CHECK(status_of(client->received()) == 503);
  CHECK(status_word(*client) == "store-unavailable");
  CHECK(field_of(client->received(), "Retry-After") == "1");
  fixture.world.pass(30s);
  CHECK(fixture.told() == "claim release release release release release release");
  CHECK(fixture.state() == "revoked");
  CHECK(fixture.starts() == 0);
  const auto again = fixture.client_sends(keyed_post());
  CHECK(status_of(again->received()) == 201);
}

TEST_CASE("a store that cannot be reached: 503, nothing is sent, nothing goes on") {
  for (const Kind kind : {Kind::unavailable, Kind::refused, Kind::corrupt, Kind::evicting}) {
    KeyedFixture fixture;
    fixture.store.goes_down(kind);
    const auto client = fixture.client_sends(keyed_post());
    CHECK(status_of(client->received()) == 503);
    CHECK(status_word(*client) == "store-unavailable");
    CHECK(fixture.seen.key_outcomes == Words{"store_error"});
    CHECK(fixture.starts() == 0);
    CHECK(fixture.executions->running() == 0);
  }
}

TEST_CASE(
    "open: the request goes on without protection, and says so; a record that cannot be read "
    "still stops it") {
  proxy::Config config = keyed_route();
  config.routes[0].idempotency.on_store_error = policy::OnStoreFailure::open;
  for (const Kind kind : {Kind::unavailable, Kind::timeout, Kind::refused, Kind::corrupt}) {
    KeyedFixture fixture(config);
    fixture.upstream_always(done);
    fixture.store.goes_down(kind);
    const auto client = fixture.client_sends(keyed_post());
    const bool passes = kind != Kind::corrupt;
    CHECK(status_of(client->received()) == (passes ? 201 : 503));
    CHECK(status_word(*client) == (passes ? "bypassed" : "store-unavailable"));
    CHECK(fixture.starts() == (passes ? 1 : 0));
    if (passes) CHECK(fixture.upstream().received().ends_with("\r\n\r\norder"));
  }
}

TEST_CASE("a release that the store does not take is told again until it does") {
  KeyedFixture fixture;
  for (int n = 0; n < 3; ++n) fixture.network.script("10.0.0.1:80", {ConnectOutcome::Kind::fail});
  fixture.store.script(Command::release, ScriptedStore::fails(Kind::timeout, 100ms));
  fixture.store.script(Command::release, ScriptedStore::fails(Kind::unavailable));
  const auto client = fixture.client_sends(keyed_post());
  fixture.world.pass(10s);
  CHECK(status_word(*client) == "not-executed");
  CHECK(fixture.told() == "claim release release release");
  CHECK(fixture.state() == "revoked");
}

// -- the completion fails

TEST_CASE(
    "the store does not take the answer: the client has it, duplicates get it, the store is "
    "told until it listens") {
  KeyedFixture fixture;
  fixture.upstream_always(done, 1s);
  const auto client = fixture.client_sends(keyed_post());
  fixture.store.goes_down();
  fixture.world.pass(1s);
  CHECK(status_of(client->received()) == 201);
  CHECK(status_word(*client) == "unrecorded");
  CHECK(fixture.seen.key_events == Words{"unrecorded unavailable"});
  CHECK_FALSE(fixture.upstream().open());

  const auto asked = fixture.store.asked.size();
  const auto again = fixture.client_sends(keyed_post());
  CHECK(body_of(again->received()) == "done");
  CHECK(field_of(again->received(), "Idempotent-Replayed") == "true");
  const auto other = fixture.client_sends(keyed_post("another order"));
  CHECK(status_of(other->received()) == 422);
  CHECK(fixture.store.asked.size() == asked);

  bool leaves = false;
  SUBCASE("the client stays") {}
  SUBCASE("the client leaves") {
    leaves = true;
  }
  if (leaves) client->reset();
  fixture.world.pass(2min);
  CHECK(fixture.executions->running() == 1);
  fixture.store.comes_up();
  fixture.world.pass(10s);
  CHECK(fixture.executions->running() == 0);
  CHECK(fixture.state() == "completed");
  CHECK(fixture.board.unrecorded(fixture.id()) == nullptr);
  CHECK(fixture.starts() == 1);
}

TEST_CASE("a client that has gone holds no connection of an upstream while the store is told") {
  KeyedFixture fixture;
  const auto client = fixture.client_sends(keyed_post());
  client->reset();
  fixture.world.settle();
  fixture.store.goes_down();
  fixture.upstream_answers(done);
  fixture.world.pass(10s);
  CHECK(fixture.executions->running() == 1);
  CHECK_FALSE(fixture.upstream().open());
  CHECK(fixture.shared().active_connections == 0);
}

TEST_CASE("the process ends while the store is told: it is told once more") {
  KeyedFixture fixture;
  SUBCASE("an answer") {
    const auto client = fixture.client_sends(keyed_post());
    fixture.store.goes_down();
    fixture.upstream_answers(done);
    fixture.store.comes_up();
    fixture.executions->shut_down();
    CHECK(fixture.state() == "completed");
  }
  SUBCASE("that a key is free") {
    fixture.store.script(Command::claim, ScriptedStore::lost(100ms));
    const auto client = fixture.client_sends(keyed_post());
    fixture.world.pass(100ms);
    fixture.executions->shut_down();
    CHECK(fixture.state() == "revoked");
  }
  CHECK(fixture.executions->running() == 0);
}

// A seed of the simulator.
TEST_CASE("the process ends while a key that was used is looked at: that nothing ran is not said") {
  KeyedFixture fixture;
  fixture.upstream_always(done);
  const auto first = fixture.client_sends(keyed_post());
  Command asked = Command::claim;
  SUBCASE("by a claim") {}
  SUBCASE("by a look, in a drain") {
    asked = Command::peek;
    fixture.executions->drain();
  }
  fixture.store.script(asked, ScriptedStore::slow(50ms));
  const auto again = fixture.client_sends(keyed_post());
  fixture.executions->shut_down();
  fixture.world.pass(100ms);
  CHECK(status_of(again->received()) == 503);
  CHECK(status_word(*again) == "capacity");
  CHECK(fixture.state() == "completed");
}

// -- a store that is full

TEST_CASE("full: what it has is replayed, what it has not is refused") {
  KeyedFixture fixture;
  fixture.upstream_always(done);
  const auto client = fixture.client_sends(keyed_post());
  fixture.store.script(Command::claim, ScriptedStore::fails(Kind::full));
  fixture.store.script(Command::claim, ScriptedStore::fails(Kind::full));
  const auto again = fixture.client_sends(keyed_post());
  CHECK(field_of(again->received(), "Idempotent-Replayed") == "true");
  const auto other = fixture.client_sends(keyed_post("order", "k-2"));
  CHECK(status_of(other->received()) == 503);
  CHECK(status_word(*other) == "capacity");
  CHECK(fixture.starts() == 1);
}

TEST_CASE("full at the completion: the client has its answer, the record is gone") {
  KeyedFixture fixture;
  fixture.upstream_always(done);
  fixture.store.script(Command::complete, ScriptedStore::fails(Kind::full));
  const auto client = fixture.client_sends(keyed_post());
  CHECK(status_of(client->received()) == 201);
  CHECK(status_word(*client) == "unrecorded");
  CHECK(fixture.state() == "gone");
  CHECK(fixture.store.record(fixture.id())->reason == "capacity");
  const auto again = fixture.client_sends(keyed_post());
  CHECK(status_of(again->received()) == 409);
  CHECK(status_word(*again) == "result-unavailable");
}

// A seed of the simulator: the completion was lost first, and then there was no room for it.
TEST_CASE("full when the completion is told again: the record is gone, and nothing goes on") {
  KeyedFixture fixture;
  fixture.upstream_always(done);
  fixture.store.script(Command::complete, ScriptedStore::fails(Kind::unavailable));
  fixture.store.script(Command::complete, ScriptedStore::fails(Kind::full));
  const auto client = fixture.client_sends(keyed_post());
  CHECK(status_word(*client) == "unrecorded");
  fixture.world.pass(10s);
  CHECK(fixture.told() == "claim complete complete tombstone");
  CHECK(fixture.state() == "gone");
  CHECK(fixture.store.record(fixture.id())->reason == "capacity");
  CHECK(fixture.executions->running() == 0);
  CHECK(fixture.seen.key_events ==
        Words{"unrecorded unavailable", "commit_retry", "commit_retry", "tombstone capacity"});
}

TEST_CASE("too many go on without their clients: what is recorded is replayed, nothing else runs") {
  KeyedFixture fixture;
  fixture.upstream_always(done);
  const auto client = fixture.client_sends(keyed_post());
  fixture.board.detached = proxy::KeyBoard::max_detached;
  const auto again = fixture.client_sends(keyed_post());
  CHECK(field_of(again->received(), "Idempotent-Replayed") == "true");
  const auto other = fixture.client_sends(keyed_post("order", "k-2"));
  CHECK(status_of(other->received()) == 503);
  CHECK(status_word(*other) == "capacity");
  fixture.board.detached = proxy::KeyBoard::max_detached - 1;
  const auto third = fixture.client_sends(keyed_post("order", "k-2"));
  CHECK(status_of(third->received()) == 201);
  fixture.board.detached = 0;
}

}  // namespace
}  // namespace holdfast::test
