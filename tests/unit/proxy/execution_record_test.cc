// What is recorded of each way that an upstream, or the time, can end an execution, and what its
// client is told (idempotency §2.6, §2.7, §2.10, §2.11).
#include <doctest/doctest.h>

#include <functional>

#include "holdfast/proxy/execution.h"
#include "tests/support/keyed_fixture.h"

namespace holdfast::test {
namespace {

using namespace std::chrono_literals;

/// What the upstream does with each connection made to it.
using Behaviour = std::function<void(KeyedFixture&)>;

Behaviour says(std::string bytes, bool ends = false) {
  return [bytes = std::move(bytes), ends](KeyedFixture& fixture) {
    fixture.network.on_accept = [bytes, ends](Peer& peer) {
      peer.send(bytes);
      if (ends) peer.finish();
    };
  };
}

Behaviour resets_after(std::string bytes) {
  return [bytes = std::move(bytes)](KeyedFixture& fixture) {
    fixture.network.on_accept = [bytes](Peer& peer) {
      if (!bytes.empty()) peer.send(bytes);
      peer.reset();
    };
  };
}

Behaviour refuses(ConnectOutcome outcome) {
  return [outcome](KeyedFixture& fixture) {
    for (int n = 0; n < 3; ++n) fixture.network.script("10.0.0.1:80", outcome);
  };
}

struct Row {
  const char* name;
  Behaviour upstream;
  int status;                    // that the client gets
  std::string_view idempotency;  // its Idempotency-Status
  std::string_view state;
  std::string_view reason;   // of the record
  std::string_view outcome;  // the label
  int starts = 1;
  std::function<void(proxy::Config&)> adjust = nullptr;
};

void record(policy::Recording recording, proxy::Config& config) {
  config.routes[0].idempotency.record = recording;
}
const auto no_5xx = [](proxy::Config& config) { record(policy::Recording::no_5xx, config); };
const auto success_only = [](proxy::Config& config) {
  record(policy::Recording::success_only, config);
};
const auto everything = [](proxy::Config& config) { record(policy::Recording::all, config); };
const auto capped = [](proxy::Config& config) {
  config.routes[0].idempotency.max_response_bytes = 10;
};
const std::string stream_head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";

const Row rows[] = {
    // not sent: the key is free again
    {"refused", refuses({ConnectOutcome::Kind::fail}), 502, "not-executed", "revoked", "",
     "released", 0},
    {"no answer to the connect", refuses({ConnectOutcome::Kind::silence}), 504, "not-executed",
     "revoked", "", "released", 0},
    // sent, and nobody knows
    {"reset", resets_after(""), 502, "outcome-unknown", "unknown", "reset", "unknown"},
    {"closed", says("", true), 502, "outcome-unknown", "unknown", "reset", "unknown"},
    {"closed in the head", says("HTTP/1.1 200 OK\r\n", true), 502, "outcome-unknown", "unknown",
     "reset", "unknown"},
    {"not HTTP", says("hello\r\n\r\n"), 502, "outcome-unknown", "unknown", "bad_response",
     "unknown"},
    {"an upgrade that nobody asked for",
     says("HTTP/1.1 101 Text\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"), 502, "outcome-unknown",
     "unknown", "bad_response", "unknown"},
    // sent, and done, and the answer is not whole
    {"closed in the body", says("HTTP/1.1 201 Text\r\nContent-Length: 9\r\n\r\nhal", true), 502,
     "result-unavailable", "gone", "truncated", "result_unavailable"},
    {"reset in the body", resets_after("HTTP/1.1 201 Text\r\nContent-Length: 9\r\n\r\nhal"), 502,
     "result-unavailable", "gone", "truncated", "result_unavailable"},
    {"a chunk that is none",
     says("HTTP/1.1 201 Text\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nwhat?"), 502,
     "result-unavailable", "gone", "truncated", "result_unavailable"},
    // recorded
    {"201", says(answer(201, "done")), 201, "-", "completed", "", "executed"},
    {"204", says("HTTP/1.1 204 Text\r\n\r\n"), 204, "-", "completed", "", "executed"},
    {"302", says(answer(302, "")), 302, "-", "completed", "", "executed"},
    {"402: a card that was declined is declined", says(answer(402, "no")), 402, "-", "completed",
     "", "executed"},
    {"409", says(answer(409, "no")), 409, "-", "completed", "", "executed"},
    {"500: no proof that nothing happened", says(answer(500, "no")), 500, "-", "completed", "",
     "executed"},
    {"503", says(answer(503, "no")), 503, "-", "completed", "", "executed"},
    {"an answer that ends with its connection", says("HTTP/1.1 200 OK\r\n\r\nall", true), 200, "-",
     "completed", "", "executed"},
    {"an answer of exactly the limit", says(answer(200, "0123456789")), 200, "-", "completed", "",
     "executed", 1, capped},
    {"429, where all is recorded", says(answer(429, "no")), 429, "-", "completed", "", "executed",
     1, everything},
    // released
    {"401", says(answer(401, "no")), 401, "released", "revoked", "", "released"},
    {"429", says(answer(429, "no")), 429, "released", "revoked", "", "released"},
    {"409 with Retry-After", says(answer(409, "no", "Retry-After: 1\r\n")), 409, "released",
     "revoked", "", "released"},
    {"503 with Retry-After is tried again under the same claim",
     says(answer(503, "no", "Retry-After: 1\r\n")), 503, "released", "revoked", "", "released", 3},
    {"500, where 5xx are not recorded", says(answer(500, "no")), 500, "released", "revoked", "",
     "released", 1, no_5xx},
    {"404, where only success is recorded", says(answer(404, "no")), 404, "released", "revoked", "",
     "released", 1, success_only},
    // too large or too long to keep
    {"a length over the limit", says(answer(200, "0123456789a")), 200, "-", "gone", "too_large",
     "executed", 1, capped},
    {"chunks over the limit",
     says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n0123456789a\r\n0\r\n\r\n"),
     200, "-", "gone", "too_large", "executed", 1, capped},
    {"an event stream", says(stream_head + "data: 1\n\n", true), 200, "-", "gone", "stream",
     "executed"},
    {"a refusal over the limit", says(answer(429, "0123456789a")), 429, "released", "revoked", "",
     "released", 1, capped},
};

TEST_CASE(
    "every way an exchange can end: what its client gets, what is recorded, what a repetition "
    "meets") {
  for (const Row& row : rows) {
    const std::string name = row.name;
    CAPTURE(name);
    proxy::Config config = keyed_route();
    if (row.adjust) row.adjust(config);
    KeyedFixture fixture(config);
    row.upstream(fixture);
    const auto client = fixture.client_sends(keyed_post());
    fixture.world.pass(10s);
    const std::string received = client->received();
    CHECK(status_of(received) == row.status);
    CHECK(field_of(received, "Idempotency-Status") == row.idempotency);
    CHECK(fixture.state() == row.state);
    const auto record = fixture.store.record(fixture.id());
    if (record) CHECK(record->reason == row.reason);
    CHECK(fixture.last().idempotency == row.outcome);
    CHECK(fixture.seen.key_outcomes == std::vector<std::string>{std::string(row.outcome)});
    CHECK(fixture.starts() == row.starts);
    CHECK(fixture.executions->running() == 0);
    // No connection of a keyed request is used again.
    for (const auto& peer : fixture.network.accepted) CHECK_FALSE(peer->open());

    const auto again = fixture.client_sends(keyed_post());
    fixture.world.pass(10s);
    const std::string repeated = again->received();
    if (row.state == "completed") {
      CHECK(fixture.starts() == row.starts);
      CHECK(status_of(repeated) == row.status);
      CHECK(field_of(repeated, "Idempotent-Replayed") == "true");
      CHECK(field_of(repeated, "Idempotency-Status") == "replayed");
      CHECK(received.find(body_of(repeated)) != std::string::npos);
    } else if (row.state == "revoked") {
      CHECK(fixture.starts() > row.starts);
    } else {
      CHECK(fixture.starts() == row.starts);
      CHECK(status_of(repeated) == 409);
      CHECK(field_of(repeated, "Idempotency-Status") ==
            (row.state == "gone" ? "result-unavailable" : "outcome-unknown"));
    }
  }
}

TEST_CASE("what is too large to keep goes to its client whole, after the record is gone") {
  proxy::Config config = keyed_route();
  config.routes[0].idempotency.max_response_bytes = 10;
  KeyedFixture fixture(config);
  fixture.store.script(policy::Command::tombstone, ScriptedStore::late(1s));
  const auto client = fixture.client_sends(keyed_post());
  fixture.upstream_answers(
      "HTTP/1.1 200 OK\r\nContent-Length: 30\r\nLocation: /1\r\n\r\n0123456789");
  fixture.upstream_answers("0123456789");
  fixture.world.pass(1s - Duration(1));
  CHECK(client->received().empty());
  fixture.world.pass(Duration(1));
  CHECK(body_of(client->received()) == "01234567890123456789");
  fixture.upstream_answers("0123456789");
  CHECK(body_of(client->received()) == "012345678901234567890123456789");
  const auto again = fixture.client_sends(keyed_post());
  CHECK(status_of(again->received()) == 409);
  CHECK(field_of(again->received(), "Location") == "/1");
}

TEST_CASE(
    "a client that leaves an answer too large to keep: the upstream's connection goes as well") {
  proxy::Config config = keyed_route();
  config.routes[0].idempotency.max_response_bytes = 10;
  KeyedFixture fixture(config);
  bool leaves_early = false;
  SUBCASE("before the record is gone") {
    leaves_early = true;
  }
  SUBCASE("within the answer") {}
  if (leaves_early) fixture.store.script(policy::Command::tombstone, ScriptedStore::late(1s));
  const auto client = fixture.client_sends(keyed_post());
  fixture.upstream_answers("HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n0123456789");
  client->reset();
  fixture.world.pass(2s);
  CHECK_FALSE(fixture.upstream().open());
  CHECK(fixture.state() == "gone");
}

// -- the time

proxy::Config patient(Duration total, Duration max_execution) {
  proxy::Config config = keyed_route();
  config.routes[0].timeout.total = total;
  config.routes[0].idempotency.max_execution = max_execution;
  config.upstreams["api"].breaker.consecutive_failures = 1;
  return config;
}

TEST_CASE("an answer after the client's time: 504 at once, and the record is completed") {
  proxy::Config config = patient(2s, 10s);
  SUBCASE("total") {}
  SUBCASE("per_try") {
    config.routes[0].timeout.per_try = 2s;
    config.routes[0].timeout.total = 8s;
    config.routes[0].retry.on = conditions({"timeout"});
  }
  KeyedFixture fixture(config);
  const auto client = fixture.client_sends(keyed_post());
  fixture.world.pass(2s - Duration(1));
  CHECK(client->received().empty());
  fixture.world.pass(Duration(1));
  CHECK(status_of(client->received()) == 504);
  CHECK(field_of(client->received(), "Idempotency-Status") == "execution-pending");
  CHECK(field_of(client->received(), "Retry-After") == "1");
  CHECK(fixture.seen.keys_detached == 1);
  CHECK(fixture.state() == "inflight");

  const auto early = fixture.client_sends(keyed_post());
  CHECK(field_of(early->received(), "Idempotency-Status") == "in-progress");
  fixture.upstream_answers(answer(201, "done"));
  CHECK(fixture.state() == "completed");
  CHECK(fixture.seen.keys_detached == 0);
  CHECK_FALSE(fixture.upstream().open());
  const auto again = fixture.client_sends(keyed_post());
  CHECK(status_of(again->received()) == 201);
  CHECK(fixture.starts() == 1);
  CHECK(fixture.seen.attempts == std::vector<std::string>{"201"});
  CHECK(fixture.seen.transitions.empty());
}

TEST_CASE("max_execution ends an exchange that was sent: unknown, and the breaker counts it") {
  KeyedFixture fixture(patient(2s, 10s));
  const auto client = fixture.client_sends(keyed_post());
  fixture.world.pass(10s - Duration(1));
  CHECK(fixture.state() == "inflight");
  CHECK(fixture.upstream().open());
  fixture.world.pass(Duration(1));
  CHECK(fixture.state() == "unknown");
  CHECK(fixture.store.record(fixture.id())->reason == "timeout");
  CHECK_FALSE(fixture.upstream().open());
  CHECK(fixture.seen.attempts == std::vector<std::string>{"http_response_timeout"});
  CHECK(fixture.seen.transitions == std::vector<std::string>{"closed>open"});
  CHECK(fixture.seen.key_events == std::vector<std::string>{"unknown timeout"});
}

TEST_CASE("max_execution ends an answer that stands still: it ran, and is gone") {
  KeyedFixture fixture(patient(2s, 10s));
  const auto client = fixture.client_sends(keyed_post());
  fixture.upstream_answers("HTTP/1.1 201 Text\r\nContent-Length: 9\r\n\r\nhalf");
  fixture.world.pass(2s);
  CHECK(field_of(client->received(), "Idempotency-Status") == "execution-pending");
  fixture.world.pass(8s);
  CHECK(fixture.state() == "gone");
  CHECK(fixture.store.record(fixture.id())->reason == "truncated");
  CHECK(fixture.store.record(fixture.id())->status == 201);
}

TEST_CASE("max_execution ends a connect that nothing else ends: the key is free") {
  proxy::Config config = patient(1min, 10s);
  config.routes[0].timeout.connect.reset();
  config.routes[0].retry.attempts = 1;
  KeyedFixture fixture(config);
  fixture.network.script("10.0.0.1:80", {ConnectOutcome::Kind::silence});
  const auto client = fixture.client_sends(keyed_post());
  fixture.world.pass(10s);
  CHECK(status_of(client->received()) == 504);
  CHECK(field_of(client->received(), "Idempotency-Status") == "not-executed");
  CHECK(fixture.state() == "revoked");
}

TEST_CASE("total ends a connect: not sent, so it is the client's answer and not a pending one") {
  proxy::Config config = patient(2s, 10s);
  config.routes[0].timeout.connect.reset();
  KeyedFixture fixture(config);
  fixture.network.script("10.0.0.1:80", {ConnectOutcome::Kind::silence});
  const auto client = fixture.client_sends(keyed_post());
  fixture.world.pass(2s);
  CHECK(status_of(client->received()) == 504);
  CHECK(field_of(client->received(), "Idempotency-Status") == "not-executed");
  CHECK(fixture.state() == "revoked");
}

// -- an upstream that honours the key

proxy::Config honoured() {
  proxy::Config config = keyed_route();
  config.routes[0].idempotency.upstream_honours_key = true;
  config.routes[0].idempotency.on_unknown = policy::OnUnknown::reexecute;
  return config;
}

TEST_CASE("an upstream that honours the key: per_try cuts an attempt, and the next one answers") {
  proxy::Config config = honoured();
  config.routes[0].timeout.per_try = 1s;
  config.routes[0].retry.on = conditions({"timeout"});
  KeyedFixture fixture(config);
  const auto client = fixture.client_sends(keyed_post());
  fixture.world.pass(1s);
  CHECK(client->received().empty());
  fixture.world.pass(100ms);
  REQUIRE(fixture.network.accepted.size() == 2);
  CHECK(fixture.upstream(0).take() == fixture.upstream(1).take());
  fixture.upstream_answers(answer(201, "done"));
  CHECK(status_of(client->received()) == 201);
  CHECK(fixture.state() == "completed");
}

TEST_CASE("a key that may have run stays unknown when its next attempt is not sent or refused") {
  proxy::Config config = honoured();
  config.routes[0].retry.attempts = 1;
  KeyedFixture fixture(config);
  const auto first = fixture.client_sends(keyed_post());
  fixture.upstream().reset();
  fixture.world.pass(100ms);
  CHECK(field_of(first->received(), "Idempotency-Status") == "outcome-unknown");
  SUBCASE("not sent") {
    fixture.network.script("10.0.0.1:80", {ConnectOutcome::Kind::fail});
    const auto second = fixture.client_sends(keyed_post());
    fixture.world.pass(100ms);
    CHECK(field_of(second->received(), "Idempotency-Status") == "outcome-unknown");
  }
  SUBCASE("refused") {
    const auto second = fixture.client_sends(keyed_post());
    fixture.upstream_answers(answer(429, "later"));
    CHECK(status_of(second->received()) == 429);
  }
  CHECK(fixture.state() == "unknown");
  const auto other = fixture.client_sends(keyed_post("another order"));
  CHECK(status_of(other->received()) == 422);
}

TEST_CASE("a generated key is no upstream's to honour: what may have run is not sent again") {
  proxy::Config config = honoured();
  config.routes[0].idempotency.missing_key = policy::MissingKey::generate;
  config.routes[0].retry.on = conditions({"reset", "5xx"});
  KeyedFixture fixture(config);
  const std::string request = post("order", "Authorization: alice\r\n");
  const auto client = fixture.client_sends(request);
  SUBCASE("after a reset") {
    fixture.upstream().reset();
    fixture.world.pass(1s);
    CHECK(field_of(client->received(), "Idempotency-Status") == "outcome-unknown");
    const auto again = fixture.client_sends(request);
    CHECK(status_of(again->received()) == 409);
  }
  SUBCASE("after a failure") {
    fixture.upstream_answers(answer(500, "no"));
    CHECK(status_of(client->received()) == 500);
  }
  CHECK(fixture.starts() == 1);
}

TEST_CASE("a refusal after an attempt that may have run frees nothing") {
  proxy::Config config = honoured();
  KeyedFixture fixture(config);
  SUBCASE("the refusal is the answer") {
    const auto client = fixture.client_sends(keyed_post());
    fixture.upstream().reset();
    fixture.world.pass(100ms);
    fixture.upstream_answers(answer(429, "later"));
    CHECK(status_of(client->received()) == 429);
    CHECK(field_of(client->received(), "Idempotency-Status") == "-");
  }
  SUBCASE("after the refusal there is no connection") {
    for (int n = 0; n < 2; ++n) fixture.network.script("10.0.0.1:80", {});
    fixture.network.script("10.0.0.1:80", {ConnectOutcome::Kind::fail});
    const auto client = fixture.client_sends(keyed_post());
    fixture.upstream().reset();
    fixture.world.pass(100ms);
    fixture.upstream_answers(answer(503, "later", "Retry-After: 1\r\n"));
    fixture.world.pass(2s);
    CHECK(fixture.network.connects.size() == 3);
    CHECK(field_of(client->received(), "Idempotency-Status") == "outcome-unknown");
  }
  CHECK(fixture.state() == "unknown");
}

TEST_CASE("who honours no key gets nothing twice that may have run, whatever retry.on lists") {
  proxy::Config config = keyed_route();
  config.routes[0].retry.on = conditions({"connect", "reset", "timeout", "5xx"});
  config.routes[0].retry.methods |= http::bit(http::Method::post);
  config.routes[0].retry.hedge_after = 10ms;
  KeyedFixture fixture(config);
  const auto client = fixture.client_sends(keyed_post());
  fixture.world.pass(1s);
  SUBCASE("reset") {
    fixture.upstream().reset();
  }
  SUBCASE("500") {
    fixture.upstream_answers(answer(500, "no"));
  }
  fixture.world.pass(10s);
  CHECK(fixture.network.accepted.size() == 1);
}

}  // namespace
}  // namespace holdfast::test
