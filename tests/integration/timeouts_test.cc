// Timeouts: every key of `timeout`, its status, its name, and that it is never early.
#include "tests/support/suite.h"

using namespace holdfast::testing;

namespace {

Setup timed(const ScriptedUpstream& app, const std::string& timeout,
            const std::string& retry = "attempts = 1") {
  return {.endpoints = {app.url()},
          .route = "timeout = { " + timeout + " }\nretry = { " + retry + " }"};
}

/// A GET that must end in a 504 of that name, not before `at_least`.
void check_timeout(const Holdfast& holdfast, const std::string& error, Milliseconds at_least) {
  const Stopwatch since;
  const Response response = holdfast.get("/");
  CHECK(since.elapsed() >= at_least);
  CHECK(since.elapsed() < 5s);
  std::string type = error;
  for (char& letter : type) letter = letter == '_' ? '-' : letter;
  check_problem(response, 504, type, error);
  CHECK(holdfast.metric("http_client_requests_total", {{"host", "app"}, {"status", error}}) >= 1);
}

/// A head and the beginning of a body, then silence.
Handler stalled_body() {
  return [](Exchange& exchange) {
    exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbeginning");
    exchange.wait_for_close();
  };
}

}  // namespace

TEST_CASE("connect: an address that does not answer") {
  const BlackHole hole;
  const Holdfast holdfast(
      Setup{.endpoints = {"http://" + hole.address()},
            .route = "timeout = { connect = \"150ms\" }\nretry = { attempts = 1 }"});
  check_timeout(holdfast, "connection_timeout", 149ms);
}

TEST_CASE("per_try: an attempt without the head of its answer") {
  ScriptedUpstream app(never_answer());
  const Holdfast holdfast(timed(app, "per_try = \"150ms\""));
  check_timeout(holdfast, "http_response_timeout", 149ms);
  CHECK(eventually([&] { return app.open_connections() == 0; }));
}

TEST_CASE("per_try: half a head is no answer") {
  ScriptedUpstream app([](Exchange& exchange) {
    exchange.send("HTTP/1.1 200 OK\r\nContent-");
    exchange.wait_for_close();
  });
  const Holdfast holdfast(timed(app, "per_try = \"100ms\""));
  check_timeout(holdfast, "http_response_timeout", 99ms);
}

TEST_CASE("per_try does not bound the body") {
  ScriptedUpstream app([](Exchange& exchange) {
    exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n");
    for (const std::string piece : {"b", "o", "d", "y"}) {
      std::this_thread::sleep_for(50ms);
      exchange.send(piece);
    }
  });
  const Holdfast holdfast(timed(app, "per_try = \"100ms\", total = \"120ms\""));
  CHECK(holdfast.get("/").body == "body");
}

TEST_CASE("per_try: each attempt has its own") {
  ScriptedUpstream app(in_turn({never_answer(), never_answer(), reply(200, "third")}));
  const Holdfast holdfast(timed(app, "per_try = \"100ms\"", "attempts = 3, on = [\"timeout\"]"));
  const Stopwatch since;
  const Response response = holdfast.get("/");
  CHECK(response.body == "third");
  CHECK(since.elapsed() >= 199ms);
  CHECK(proxy_status(response, "attempts") == "3");
  CHECK(holdfast.metric("holdfast_retries_total", {{"reason", "timeout"}}) == 2);
}

TEST_CASE("total: over all attempts and waits") {
  ScriptedUpstream app(never_answer());
  const Holdfast holdfast(
      timed(app, "per_try = \"60ms\", total = \"200ms\"",
            "attempts = 10, on = [\"timeout\"], budget = { ratio = 1.0, min_per_second = 100 }, "
            "backoff = { kind = \"constant\", base = \"1ms\", jitter = \"none\" }"));
  const Stopwatch since;
  const Response response = holdfast.get("/");
  check_problem(response, 504, "http-response-timeout", "http_response_timeout");
  CHECK(since.elapsed() >= 180ms);
  CHECK(since.elapsed() < 5s);
  CHECK(app.request_count() >= 2);
  CHECK(app.request_count() <= 4);
}

TEST_CASE("total: one attempt that never answers") {
  ScriptedUpstream app(never_answer());
  const Holdfast holdfast(timed(app, "total = \"150ms\"", "attempts = 3, on = [\"timeout\"]"));
  check_timeout(holdfast, "http_response_timeout", 149ms);
}

TEST_CASE("total begins when the request's last byte has been passed on") {
  ScriptedUpstream app(echo());
  const Holdfast holdfast(timed(app, "total = \"250ms\", per_try = \"250ms\""));
  RawClient client = holdfast.client();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
  for (const std::string piece : {"s", "l", "o", "w", "!"}) {
    std::this_thread::sleep_for(80ms);
    client.send(piece);
  }
  CHECK(client.read_response().body == "slow!");
}

TEST_CASE("idle: silence within a response's body cuts it, visibly") {
  ScriptedUpstream app(stalled_body());
  const Holdfast holdfast(timed(app, "idle = \"150ms\""));
  const Stopwatch since;
  const Response response = holdfast.get("/");
  CHECK(since.elapsed() >= 149ms);
  CHECK_FALSE(response.complete);
  CHECK(response.status == 200);
  CHECK(response.body == "beginning");
  CHECK(holdfast.wait_access_log(1)["error"] == "connection_read_timeout");
}

TEST_CASE("idle: a body that keeps moving is not cut") {
  ScriptedUpstream app([](Exchange& exchange) {
    exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n");
    for (int piece = 0; piece < 6; ++piece) {
      std::this_thread::sleep_for(60ms);
      exchange.send("x");
    }
  });
  const Holdfast holdfast(timed(app, "idle = \"200ms\""));
  CHECK(holdfast.get("/").body == "xxxxxx");
}

TEST_CASE("idle: an upstream that does not take the request's body") {
  ScriptedUpstream app(
      [](Exchange& exchange) {
        Gate never;
        exchange.hold(never);
      },
      BodyReading::by_handler);
  const Holdfast holdfast(timed(app, "idle = \"200ms\", total = \"off\""));
  RawClient client = holdfast.client();
  client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n");
  const std::string block(1 << 20, 'x');
  try {
    for (;;) client.socket().send(block, 100ms);
  } catch (const WireError&) {
  }
  check_problem(client.read_response(), 504, "connection-write-timeout",
                "connection_write_timeout");
}

TEST_CASE("stream: the longest whole exchange, however lively") {
  ScriptedUpstream app([](Exchange& exchange) {
    exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (;;) {
      std::this_thread::sleep_for(10ms);
      exchange.send(chunk("x"));
    }
  });
  const Holdfast holdfast(timed(app, "stream = \"300ms\""));
  const Stopwatch since;
  const Response response = holdfast.get("/");
  CHECK(since.elapsed() >= 299ms);
  CHECK(since.elapsed() < 5s);
  CHECK_FALSE(response.complete);
  CHECK(response.status == 200);
}

TEST_CASE("deadline_header: what is no number of milliseconds is a 400") {
  ScriptedUpstream app(reply(200));
  const Holdfast holdfast(timed(app, "deadline_header = \"X-Deadline\""));
  for (const std::string value : {"abc", "-1", "1.5", "1s", "", "99999999999999999999999"}) {
    CAPTURE(value);
    check_problem(holdfast.get("/", {{"X-Deadline", value}}), 400, "bad-request",
                  "http_request_error");
  }
  CHECK(app.request_count() == 0);
  CHECK(holdfast.get("/").status == 200);
}

TEST_CASE("deadline_header: one that is over is a 504, and nothing is attempted") {
  ScriptedUpstream app(reply(200));
  const Holdfast holdfast(timed(app, "deadline_header = \"X-Deadline\"",
                                "on = [\"timeout\"], methods = [\"GET\", \"POST\"]"));
  for (const std::string method : {"GET", "POST"}) {
    CAPTURE(method);
    RawClient client = holdfast.client();
    const Response response = client.request(method, "/", {{"X-Deadline", "0"}}, "body");
    check_problem(response, 504, "http-response-timeout", "http_response_timeout");
  }
  CHECK(app.connection_count() == 0);
  CHECK(holdfast.metric("http_client_requests_total", {}) == 0);
}

TEST_CASE("deadline_header: it shortens `total` and never lengthens it") {
  ScriptedUpstream app(never_answer());
  const Holdfast holdfast(timed(app, "total = \"300ms\", deadline_header = \"X-Deadline\""));
  for (const auto& [value, at_least] : {std::pair{"100", 99ms}, std::pair{"60000", 299ms}}) {
    const Stopwatch since;
    const Response response = holdfast.get("/", {{"X-Deadline", value}});
    check_problem(response, 504, "http-response-timeout", "http_response_timeout");
    CHECK(since.elapsed() >= at_least);
    CHECK(since.elapsed() < 5s);
  }
}

TEST_CASE("deadline_header: each attempt carries what is left") {
  ScriptedUpstream app(in_turn({reply(503), reply(200)}));
  const Holdfast holdfast(timed(
      app, "total = \"10s\", deadline_header = \"X-Deadline\"",
      "attempts = 2, backoff = { kind = \"constant\", base = \"100ms\", jitter = \"none\" }"));
  CHECK(holdfast.get("/", {{"X-Deadline", "5000"}}).status == 200);
  const auto requests = app.requests();
  REQUIRE(requests.size() == 2);
  const int first = std::stoi(requests[0].headers.get("X-Deadline"));
  const int second = std::stoi(requests[1].headers.get("X-Deadline"));
  CHECK(first <= 5000);
  CHECK(first > 0);
  CHECK(second <= first - 99);
  CHECK(second > 0);
}

TEST_CASE("deadline_header: without one from the client `total` itself is passed on") {
  ScriptedUpstream app(reply(200));
  const Holdfast holdfast(timed(app, "total = \"10s\", deadline_header = \"X-Deadline\""));
  holdfast.get("/");
  const int left = std::stoi(app.last_request().headers.get("X-Deadline"));
  CHECK(left <= 10000);
  CHECK(left > 0);
}

TEST_CASE("the nearest level of a policy wins, key by key") {
  ScriptedUpstream app(never_answer());
  const Holdfast holdfast(
      "[defaults.timeout]\ntotal = \"20s\"\nper_try = \"19s\"\n"
      "[upstream.app]\nendpoints = [\"" +
      app.url() +
      "\"]\ntimeout = { per_try = \"18s\" }\n"
      "[[route]]\nupstream = \"app\"\nretry = { attempts = 1 }\n"
      "timeout = { total = \"100ms\" }\n");
  check_timeout(holdfast, "http_response_timeout", 99ms);
}
