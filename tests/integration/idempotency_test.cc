// Idempotency-Key against the real binary and real stores: the cases of the specification, by their
// sections.
#include "tests/support/keyed_setup.h"

using namespace holdfast::testing;

namespace {

const std::vector<std::string> all_stores = {"memory", "local", "redis"};

std::string status_of(const Response& response) {
  return response.headers.get("Idempotency-Status");
}

double outcomes(const Holdfast& holdfast, const std::string& outcome) {
  return holdfast.metric("holdfast_idempotency_requests_total", {{"outcome", outcome}});
}

}  // namespace

TEST_SUITE("one key, one execution") {
  TEST_CASE("a repetition is a replay: status, headers and body of the first answer") {
    for (const std::string& kind : all_stores) {
      CAPTURE(kind);
      ScriptedUpstream app(in_turn({reply(201, "charged",
                                          {{"Location", "/charges/1"},
                                           {"X-Two", "a"},
                                           {"X-Two", "b"},
                                           {"Set-Cookie", "s=1"},
                                           {"Date", "Sat, 21 Nov 2026 03:00:00 GMT"}}),
                                    reply(500, "again")}));
      const KeyedSetup store(kind);
      const Holdfast holdfast(store.to(app));
      const Response first = holdfast.post("/charges", "amount=1", with_key("k-1"));
      CHECK(first.status == 201);
      CHECK(first.body == "charged");
      CHECK_FALSE(first.headers.has("Idempotency-Status"));
      CHECK_FALSE(first.headers.has("Idempotent-Replayed"));
      CHECK(first.headers.get("Set-Cookie") == "s=1");
      CHECK(app.last_request().headers.get("Idempotency-Key") == "k-1");
      for (int repetition = 0; repetition < 3; ++repetition) {
        const Response replay = holdfast.post("/charges", "amount=1", with_key("k-1"));
        CHECK(replay.status == 201);
        CHECK(replay.body == "charged");
        CHECK(replay.headers.get("Location") == "/charges/1");
        CHECK(replay.headers.all("X-Two") == std::vector<std::string>{"a", "b"});
        CHECK(replay.headers.get("Idempotent-Replayed") == "true");
        CHECK(status_of(replay) == "replayed");
        CHECK(replay.headers.get("Date") == "Sat, 21 Nov 2026 03:00:00 GMT");
        CHECK(replay.headers.has("Age"));
        CHECK_FALSE(replay.headers.has("Set-Cookie"));
      }
      CHECK(app.request_count() == 1);
      CHECK(outcomes(holdfast, "executed") == 1);
      CHECK(outcomes(holdfast, "replayed") == 3);
    }
  }

  TEST_CASE("the same key with another body, path or query is 422, and nothing is sent") {
    for (const std::string& kind : all_stores) {
      CAPTURE(kind);
      ScriptedUpstream app(reply(200, "one"));
      const KeyedSetup store(kind);
      const Holdfast holdfast(store.to(app));
      CHECK(holdfast.post("/a?x=1", "body", with_key("k")).status == 200);
      for (const auto& [target, body] : std::vector<std::pair<std::string, std::string>>{
               {"/a?x=1", "other"}, {"/b?x=1", "body"}, {"/a?x=2", "body"}, {"/a", "body"}}) {
        const Response refused = holdfast.post(target, body, with_key("k"));
        CHECK(refused.status == 422);
        CHECK(code_of(refused) == "key-reused");
        CHECK(status_of(refused) == "key-reused");
        CHECK(refused.headers.get("Content-Type") == "application/problem+json");
        CHECK(refused.headers.get("Content-Language") == "en");
        CHECK(refused.headers.get("Cache-Control") == "no-store");
      }
      CHECK(app.request_count() == 1);
    }
  }

  TEST_CASE("a chunked repetition of the same bytes is a repetition") {
    ScriptedUpstream app(reply(200, "one"));
    const KeyedSetup store("memory");
    const Holdfast holdfast(store.to(app));
    CHECK(holdfast.post("/", "body", with_key("k")).status == 200);
    RawClient client = holdfast.client();
    client.send(
        "POST / HTTP/1.1\r\nHost: h\r\nAuthorization: alice\r\nIdempotency-Key: \"k\"\r\n"
        "Transfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n");
    CHECK(status_of(client.read_response("POST")) == "replayed");
    CHECK(app.request_count() == 1);
  }

  TEST_CASE("another caller, another method, another key are others") {
    ScriptedUpstream app(reply(200, "x"));
    const KeyedSetup store("memory");
    const Holdfast holdfast(store.to(app, "methods = [\"POST\", \"PUT\"]"));
    CHECK(holdfast.post("/", "b", with_key("k", "alice")).status == 200);
    CHECK(holdfast.post("/", "b", with_key("k", "bob")).status == 200);
    CHECK(holdfast.post("/", "b", with_key("K", "alice")).status == 200);
    CHECK(fetch(holdfast.address(), "/", with_key("k"), "PUT", "b").status == 200);
    CHECK(app.request_count() == 4);
    CHECK(fetch(holdfast.address(), "/", with_key("k"), "PATCH", "b").status == 200);
    CHECK(fetch(holdfast.address(), "/", with_key("k"), "PATCH", "b").status == 200);
    CHECK(app.request_count() == 6);
  }

  TEST_CASE("a key that is none is 400 before anything is stored") {
    ScriptedUpstream app(reply(200));
    const KeyedSetup store("memory");
    const Holdfast holdfast(store.to(app));
    for (const auto& [key, reason] :
         std::vector<std::pair<std::string, std::string>>{{"", "empty"},
                                                          {"a b", "charset"},
                                                          {std::string(256, 'k'), "length"},
                                                          {"\"open", "syntax"}}) {
      CAPTURE(key);
      const Response refused = holdfast.post("/", "b", with_key(key));
      CHECK(refused.status == 400);
      CHECK(code_of(refused) == "key-invalid");
      CHECK(nlohmann::json::parse(refused.body)["reason"] == reason);
    }
    RawClient client = holdfast.client();
    const Response twice =
        client.post("/", "b", {{"Idempotency-Key", "a"}, {"Idempotency-Key", "a"}});
    CHECK(twice.status == 400);
    CHECK(nlohmann::json::parse(twice.body)["reason"] == "multiple");
    CHECK(client.get("/").status == 200);  // the connection went on
    CHECK(app.request_count() == 1);
  }

  TEST_CASE("no key: pass, reject or generate") {
    ScriptedUpstream app(reply(200, "x"));
    const KeyedSetup store("memory");
    SUBCASE("pass") {
      const Holdfast holdfast(store.to(app));
      CHECK(holdfast.post("/", "b").status == 200);
      CHECK(holdfast.post("/", "b").status == 200);
      CHECK(app.request_count() == 2);
      CHECK(outcomes(holdfast, "no_key") == 2);
    }
    SUBCASE("reject") {
      const Holdfast holdfast(store.to(app, "missing_key = \"reject\""));
      const Response refused = holdfast.post("/", "b");
      CHECK(refused.status == 400);
      CHECK(code_of(refused) == "key-missing");
      CHECK(app.request_count() == 0);
    }
    SUBCASE("generate") {
      const Holdfast holdfast(store.to(app, "missing_key = \"generate\""));
      const Response first = holdfast.post("/", "b", {{"Authorization", "alice"}});
      CHECK(first.headers.get("Idempotency-Key").starts_with("\"auto:"));
      CHECK_FALSE(app.last_request().headers.has("Idempotency-Key"));
      const Response second = holdfast.post("/", "b", {{"Authorization", "alice"}});
      CHECK(status_of(second) == "replayed");
      CHECK(second.headers.get("Idempotency-Key") == first.headers.get("Idempotency-Key"));
      CHECK(app.request_count() == 1);
      CHECK(holdfast.post("/", "b").status == 200);  // nobody known: passed
      CHECK(holdfast.post("/", "b").status == 200);
      CHECK(app.request_count() == 3);
      CHECK(outcomes(holdfast, "auto") == 1);
    }
  }

  TEST_CASE("a body that is larger than max_request_bytes is 413 and claims nothing") {
    ScriptedUpstream app(reply(200));
    const KeyedSetup store("memory");
    const Holdfast holdfast(store.to(app, "max_request_bytes = \"10B\""));
    CHECK(holdfast.post("/", "0123456789", with_key("k")).status == 200);
    const Response refused = holdfast.post("/", "0123456789a", with_key("l"));
    CHECK(refused.status == 413);
    CHECK(code_of(refused) == "request-too-large");
    CHECK(app.request_count() == 1);
    CHECK(holdfast.post("/", "short", with_key("l")).status == 200);
  }
}

TEST_SUITE("in flight") {
  TEST_CASE("a duplicate meets 409 in-progress, then the replay") {
    for (const std::string& kind : all_stores) {
      CAPTURE(kind);
      Gate gate;
      ScriptedUpstream app(after(gate, reply(200, "done")));
      const KeyedSetup store(kind);
      const Holdfast holdfast(store.to(app));
      RawClient first = holdfast.client();
      first.send(request_text("POST", "/", with_key("k"), "b"));
      REQUIRE(app.wait_for_requests(1));
      const Response second = holdfast.post("/", "b", with_key("k"));
      CHECK(second.status == 409);
      CHECK(code_of(second) == "in-progress");
      CHECK(second.headers.get("Retry-After") == "1");
      CHECK(nlohmann::json::parse(second.body)["retry_same_key"] == true);
      CHECK(holdfast.post("/", "c", with_key("k")).status == 422);
      gate.open();
      CHECK(first.read_response("POST").body == "done");
      CHECK(status_of(holdfast.post("/", "b", with_key("k"))) == "replayed");
      CHECK(app.request_count() == 1);
    }
  }

  TEST_CASE("with in_flight_wait duplicates get the result of the first") {
    for (const std::string& kind : all_stores) {
      CAPTURE(kind);
      Gate gate;
      ScriptedUpstream app(after(gate, reply(200, "done")));
      const KeyedSetup store(kind);
      Setup setup = store.to(app, "in_flight_wait = \"10s\"");
      setup.server = "workers = 2";
      const Holdfast holdfast(setup);
      std::list<RawClient> clients;
      for (int i = 0; i < 6; ++i) {
        clients.emplace_back(holdfast.address());
        clients.back().send(request_text("POST", "/", with_key("k"), "b"));
      }
      CHECK(holdfast.wait_metric("holdfast_idempotency_waiters", {}, 5));
      gate.open();
      int replayed = 0;
      for (RawClient& client : clients) {
        const Response response = client.read_response("POST");
        CHECK(response.status == 200);
        CHECK(response.body == "done");
        if (response.headers.has("Idempotent-Replayed")) ++replayed;
      }
      CHECK(replayed == 5);
      CHECK(app.request_count() == 1);
      CHECK(outcomes(holdfast, "waited") == 5);
    }
  }

  TEST_CASE("waiting ends at its bound with 409") {
    Gate gate;
    ScriptedUpstream app(after(gate, reply(200, "done")));
    const KeyedSetup store("memory");
    const Holdfast holdfast(store.to(app, "in_flight_wait = \"100ms\""));
    RawClient first = holdfast.client();
    first.send(request_text("POST", "/", with_key("k"), "b"));
    REQUIRE(app.wait_for_requests(1));
    CHECK(code_of(holdfast.post("/", "b", with_key("k"))) == "in-progress");
    gate.open();
    CHECK(first.read_response("POST").status == 200);
  }

  TEST_CASE("who waited for a request that the upstream refused is told the refusal") {
    Gate gate;
    ScriptedUpstream app(after(gate, reply(429, "slow down", {{"Retry-After", "7"}})));
    const KeyedSetup store("memory");
    const Holdfast holdfast(store.to(app, "in_flight_wait = \"10s\""));
    RawClient first = holdfast.client();
    RawClient second = holdfast.client();
    first.send(request_text("POST", "/", with_key("k"), "b"));
    REQUIRE(app.wait_for_requests(1));
    second.send(request_text("POST", "/", with_key("k"), "b"));
    CHECK(holdfast.wait_metric("holdfast_idempotency_waiters", {}, 1));
    gate.open();
    CHECK(first.read_response("POST").status == 429);
    const Response shared = second.read_response("POST");
    CHECK(shared.status == 429);
    CHECK(shared.body == "slow down");
    CHECK(app.request_count() == 1);
  }

  TEST_CASE("a client that leaves leaves its execution behind") {
    for (const std::string& kind : all_stores) {
      CAPTURE(kind);
      Gate gate;
      ScriptedUpstream app(after(gate, reply(200, "done")));
      const KeyedSetup store(kind);
      const Holdfast holdfast(store.to(app));
      {
        RawClient client = holdfast.client();
        client.send(request_text("POST", "/", with_key("k"), "b"));
        REQUIRE(app.wait_for_requests(1));
        client.reset();
      }
      CHECK(holdfast.wait_metric("holdfast_idempotency_detached", {}, 1));
      gate.open();
      CHECK(holdfast.wait_metric("holdfast_idempotency_inflight", {}, 0));
      const Response replay = holdfast.post("/", "b", with_key("k"));
      CHECK(replay.body == "done");
      CHECK(status_of(replay) == "replayed");
      CHECK(app.request_count() == 1);
      CHECK(holdfast.metric("holdfast_idempotency_detached") == 0);
    }
  }

  TEST_CASE("a timeout tells 504 execution-pending, and the execution goes on") {
    for (const std::string timeout : {"total = \"150ms\"", "per_try = \"150ms\""}) {
      CAPTURE(timeout);
      Gate gate;
      ScriptedUpstream app(after(gate, reply(200, "done")));
      const KeyedSetup store("memory");
      const Holdfast holdfast(store.to(app, "", "timeout = { " + timeout + " }"));
      RawClient client = holdfast.client();
      const Response pending = client.post("/", "b", with_key("k"));
      CHECK(pending.status == 504);
      CHECK(code_of(pending) == "execution-pending");
      CHECK(pending.headers.has("Retry-After"));
      CHECK(code_of(client.post("/", "b", with_key("k"))) == "in-progress");
      gate.open();
      CHECK(holdfast.wait_metric("holdfast_idempotency_inflight", {}, 0));
      CHECK(status_of(client.post("/", "b", with_key("k"))) == "replayed");
      CHECK(app.request_count() == 1);
    }
  }

  TEST_CASE("max_execution ends it: the outcome is unknown and stays so") {
    ScriptedUpstream app(in_turn({never_answer(), reply(200)}));
    const KeyedSetup store("memory");
    const Holdfast holdfast(store.to(app, "max_execution = \"200ms\""));
    const Response first = holdfast.post("/", "b", with_key("k"));
    CHECK(first.status == 502);
    CHECK(code_of(first) == "outcome-unknown");
    CHECK(nlohmann::json::parse(first.body)["reason"] == "timeout");
    const Response second = holdfast.post("/", "b", with_key("k"));
    CHECK(second.status == 409);
    CHECK(code_of(second) == "outcome-unknown");
    CHECK_FALSE(second.headers.has("Retry-After"));
    CHECK(app.request_count() == 1);
  }
}

TEST_SUITE("what is recorded") {
  TEST_CASE("definitive answers are recorded, refusals release the key") {
    const KeyedSetup store("memory");
    struct Case {
      int status;
      Headers headers;
      bool recorded;
    };
    const std::vector<Case> cases = {
        {200, {}, true},
        {302, {{"Location", "/x"}}, true},
        {402, {}, true},
        {404, {}, true},
        {409, {}, true},
        {409, {{"Retry-After", "1"}}, false},
        {500, {}, true},
        {503, {}, true},
        {503, {{"Retry-After", "1"}}, false},
        {401, {}, false},
        {408, {}, false},
        {425, {}, false},
        {429, {}, false},
        {204, {}, true},
    };
    ScriptedUpstream app(reply(200));
    const Holdfast holdfast(store.to(app, "", "retry = { attempts = 1 }"));
    int number = 0;
    for (const Case& each : cases) {
      CAPTURE(each.status);
      const std::string key = "k" + std::to_string(++number);
      app.answer(reply(each.status, each.status == 204 ? "" : "body", each.headers));
      const std::size_t before = app.request_count();
      const Response first = holdfast.post("/", "b", with_key(key));
      CHECK(first.status == each.status);
      CHECK(status_of(first) == (each.recorded ? "" : "released"));
      const Response second = holdfast.post("/", "b", with_key(key));
      CHECK(second.status == each.status);
      CHECK(app.request_count() - before == (each.recorded ? 1 : 2));
      CHECK(second.headers.has("Idempotent-Replayed") == each.recorded);
    }
  }

  TEST_CASE("nothing sent: the key is free again, and the answer says not-executed") {
    for (const std::string& kind : all_stores) {
      CAPTURE(kind);
      ScriptedUpstream app(reply(200, "ran"));
      app.refuse();
      const KeyedSetup store(kind);
      const Holdfast holdfast(store.to(app, "", "retry = { attempts = 2 }"));
      const Response refused = holdfast.post("/", "b", with_key("k"));
      CHECK(refused.status == 502);
      CHECK(status_of(refused) == "not-executed");
      CHECK(refused.body.find("connection-refused") != std::string::npos);
      app.accept_again();
      CHECK(holdfast.post("/", "b", with_key("k")).body == "ran");
      CHECK(app.request_count() == 1);
    }
  }

  TEST_CASE("a fallback stands in only where nothing was sent, and is never recorded") {
    ScriptedUpstream app(in_turn({send_and_reset(""), reply(200, "ran")}));
    const KeyedSetup store("memory");
    Setup setup = store.to(app, "", "retry = { attempts = 1 }");
    setup.route += "[[route.fallback]]\nstatus = 203\nbody = \"instead\"\n";
    const Holdfast holdfast(setup);
    const Response unknown = holdfast.post("/", "b", with_key("sent"));
    CHECK(unknown.status == 502);
    CHECK(code_of(unknown) == "outcome-unknown");
    app.refuse();
    const Response instead = holdfast.post("/", "b", with_key("not sent"[0] + std::string("1")));
    CHECK(instead.status == 203);
    CHECK(instead.body == "instead");
    CHECK(status_of(instead) == "not-executed");
    app.accept_again();
    CHECK(holdfast.post("/", "b", with_key("n1")).body == "ran");
  }

  TEST_CASE("a reset after the request went out is unknown, and is not sent again") {
    for (const std::string& kind : all_stores) {
      CAPTURE(kind);
      ScriptedUpstream app(in_turn({send_and_reset(""), reply(200)}));
      const KeyedSetup store(kind);
      const Holdfast holdfast(store.to(app));
      const Response first = holdfast.post("/", "b", with_key("k"));
      CHECK(first.status == 502);
      CHECK(code_of(first) == "outcome-unknown");
      CHECK(nlohmann::json::parse(first.body)["id"].get<std::string>().size() == 64);
      const Response second = holdfast.post("/", "b", with_key("k"));
      CHECK(second.status == 409);
      CHECK(status_of(second) == "outcome-unknown");
      CHECK(app.request_count() == 1);
    }
  }

  TEST_CASE("an answer that breaks off is gone: 502, then 409 result-unavailable") {
    ScriptedUpstream app(in_turn(
        {send_and_close("HTTP/1.1 201 Created\r\nLocation: /c/1\r\nContent-Length: 9\r\n\r\nhalf"),
         reply(200)}));
    const KeyedSetup store("memory");
    const Holdfast holdfast(store.to(app));
    const Response first = holdfast.post("/", "b", with_key("k"));
    CHECK(first.status == 502);
    CHECK(code_of(first) == "result-unavailable");
    const Response second = holdfast.post("/", "b", with_key("k"));
    CHECK(second.status == 409);
    CHECK(code_of(second) == "result-unavailable");
    CHECK(nlohmann::json::parse(second.body)["original_status"] == 201);
    CHECK(app.request_count() == 1);
  }

  TEST_CASE("an answer too large to keep streams to the first client and is gone for the next") {
    for (const bool with_length : {true, false}) {
      CAPTURE(with_length);
      const std::string large(300'000, 'x');
      ScriptedUpstream app([&](Exchange& exchange) {
        if (with_length) return exchange.respond(200, large, {{"ETag", "\"e\""}});
        exchange.send("HTTP/1.1 200 OK\r\nETag: \"e\"\r\nTransfer-Encoding: chunked\r\n\r\n");
        for (int i = 0; i < 30; ++i) exchange.send("2710\r\n" + std::string(10'000, 'x') + "\r\n");
        exchange.send("0\r\n\r\n");
      });
      const KeyedSetup store("memory");
      const Holdfast holdfast(store.to(app, "max_response_bytes = \"64KiB\""));
      const Response first = holdfast.post("/", "b", with_key("k"));
      CHECK(first.status == 200);
      CHECK(first.body == large);
      const Response second = holdfast.post("/", "b", with_key("k"));
      CHECK(second.status == 409);
      CHECK(code_of(second) == "result-unavailable");
      CHECK(second.headers.get("ETag") == "\"e\"");
      CHECK(nlohmann::json::parse(second.body)["reason"] == "too_large");
      CHECK(app.request_count() == 1);
    }
  }

  TEST_CASE("an event stream is not kept, and not held back") {
    Gate gate;
    ScriptedUpstream app([&](Exchange& exchange) {
      exchange.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n");
      exchange.hold(gate);
      exchange.close();
    });
    const KeyedSetup store("memory");
    const Holdfast holdfast(store.to(app));
    RawClient client = holdfast.client();
    client.send(request_text("POST", "/", with_key("k"), "b"));
    const Response head = client.read_head();
    CHECK(head.status == 200);
    CHECK(client.reader().read_line() == "9");  // the event has come while the stream is open
    gate.open();
    CHECK(eventually(
        [&] { return code_of(holdfast.post("/", "b", with_key("k"))) == "result-unavailable"; }));
    CHECK(app.request_count() == 1);
  }
}

TEST_SUITE("retries") {
  TEST_CASE("a refusal that `on` names is tried again under the same claim") {
    ScriptedUpstream app(
        in_turn({reply(503, "", {{"Retry-After", "0"}}), reply(200, "second time")}));
    const KeyedSetup store("memory");
    const Holdfast holdfast(store.to(app));
    const Response response = holdfast.post("/", "b", with_key("k"));
    CHECK(response.body == "second time");
    REQUIRE(app.request_count() == 2);
    CHECK(app.requests()[0].raw_head == app.requests()[1].raw_head);
    CHECK(status_of(holdfast.post("/", "b", with_key("k"))) == "replayed");
  }

  TEST_CASE("a 503 without Retry-After is an answer: it is recorded, not tried again") {
    ScriptedUpstream app(in_turn({reply(503, "no"), reply(200)}));
    const KeyedSetup store("memory");
    const Holdfast holdfast(store.to(app));
    CHECK(holdfast.post("/", "b", with_key("k")).status == 503);
    CHECK(status_of(holdfast.post("/", "b", with_key("k"))) == "replayed");
    CHECK(app.request_count() == 1);
  }

  TEST_CASE("with upstream_honours_key a reset is tried again with the same key") {
    ScriptedUpstream app(in_turn({send_and_reset(""), reply(200, "ran")}));
    const KeyedSetup store("memory");
    const Holdfast holdfast(store.to(app, "upstream_honours_key = true"));
    CHECK(holdfast.post("/", "b", with_key("k")).body == "ran");
    REQUIRE(app.request_count() == 2);
    CHECK(app.requests()[0].raw_head == app.requests()[1].raw_head);
  }

  TEST_CASE("each execution has a connection of its own") {
    ScriptedUpstream app(reply(200));
    const KeyedSetup store("memory");
    const Holdfast holdfast(store.to(app));
    for (int i = 0; i < 3; ++i) holdfast.post("/", "b", with_key("k" + std::to_string(i)));
    CHECK(app.connection_count() == 3);
    CHECK(app.last_request().headers.get("Connection") == "close");
  }
}

TEST_SUITE("an open breaker") {
  TEST_CASE("replays work, and what is new is not claimed") {
    ScriptedUpstream app(in_turn({reply(200, "kept"), send_and_reset("")}));
    const KeyedSetup store("memory");
    Setup setup = store.to(app, "", "retry = { attempts = 1 }");
    setup.more += "[upstream.app.breaker]\nconsecutive_failures = 1\nopen_for = \"60s\"\n";
    const Holdfast holdfast(setup);
    CHECK(holdfast.post("/", "b", with_key("kept")).status == 200);
    CHECK(holdfast.post("/", "b", with_key("lost")).status == 502);
    CHECK(holdfast.breaker_state() == "open");
    CHECK(holdfast.post("/", "b", with_key("kept")).body == "kept");
    const Response refused = holdfast.post("/", "b", with_key("new"));
    CHECK(refused.status == 503);
    CHECK(status_of(refused) == "not-executed");
    CHECK(refused.headers.has("Retry-After"));
    CHECK(app.request_count() == 2);
  }
}

TEST_SUITE("a process that ends") {
  TEST_CASE("killed in the middle, the key is unknown after the restart, never free") {
    ScriptedUpstream app(in_turn({never_answer(), reply(200, "ran twice")}));
    const KeyedSetup store("local");
    Setup setup = store.to(app);
    Holdfast holdfast(setup);
    RawClient client = holdfast.client();
    client.send(request_text("POST", "/", with_key("k"), "b"));
    REQUIRE(app.wait_for_requests(1));
    holdfast.signal(SIGKILL);
    holdfast.process().wait_for_exit();
    holdfast.ended_as_expected();
    holdfast.start_again();
    const Response response = holdfast.post("/", "b", with_key("k"));
    CHECK(response.status == 409);
    CHECK(code_of(response) == "outcome-unknown");
    CHECK(nlohmann::json::parse(response.body)["reason"] == "crash");
    CHECK(app.request_count() == 1);
  }

  TEST_CASE("an answer that was given is replayed after a kill") {
    ScriptedUpstream app(reply(201, "charged"));
    const KeyedSetup store("local");
    Holdfast holdfast(store.to(app));
    CHECK(holdfast.post("/", "b", with_key("k")).status == 201);
    holdfast.signal(SIGKILL);
    holdfast.process().wait_for_exit();
    holdfast.ended_as_expected();
    holdfast.start_again();
    const Response replay = holdfast.post("/", "b", with_key("k"));
    CHECK(replay.body == "charged");
    CHECK(status_of(replay) == "replayed");
    CHECK(app.request_count() == 1);
  }

  TEST_CASE("cut by the drain, the outcome is unknown, and says so") {
    for (const std::string kind : {"local", "redis"}) {
      CAPTURE(kind);
      ScriptedUpstream app(in_turn({never_answer(), reply(200, "ran twice")}));
      const KeyedSetup store(kind);
      Setup setup = store.to(app);
      setup.server = "drain_timeout = \"200ms\"";
      Holdfast holdfast(setup);
      RawClient client = holdfast.client();
      client.send(request_text("POST", "/", with_key("k"), "b"));
      REQUIRE(app.wait_for_requests(1));
      CHECK(holdfast.stop() == 0);
      const Response cut = client.read_response("POST");
      CHECK(cut.status == 503);
      CHECK(code_of(cut) == "outcome-unknown");
      holdfast.start_again();
      const Response again = holdfast.post("/", "b", with_key("k"));
      CHECK(again.status == 409);
      CHECK(nlohmann::json::parse(again.body)["reason"] == "shutdown");
      CHECK(app.request_count() == 1);
    }
  }
}

TEST_SUITE("a store that fails") {
  TEST_CASE("closed: 503 at once and nothing is sent; it works again when Redis does") {
    ScriptedUpstream app(reply(200, "ran"));
    KeyedSetup store("redis");
    const Holdfast holdfast(store.to(app));
    CHECK(holdfast.post("/", "b", with_key("before")).status == 200);
    store.redis().kill();
    for (int i = 0; i < 5; ++i) {
      const Response refused = holdfast.post("/", "b", with_key("k"));
      CHECK(refused.status == 503);
      CHECK(code_of(refused) == "store-unavailable");
      CHECK(refused.headers.get("Retry-After") == "1");
    }
    CHECK(holdfast.post("/", "b").status == 200);  // without a key all is as ever
    CHECK(app.request_count() == 2);
    store.redis().start();
    CHECK(eventually([&] { return holdfast.post("/", "b", with_key("k")).status == 200; }));
  }

  TEST_CASE("open: forwarded without protection, and it says so") {
    ScriptedUpstream app(reply(200, "ran"));
    KeyedSetup store("redis");
    store.redis().kill();
    const Holdfast holdfast(store.to(app, "on_store_error = \"open\""));
    for (int i = 0; i < 2; ++i) {
      const Response response = holdfast.post("/", "b", with_key("k"));
      CHECK(response.body == "ran");
      CHECK(status_of(response) == "bypassed");
    }
    CHECK(app.request_count() == 2);
    CHECK(outcomes(holdfast, "bypassed") == 2);
  }

  TEST_CASE("the store goes while the upstream works: the answer comes, unrecorded, and is kept") {
    Gate gate;
    ScriptedUpstream app(after(gate, reply(200, "ran")));
    KeyedSetup store("redis");
    const Holdfast holdfast(store.to(app));
    RawClient client = holdfast.client();
    client.send(request_text("POST", "/", with_key("k"), "b"));
    REQUIRE(app.wait_for_requests(1));
    store.redis().kill();
    gate.open();
    const Response response = client.read_response("POST");
    CHECK(response.body == "ran");
    CHECK(status_of(response) == "unrecorded");
    const Response replay = holdfast.post("/", "b", with_key("k"));
    CHECK(replay.body == "ran");
    CHECK(status_of(replay) == "replayed");
    store.redis().start();
    CHECK(holdfast.wait_metric("holdfast_idempotency_inflight", {}, 0));
    CHECK(status_of(holdfast.post("/", "b", with_key("k"))) == "replayed");
    CHECK(app.request_count() == 1);
  }

  TEST_CASE("a second process on the same file, and a Redis that evicts, end the start with 3") {
    ScriptedUpstream app(reply(200));
    SUBCASE("local") {
      const TemporaryFolder folder;
      const KeyedSetup store("local");
      Setup setup = store.to(app);
      setup.more += "path = \"" + folder.path() + "/records.db\"\n";
      const Holdfast first(setup);
      Holdfast second(setup, {.wait_until_ready = false});
      CHECK(second.process().wait_for_exit() == 3);
      second.ended_as_expected();
    }
    SUBCASE("redis") {
      KeyedSetup store("redis");
      store.redis().command({"CONFIG", "SET", "maxmemory-policy", "allkeys-lru"});
      Holdfast holdfast(store.to(app), {.wait_until_ready = false});
      CHECK(holdfast.process().wait_for_exit() == 3);
      holdfast.ended_as_expected();
    }
  }
}

TEST_SUITE("two replicas") {
  TEST_CASE("one key, one execution over both") {
    ScriptedUpstream app(reply(200, "ran"));
    const KeyedSetup store("redis");
    const Setup setup = store.to(app, "in_flight_wait = \"10s\"");
    const Holdfast one(setup);
    const Holdfast two(setup);
    for (int key = 0; key < 20; ++key) {
      const std::string name = "k" + std::to_string(key);
      RawClient a = one.client();
      RawClient b = two.client();
      a.send(request_text("POST", "/", with_key(name), "b"));
      b.send(request_text("POST", "/", with_key(name), "b"));
      CHECK(a.read_response("POST").body == "ran");
      CHECK(b.read_response("POST").body == "ran");
    }
    CHECK(app.request_count() == 20);
  }
}
