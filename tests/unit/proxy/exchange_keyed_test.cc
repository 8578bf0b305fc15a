// What a keyed request's client meets: duplicates that wait, a breaker that is open, a process that
// ends, pipelines, replays (idempotency §2.5, §2.10, §2.13, §2.16).
#include <doctest/doctest.h>

#include "holdfast/proxy/exchange.h"
#include "tests/support/keyed_fixture.h"

namespace holdfast::test {
namespace {

using namespace std::chrono_literals;
using policy::Command;
using Words = std::vector<std::string>;

constexpr Duration tick{1};
const std::string done = answer(201, "done");

std::string status_word(const Peer& client) {
  return field_of(client.received(), "Idempotency-Status");
}

proxy::Config waiting(Duration bound = 10s) {
  proxy::Config config = keyed_route();
  config.routes[0].idempotency.in_flight_wait = bound;
  return config;
}

/// A claim of another process on the key of `keyed_post()`, and what becomes of it.
class Elsewhere {
 public:
  explicit Elsewhere(KeyedFixture& fixture) : fixture_(fixture) {
    // Only the fixture knows the ids: one request that is refused tells it.
    fixture_.store.script(Command::claim,
                          ScriptedStore::fails(store::StoreError::Kind::unavailable));
    fixture_.client_sends(keyed_post())->reset();
    wish_ = fixture_.store.asked.back();
    wish_.token = "elsewhere";
    fixture_.store.apply_now(wish_);
    fixture_.store.asked.clear();
    fixture_.seen.key_outcomes.clear();
  }
  void completes() { tell(Command::complete); }
  void releases() { tell(Command::release); }
  void does_not_know() { tell(Command::mark_unknown); }

 private:
  void tell(Command command) {
    wish_.command = command;
    wish_.status = 202;
    wish_.body = "elsewhere";
    wish_.reason = "reset";
    fixture_.store.apply_now(wish_);
  }
  KeyedFixture& fixture_;
  policy::Operation wish_;
};

// -- duplicates

TEST_CASE("in_flight_wait off: a duplicate is told at once that the first is in progress") {
  KeyedFixture fixture;
  const auto first = fixture.client_sends(keyed_post());
  const auto second = fixture.client_sends(keyed_post());
  CHECK(status_of(second->received()) == 409);
  CHECK(status_word(*second) == "in-progress");
  CHECK(field_of(second->received(), "Retry-After") == "1");
  fixture.upstream_answers(done);
  CHECK(status_of(first->received()) == 201);
}

TEST_CASE("duplicates that wait get the owner's answer at once, and no upstream sees them") {
  KeyedFixture fixture(waiting());
  const auto owner = fixture.client_sends(keyed_post());
  std::vector<std::shared_ptr<Peer>> duplicates;
  for (int n = 0; n < 5; ++n) duplicates.push_back(fixture.client_sends(keyed_post()));
  CHECK(fixture.seen.key_waiters == 5);
  fixture.world.pass(3s);
  fixture.upstream_answers(done);
  CHECK(status_word(*owner) == "-");
  for (const auto& duplicate : duplicates) {
    CHECK(status_of(duplicate->received()) == 201);
    CHECK(body_of(duplicate->received()) == "done");
    CHECK(field_of(duplicate->received(), "Idempotent-Replayed") == "true");
  }
  CHECK(fixture.seen.key_waits == std::vector<Duration>(5, 3s));
  CHECK(fixture.seen.key_outcomes ==
        Words{"executed", "waited", "waited", "waited", "waited", "waited"});
  CHECK(fixture.starts() == 1);
}

TEST_CASE("a waiter's time is over: in progress, to the nanosecond") {
  KeyedFixture fixture(waiting(2s));
  const auto owner = fixture.client_sends(keyed_post());
  const auto first = fixture.client_sends(keyed_post());
  const auto second = fixture.client_sends(keyed_post());
  fixture.world.pass(2s - tick);
  CHECK(first->received().empty());
  CHECK(second->received().empty());
  fixture.world.pass(tick);
  CHECK(status_word(*first) == "in-progress");
  CHECK(status_word(*second) == "in-progress");
}

TEST_CASE("the 17th who would wait for one key is told at once") {
  KeyedFixture fixture(waiting());
  const auto owner = fixture.client_sends(keyed_post());
  for (std::size_t n = 0; n < proxy::KeyBoard::max_waiters_per_key; ++n) {
    CHECK(fixture.client_sends(keyed_post())->received().empty());
  }
  CHECK(status_word(*fixture.client_sends(keyed_post())) == "in-progress");
}

TEST_CASE("an owner who does not know: nobody waits any longer") {
  KeyedFixture fixture(waiting());
  const auto owner = fixture.client_sends(keyed_post());
  const auto duplicate = fixture.client_sends(keyed_post());
  fixture.upstream().reset();
  fixture.world.settle();
  CHECK(status_of(owner->received()) == 502);
  CHECK(status_of(duplicate->received()) == 409);
  CHECK(status_word(*duplicate) == "outcome-unknown");
}

TEST_CASE("the upstream refuses: those who wait share its answer, and it is asked once") {
  KeyedFixture fixture(waiting());
  const auto owner = fixture.client_sends(keyed_post());
  const auto duplicate = fixture.client_sends(keyed_post());
  fixture.upstream_answers(answer(429, "later", "Retry-After: 7\r\nWWW-Authenticate: Basic\r\n"));
  CHECK(status_word(*owner) == "released");
  CHECK(status_of(duplicate->received()) == 429);
  CHECK(field_of(duplicate->received(), "Retry-After") == "7");
  CHECK(field_of(duplicate->received(), "WWW-Authenticate") == "Basic");
  CHECK(status_word(*duplicate) == "released");
  CHECK(body_of(duplicate->received()) == "later");
  CHECK(field_of(duplicate->received(), "Idempotent-Replayed") == "-");
  CHECK(fixture.starts() == 1);
}

TEST_CASE("the key is free before its owner knows: who waits shares the refusal all the same") {
  KeyedFixture fixture(waiting());
  const auto owner = fixture.client_sends(keyed_post());
  const auto first = fixture.client_sends(keyed_post());
  const auto second = fixture.client_sends(keyed_post());
  fixture.store.script(Command::release, ScriptedStore::late(3s));
  fixture.upstream_answers(answer(429, "later"));
  CHECK(fixture.state() == "revoked");
  fixture.world.pass(2s);
  const auto third = fixture.client_sends(keyed_post("order", "k-2"));
  first->reset();  // whoever asks for them all then does not ask either
  fixture.world.pass(1s - tick);
  CHECK(second->received().empty());
  fixture.world.pass(tick);
  CHECK(status_word(*owner) == "released");
  CHECK(status_word(*second) == "released");
  CHECK(status_of(second->received()) == 429);
  CHECK(fixture.starts() == 2);  // one for each key
  fixture.upstream_answers(done);
  CHECK(status_of(third->received()) == 201);
}

TEST_CASE("who begins to wait while the key is given back shares the refusal, too") {
  KeyedFixture fixture(waiting());
  const auto owner = fixture.client_sends(keyed_post());
  fixture.store.script(Command::claim, ScriptedStore::late(1s));
  const auto waiter = fixture.client_sends(keyed_post());  // it is in progress, and hears so later
  fixture.world.pass(500ms);
  fixture.store.script(Command::release, ScriptedStore::late(2s));
  fixture.upstream_answers(answer(429, "later"));
  fixture.world.pass(2s - tick);
  CHECK(waiter->received().empty());
  fixture.world.pass(tick);
  CHECK(status_of(owner->received()) == 429);
  CHECK(status_of(waiter->received()) == 429);
  CHECK(fixture.starts() == 1);
}

TEST_CASE("who has been told and reads slowly waits for nothing any more") {
  KeyedFixture fixture(waiting());
  const auto owner = fixture.client_sends(keyed_post());
  const auto slow = fixture.client_sends(keyed_post());
  CHECK(fixture.seen.key_waiters == 1);
  slow->take_at_most(0);
  fixture.upstream_answers(answer(429, "later"));
  CHECK(status_of(owner->received()) == 429);
  CHECK(slow->received().empty());
  CHECK(fixture.seen.key_waiters == 0);
  slow->take_everything();
  fixture.world.settle();
  CHECK(status_of(slow->received()) == 429);
}

TEST_CASE("the key is not given back: who waits learns that, and asks again") {
  KeyedFixture fixture(waiting());
  const auto owner = fixture.client_sends(keyed_post());
  const auto waiter = fixture.client_sends(keyed_post());
  fixture.store.script(Command::release,
                       ScriptedStore::fails(store::StoreError::Kind::unavailable, 2s));
  fixture.upstream_answers(answer(429, "later"));
  fixture.world.pass(3s);  // the owner gives it back a little later
  CHECK(status_of(owner->received()) == 429);
  CHECK(fixture.starts() == 2);
  fixture.upstream_answers(done);
  CHECK(status_of(waiter->received()) == 201);
}

TEST_CASE("a refusal too large to keep is shared with nobody: the oldest runs the request") {
  proxy::Config config = waiting();
  config.routes[0].idempotency.max_response_bytes = 10;
  KeyedFixture fixture(config);
  const auto owner = fixture.client_sends(keyed_post());
  const auto duplicate = fixture.client_sends(keyed_post());
  const auto third = fixture.client_sends(keyed_post());
  fixture.upstream_answers("HTTP/1.1 429 Text\r\nContent-Length: 12\r\n\r\n0123456789ab");
  CHECK(status_of(owner->received()) == 429);
  CHECK(duplicate->received().empty());
  CHECK(fixture.starts() == 2);
  fixture.upstream_answers(done);
  CHECK(status_of(duplicate->received()) == 201);
  CHECK(field_of(duplicate->received(), "Idempotent-Replayed") == "-");
  CHECK(field_of(third->received(), "Idempotent-Replayed") == "true");
}

TEST_CASE("the owner was not sent: the oldest who waits runs the request, the others wait for it") {
  KeyedFixture fixture(waiting());
  for (int n = 0; n < 3; ++n) {
    fixture.network.script("10.0.0.1:80", {ConnectOutcome::Kind::fail, 100ms});
  }
  const auto owner = fixture.client_sends(keyed_post());
  const auto second = fixture.client_sends(keyed_post());
  const auto third = fixture.client_sends(keyed_post());
  fixture.world.pass(1s);
  CHECK(status_word(*owner) == "not-executed");
  CHECK(second->received().empty());
  CHECK(fixture.starts() == 1);
  fixture.upstream_answers(done);
  CHECK(status_of(second->received()) == 201);
  CHECK(field_of(second->received(), "Idempotent-Replayed") == "-");
  CHECK(field_of(third->received(), "Idempotent-Replayed") == "true");
}

TEST_CASE("the owner's client leaves: the duplicate still gets the answer") {
  KeyedFixture fixture(waiting());
  const auto owner = fixture.client_sends(keyed_post());
  const auto duplicate = fixture.client_sends(keyed_post());
  owner->reset();
  fixture.world.pass(1s);
  fixture.upstream_answers(done);
  CHECK(status_of(duplicate->received()) == 201);
  CHECK(fixture.starts() == 1);
}

TEST_CASE("another order under the key does not wait") {
  KeyedFixture fixture(waiting());
  const auto owner = fixture.client_sends(keyed_post());
  CHECK(status_of(fixture.client_sends(keyed_post("another"))->received()) == 422);
}

TEST_CASE("an owner in another process: the oldest asks for all, and hands that on when it goes") {
  KeyedFixture fixture(waiting());
  Elsewhere elsewhere(fixture);
  const auto first = fixture.client_sends(keyed_post());
  const auto second = fixture.client_sends(keyed_post());
  CHECK(fixture.told() == "claim claim claim claim");  // each twice: before it is known to wait
  fixture.world.pass(1s);
  const auto asked = fixture.store.asked.size();
  CHECK(asked > 6);
  CHECK(asked < 20);
  SUBCASE("it completes") {
    elsewhere.completes();
    fixture.world.pass(1s);
    CHECK(body_of(first->received()) == "elsewhere");
    CHECK(body_of(second->received()) == "elsewhere");
    CHECK(fixture.starts() == 0);
  }
  SUBCASE("the one who asks leaves, then it completes") {
    first->reset();
    fixture.world.settle();
    elsewhere.completes();
    fixture.world.pass(1s);
    CHECK(body_of(second->received()) == "elsewhere");
  }
  SUBCASE("it does not know") {
    elsewhere.does_not_know();
    fixture.world.pass(1s);
    CHECK(status_word(*first) == "outcome-unknown");
    CHECK(status_word(*second) == "outcome-unknown");
  }
  SUBCASE("it gives the key back: the one who asks runs the request, the other waits for it") {
    elsewhere.releases();
    fixture.world.pass(1s);
    CHECK(fixture.starts() == 1);
    fixture.upstream_answers(done);
    CHECK(field_of(first->received(), "Idempotent-Replayed") == "-");
    CHECK(field_of(second->received(), "Idempotent-Replayed") == "true");
    CHECK(fixture.starts() == 1);
  }
  SUBCASE("it dies: its lease ends, and nobody is told that it is in progress any longer") {
    fixture.world.pass(15s);
    CHECK(status_word(*first) == "in-progress");  // its bound is 10 s
    CHECK(status_word(*fixture.client_sends(keyed_post())) == "outcome-unknown");
  }
}

TEST_CASE("clients come and go at any moment while a key is in flight: one order, one answer") {
  for (int going = 0; going < 4; ++going) {
    for (int step = 0; step < 12; ++step) {
      CAPTURE(going);
      CAPTURE(step);
      KeyedFixture fixture(waiting());
      fixture.store.otherwise = ScriptedStore::late(2ms);
      fixture.network.script("10.0.0.1:80", {ConnectOutcome::Kind::accept, 3ms});
      fixture.upstream_always(done, 5ms);
      std::vector<std::shared_ptr<Peer>> clients;
      for (int n = 0; n < 4; ++n) clients.push_back(fixture.client_sends(keyed_post()));
      for (int n = 0; n < step; ++n) fixture.world.step();
      clients[static_cast<std::size_t>(going)]->reset();
      fixture.world.pass(5s);
      for (int n = 0; n < 4; ++n) {
        if (n == going) continue;
        CHECK(status_of(clients[static_cast<std::size_t>(n)]->received()) == 201);
      }
      CHECK(fixture.starts() == 1);
    }
  }
}

// -- a breaker, a drain

TEST_CASE("breaker open: a replay is given, a new key is not claimed") {
  proxy::Config config = keyed_route();
  config.upstreams["api"].breaker.consecutive_failures = 1;
  KeyedFixture fixture(config);
  const auto first = fixture.client_sends(keyed_post());
  fixture.upstream_answers(done);
  const auto failing = fixture.client_sends(keyed_post("order", "k-2"));
  fixture.upstream().reset();
  fixture.world.settle();
  REQUIRE(fixture.seen.transitions == Words{"closed>open"});
  fixture.store.asked.clear();

  const auto again = fixture.client_sends(keyed_post());
  CHECK(status_word(*again) == "replayed");
  const auto unknown = fixture.client_sends(keyed_post("order", "k-2"));
  CHECK(status_word(*unknown) == "outcome-unknown");
  const auto fresh = fixture.client_sends(keyed_post("order", "k-3"));
  CHECK(status_of(fresh->received()) == 503);
  CHECK(status_word(*fresh) == "not-executed");
  CHECK(field_of(fresh->received(), "Retry-After") != "-");
  CHECK(fixture.told() == "peek peek peek");
  CHECK(fixture.starts() == 2);
}

TEST_CASE("a fallback stands in where nothing was sent, and nowhere else") {
  proxy::Config config = keyed_route();
  proxy::FallbackConfig fallback;
  fallback.on = conditions({"connect", "reset", "timeout", "5xx", "open"});
  fallback.response.body = "fallback";
  config.routes[0].fallbacks.push_back(fallback);
  KeyedFixture fixture(config);
  SUBCASE("not sent") {
    for (int n = 0; n < 3; ++n) fixture.network.script("10.0.0.1:80", {ConnectOutcome::Kind::fail});
    const auto client = fixture.client_sends(keyed_post());
    fixture.world.pass(1s);
    CHECK(body_of(client->received()) == "fallback");
    CHECK(status_word(*client) == "not-executed");
    CHECK(fixture.state() == "revoked");
  }
  SUBCASE("unknown") {
    const auto client = fixture.client_sends(keyed_post());
    fixture.upstream().reset();
    fixture.world.settle();
    CHECK(status_word(*client) == "outcome-unknown");
  }
  SUBCASE("pending") {
    const auto client = fixture.client_sends(keyed_post());
    fixture.world.pass(15s);
    CHECK(status_word(*client) == "execution-pending");
  }
  SUBCASE("an answer") {
    const auto client = fixture.client_sends(keyed_post());
    fixture.upstream_answers(answer(500, "no"));
    CHECK(status_of(client->received()) == 500);
    CHECK(fixture.state() == "completed");
  }
}

// Who is told that nothing was executed sends the request again.
TEST_CASE("a fallback's upstream gets no request under a key; the next fallback answers") {
  proxy::Config config = keyed_route();
  config.upstreams.emplace("other", upstream_of("other", {"http://10.0.0.9:80"}));
  proxy::FallbackConfig elsewhere;
  elsewhere.on = conditions({"connect"});
  elsewhere.upstream = "other";
  config.routes[0].fallbacks.push_back(elsewhere);
  int status = 502;
  SUBCASE("there is none") {}
  SUBCASE("there is one") {
    proxy::FallbackConfig still;
    still.on = conditions({"connect"});
    still.response.status = status = 202;
    config.routes[0].fallbacks.push_back(still);
  }
  KeyedFixture fixture(config);
  for (int n = 0; n < 3; ++n) fixture.network.script("10.0.0.1:80", {ConnectOutcome::Kind::fail});
  const auto client = fixture.client_sends(keyed_post());
  fixture.world.pass(1s);
  CHECK(status_of(client->received()) == status);
  CHECK(status_word(*client) == "not-executed");
  CHECK(fixture.network.accepted.empty());
  CHECK(fixture.state() == "revoked");
}

TEST_CASE("draining: a replay is given, what runs is finished, nothing is claimed") {
  KeyedFixture fixture;
  const auto first = fixture.client_sends(keyed_post());
  fixture.upstream_answers(done);
  const auto running = fixture.client_sends(keyed_post("order", "k-2"));
  fixture.executions->drain();
  CHECK(status_word(*fixture.client_sends(keyed_post())) == "replayed");
  const auto fresh = fixture.client_sends(keyed_post("order", "k-3"));
  CHECK(status_of(fresh->received()) == 503);
  CHECK(status_word(*fresh) == "not-executed");
  CHECK(fixture.told() == "claim complete claim peek peek");
  fixture.upstream_answers(done);
  CHECK(status_of(running->received()) == 201);
}

// -- connections

TEST_CASE("a FIN after the request is no farewell") {
  KeyedFixture fixture;
  const auto client = fixture.client();
  client->send(keyed_post());
  client->finish();
  fixture.world.settle();
  fixture.upstream_answers(done);
  CHECK(status_of(client->received()) == 201);
  CHECK(fixture.state() == "completed");
}

TEST_CASE("a pipelined duplicate is a replay, waiting or not") {
  KeyedFixture fixture(waiting());
  fixture.upstream_always(done, 1s);
  const auto client = fixture.client_sends(keyed_post() + keyed_post() + keyed_post());
  fixture.world.pass(1s);
  const std::string received = client->received();
  CHECK(count_of(received, "HTTP/1.1 201") == 3);
  CHECK(count_of(received, "Idempotent-Replayed: true") == 2);
  CHECK(fixture.starts() == 1);
}

TEST_CASE("a body that does not end claims nothing") {
  KeyedFixture fixture;
  const auto client = fixture.client_sends(keyed_post().substr(0, keyed_post().size() - 1));
  SUBCASE("reset") {
    client->reset();
  }
  SUBCASE("closed") {
    client->finish();
  }
  SUBCASE("silent") {}
  fixture.world.pass(1min);
  CHECK(fixture.store.asked.empty());
  CHECK(fixture.starts() == 0);
}

TEST_CASE("expected 100: given before the claim, not before a key that is wrong") {
  KeyedFixture fixture;
  const std::string head =
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n";
  const auto wrong = fixture.client_sends(head + "Idempotency-Key: \"\r\n\r\n");
  CHECK(status_of(wrong->received()) == 400);
  CHECK(status_word(*wrong) == "key-invalid");
  const auto right = fixture.client_sends(head + "Idempotency-Key: k\r\n\r\n");
  CHECK(right->take() == "HTTP/1.1 100 Continue\r\n\r\n");
  CHECK(fixture.store.asked.empty());
  right->send("order");
  fixture.world.settle();
  fixture.upstream_answers(done);
  CHECK(status_of(right->take()) == 201);
}

// RFC 9110 §7.6.1
TEST_CASE("Connection does not take the key, or the principal, from under the upstream's eyes") {
  proxy::Config config = keyed_route();
  config.routes[0].idempotency.header = "X-Order-Key";
  config.routes[0].idempotency.scope = {{policy::ScopeSource::Kind::header, "x-tenant"}};
  KeyedFixture fixture(std::move(config));
  const std::string fields = "X-Order-Key: k-1\r\nX-Tenant: t\r\n";
  for (const char* named : {"x-order-key", "close, X-Order-Key", "X-TENANT"}) {
    CAPTURE(named);
    const std::string connection = "Connection: " + std::string(named) + "\r\n";
    const auto client = fixture.client_sends(post("order", connection + fields));
    CHECK(status_of(client->received()) == 400);
  }
  CHECK(fixture.store.asked.empty());
  const auto client = fixture.client_sends(post("order", "Connection: X-Other\r\n" + fields));
  fixture.upstream_answers(done);
  CHECK(status_of(client->received()) == 201);
}

TEST_CASE("what the upstream says before its answer is passed on, and is no part of a replay") {
  KeyedFixture fixture;
  const auto client = fixture.client_sends(keyed_post());
  fixture.upstream_answers("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
  CHECK(status_of(client->take()) == 103);
  fixture.upstream_answers(done);
  CHECK(status_of(client->take()) == 201);
  const auto again = fixture.client_sends(keyed_post());
  CHECK(status_of(again->received()) == 201);
}

TEST_CASE("an early hint after its client has gone reaches nobody") {
  KeyedFixture fixture;
  const auto client = fixture.client_sends(keyed_post());
  client->reset();
  fixture.world.settle();
  fixture.upstream_answers("HTTP/1.1 103 Early Hints\r\n\r\n");
  fixture.upstream_answers(done);
  CHECK(fixture.state() == "completed");
}

// -- replays

TEST_CASE("a replay of an answer without a body has none") {
  KeyedFixture fixture;
  fixture.upstream_always("HTTP/1.1 204 Text\r\n\r\n");
  fixture.client_sends(keyed_post());
  const auto again = fixture.client_sends(keyed_post());
  CHECK(status_of(again->received()) == 204);
  CHECK(field_of(again->received(), "Content-Length") == "-");
  CHECK(body_of(again->received()).empty());
}

TEST_CASE("a replay tells its age, keeps its date, and works for HTTP/1.0") {
  KeyedFixture fixture;
  fixture.upstream_always(
      "HTTP/1.1 201 Text\r\nTransfer-Encoding: chunked\r\nLocation: /1\r\n"
      "Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\n4\r\ndone\r\n0\r\n\r\n");
  fixture.client_sends(keyed_post());
  fixture.world.pass(90s);
  std::string old = keyed_post();
  old.replace(old.find("HTTP/1.1"), 8, "HTTP/1.0");
  const std::string received = fixture.client_sends(old)->received();
  CHECK(field_of(received, "Age") == "90");
  CHECK(field_of(received, "Date") == "Thu, 01 Jan 2026 00:00:00 GMT");
  CHECK(field_of(received, "Location") == "/1");
  CHECK(field_of(received, "Content-Length") == "4");
  CHECK(field_of(received, "Transfer-Encoding") == "-");
  CHECK(body_of(received) == "done");
}

TEST_CASE("an answer under which its client's connection goes on") {
  KeyedFixture fixture;
  fixture.upstream_always(done);
  const auto client = fixture.client_sends(keyed_post());
  client->take();
  for (const char* key : {"k-1", "k-2"}) {
    client->send(keyed_post("order", key));
    fixture.world.settle();
    CHECK(status_of(client->take()) == 201);
  }
  client->send(keyed_post("another", "k-2"));
  fixture.world.settle();
  CHECK(status_of(client->take()) == 422);
  CHECK(client->open());
}

}  // namespace
}  // namespace holdfast::test
