// Retries, as the contract's paragraph "Retries" has them, sentence by sentence.
#include <ctime>

#include "tests/support/suite.h"

using namespace holdfast::testing;

namespace {

/// Retries at once, and a breaker that never interferes.
Setup retrying(std::vector<std::string> endpoints, const std::string& retry_keys,
               const std::string& route = "") {
  return {.endpoints = std::move(endpoints),
          .route = route + "\n[route.retry]\nbudget = { ratio = 1.0, min_per_second = 1000 }\n" +
                   (retry_keys.find("backoff") == retry_keys.npos
                        ? "backoff = { kind = \"constant\", base = \"1ms\", jitter = \"none\" }\n"
                        : "") +
                   retry_keys,
          .more = "[upstream.app.breaker]\nenabled = false\n"};
}

/// When each request came.
class Arrivals {
 public:
  Handler note_then(Handler handler) {
    return [this, handler](Exchange& exchange) {
      {
        const std::lock_guard lock(mutex_);
        times_.push_back(SteadyClock::now());
      }
      handler(exchange);
    };
  }
  Milliseconds gap(std::size_t index) const {
    const std::lock_guard lock(mutex_);
    return std::chrono::duration_cast<Milliseconds>(times_.at(index + 1) - times_.at(index));
  }

 private:
  mutable std::mutex mutex_;
  std::vector<SteadyClock::time_point> times_;
};

std::string http_date(std::chrono::seconds from_now) {
  const std::time_t when = std::time(nullptr) + from_now.count();
  char text[64];
  std::tm parts{};
  std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&when, &parts));
  return text;
}

}  // namespace

TEST_CASE("a failure that `on` lists is tried again, and the answer counts its attempts") {
  const struct {
    std::string reason;
    Handler failure;
  } cases[] = {
      {"502", reply(502)},
      {"503", reply(503)},
      {"504", reply(504)},
      {"reset", send_and_reset("")},
      {"reset", send_and_close("HTTP/1.1 200 OK\r\nContent-")},
  };
  for (const auto& one : cases) {
    CAPTURE(one.reason);
    ScriptedUpstream app(in_turn({one.failure, reply(200, "good")}));
    const Holdfast holdfast(retrying({app.url()}, ""));
    const Response response = holdfast.get("/");
    CHECK(response.body == "good");
    CHECK(proxy_status(response, "attempts") == "2");
    CHECK(response.headers.get("Proxy-Status").starts_with("holdfast; "));
    CHECK(app.request_count() == 2);
    CHECK(holdfast.metric("holdfast_retries_total", {{"route", "main"}, {"reason", one.reason}}) ==
          1);
    CHECK(holdfast.wait_access_log(1)["attempts"] == 2);
  }
}

TEST_CASE("a status that `on` does not list is passed on at once") {
  ScriptedUpstream app(reply(500, "broken"));
  const Holdfast holdfast(retrying({app.url()}, ""));
  const Response response = holdfast.get("/");
  CHECK(response.status == 500);
  CHECK(response.body == "broken");
  CHECK_FALSE(response.headers.has("Proxy-Status"));
  CHECK(app.request_count() == 1);
}

TEST_CASE("`on` takes groups, single statuses and classes") {
  const struct {
    std::string on;
    int status;
    std::size_t attempts;
  } cases[] = {{"429", 429, 2}, {"4xx", 418, 2},   {"5xx", 599, 2},
               {"500", 501, 1}, {"reset", 503, 1}, {"429", 428, 1}};
  for (const auto& one : cases) {
    CAPTURE(one.on);
    CAPTURE(one.status);
    ScriptedUpstream app(in_turn({reply(one.status), reply(200)}));
    const Holdfast holdfast(retrying({app.url()}, "on = [\"" + std::string(one.on) + "\"]"));
    CHECK(holdfast.get("/").status == (one.attempts == 2 ? 200 : one.status));
    CHECK(app.request_count() == one.attempts);
  }
}

TEST_CASE("the last attempt's answer is the client's when no attempt is left") {
  ScriptedUpstream app(reply(503, "still down"));
  const Holdfast holdfast(retrying({app.url()}, "attempts = 4"));
  const Response response = holdfast.get("/");
  CHECK(response.status == 503);
  CHECK(response.body == "still down");
  CHECK(proxy_status(response, "attempts") == "4");
  CHECK(app.request_count() == 4);
  CHECK(holdfast.metric("http_client_requests_total",
                        {{"host", "app"}, {"method", "GET"}, {"status", "503"}}) == 4);
}

TEST_CASE("an error after several attempts says how many there were") {
  ScriptedUpstream app(send_and_reset(""));
  const Holdfast holdfast(retrying({app.url()}, "attempts = 3"));
  const Response response = holdfast.get("/");
  check_problem(response, 502, "connection-terminated", "connection_terminated");
  CHECK(proxy_status(response, "attempts") == "3");
  CHECK(app.request_count() == 3);
}

TEST_CASE("one attempt is no retry") {
  ScriptedUpstream app(reply(503));
  const Holdfast holdfast(retrying({app.url()}, "attempts = 1"));
  CHECK(holdfast.get("/").status == 503);
  CHECK(app.request_count() == 1);
}

TEST_CASE("only listed methods are sent again after a status or a reset") {
  ScriptedUpstream app(reply(503));
  const Holdfast holdfast(retrying({app.url()}, "attempts = 2"));
  std::size_t expected = 0;
  for (const std::string method : {"GET", "HEAD", "OPTIONS", "PUT", "DELETE"}) {
    CAPTURE(method);
    CHECK(fetch(holdfast.address(), "/", {}, method).status == 503);
    CHECK(app.request_count() == (expected += 2));
  }
  for (const std::string method : {"POST", "PATCH", "LINK"}) {
    CAPTURE(method);
    CHECK(fetch(holdfast.address(), "/", {}, method, "x").status == 503);
    CHECK(app.request_count() == (expected += 1));
  }
  app.answer(send_and_reset(""));
  CHECK(holdfast.post("/", "x").status == 502);
  CHECK(app.request_count() == expected + 1);
  CHECK(holdfast.metric("holdfast_retries_denied_total", {{"reason", "method"}}) == 4);
}

TEST_CASE("`methods` may be widened and narrowed") {
  ScriptedUpstream app(reply(503));
  const Holdfast holdfast(retrying({app.url()}, "attempts = 2\nmethods = [\"POST\"]"));
  holdfast.post("/", "x");
  CHECK(app.request_count() == 2);
  holdfast.get("/");
  CHECK(app.request_count() == 3);
}

TEST_CASE("a POST is sent again where the connection was refused, to another endpoint") {
  ScriptedUpstream dead(reply(500));
  ScriptedUpstream live(echo());
  dead.refuse();
  Setup setup = retrying({dead.url(), live.url()}, "attempts = 2");
  setup.upstream = "balance = \"round_robin\"";
  const Holdfast holdfast(setup);
  for (int request = 0; request < 4; ++request) CHECK(holdfast.post("/", "body").body == "body");
  CHECK(live.request_count() == 4);
  CHECK(holdfast.metric("holdfast_retries_total", {{"reason", "connect"}}) == 2);
  CHECK(holdfast.metric("http_client_requests_total", {{"status", "connection_refused"}}) == 2);
}

TEST_CASE("a retry prefers an endpoint that was not tried") {
  ScriptedUpstream bad(reply(503));
  ScriptedUpstream good(reply(200));
  const Holdfast holdfast(retrying({bad.url(), good.url()}, "attempts = 2"));
  for (int request = 0; request < 20; ++request) CHECK(holdfast.get("/").status == 200);
  CHECK(good.request_count() == 20);
}

TEST_CASE("nothing is retried once a byte of the response went to the client") {
  ScriptedUpstream app(send_and_reset("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npart"));
  const Holdfast holdfast(retrying({app.url()}, ""));
  const Response response = holdfast.get("/");
  CHECK_FALSE(response.complete);
  CHECK(app.request_count() == 1);
}

TEST_CASE("a kept body is sent again byte for byte, a larger one is not") {
  for (const bool chunked : {false, true}) {
    CAPTURE(chunked);
    ScriptedUpstream app(reply(503));
    const Holdfast holdfast(retrying({app.url()}, "attempts = 2\nbody_limit = \"1KiB\""));
    for (const std::size_t size : {std::size_t{1}, std::size_t{1024}, std::size_t{1025}}) {
      CAPTURE(size);
      std::string body(size, 'x');
      body.back() = '\n';
      const std::size_t before = app.request_count();
      RawClient client = holdfast.client();
      client.send("PUT / HTTP/1.1\r\nHost: a\r\n" +
                  (chunked ? "Transfer-Encoding: chunked\r\n\r\n" + chunk(body) + "0\r\n\r\n"
                           : "Content-Length: " + std::to_string(size) + "\r\n\r\n" + body));
      CHECK(client.read_response("PUT").status == 503);
      const auto requests = app.requests();
      CHECK(requests.size() - before == (size > 1024 ? 1 : 2));
      for (std::size_t index = before; index < requests.size(); ++index) {
        CHECK(requests[index].complete);
        CHECK(requests[index].body == body);
      }
    }
    CHECK(holdfast.metric("holdfast_retries_denied_total", {{"reason", "body"}}) == 1);
  }
}

TEST_CASE("every attempt carries the same request id") {
  ScriptedUpstream app(reply(503));
  const Holdfast holdfast(retrying({app.url()}, "attempts = 3"));
  holdfast.get("/");
  std::set<std::string> ids;
  for (const Request& request : app.requests()) ids.insert(request.headers.get("X-Request-Id"));
  CHECK(app.request_count() == 3);
  CHECK(ids.size() == 1);
}

TEST_CASE("the waits between attempts have the lengths that the file says") {
  const struct {
    std::string backoff;
    std::vector<int> waits;
  } cases[] = {
      {R"({ kind = "constant", base = "40ms", jitter = "none" })", {40, 40, 40}},
      {R"({ kind = "exponential", base = "30ms", jitter = "none" })", {30, 60, 120}},
      {R"({ kind = "fibonacci", base = "30ms", jitter = "none" })", {30, 30, 60}},
      {R"({ kind = "exponential", base = "20s", max = "30ms", jitter = "none" })", {30, 30, 30}},
      {R"({ kind = "constant", base = "60ms", jitter = "equal" })", {30, 30, 30}},
      {R"({ kind = "constant", base = "60ms", jitter = 0.5 })", {30, 30, 30}},
      {R"({ kind = "constant", base = "1ms", jitter = "full" })", {0, 0, 0}},
  };
  for (const auto& one : cases) {
    CAPTURE(one.backoff);
    Arrivals arrivals;
    ScriptedUpstream app(arrivals.note_then(reply(503)));
    const Holdfast holdfast(
        retrying({app.url()}, "attempts = 4\nbackoff = " + std::string(one.backoff)));
    const Stopwatch total;
    holdfast.get("/");
    CHECK(total.elapsed() < 10s);
    REQUIRE(app.request_count() == 4);
    // The wait begins when the answer came, so a gap is at least as long; a millisecond is
    // rounding.
    for (std::size_t gap = 0; gap < 3; ++gap) {
      CHECK(arrivals.gap(gap) + 1ms >= Milliseconds(one.waits[gap]));
    }
  }
}

TEST_CASE("Retry-After in seconds is obeyed") {
  Arrivals arrivals;
  ScriptedUpstream app(
      arrivals.note_then(in_turn({reply(503, "", {{"Retry-After", "1"}}), reply(200)})));
  const Holdfast holdfast(retrying({app.url()}, ""));
  CHECK(holdfast.get("/").status == 200);
  CHECK(arrivals.gap(0) >= 999ms);
}

TEST_CASE("Retry-After as a date is obeyed") {
  Arrivals arrivals;
  ScriptedUpstream app(arrivals.note_then([](Exchange& exchange) {
    const bool first = exchange.request.target == "/" && exchange.request.number == 1;
    if (first) return exchange.respond(503, "", {{"Retry-After", http_date(2s)}});
    exchange.respond(200);
  }));
  const Holdfast holdfast(retrying({app.url()}, ""));
  CHECK(holdfast.get("/").status == 200);
  // The date has whole seconds: what is left of two of them is more than one.
  CHECK(arrivals.gap(0) >= 990ms);
}

TEST_CASE("a Retry-After beyond retry_after_max is passed on with its response") {
  ScriptedUpstream app(
      in_turn({reply(503, "later", {{"Retry-After", "2"}}),
               reply(503, "later", {{"Retry-After", http_date(3600s)}}), reply(200)}));
  const Holdfast holdfast(retrying({app.url()}, "retry_after_max = \"1s\""));
  for (int request = 0; request < 2; ++request) {
    const Response response = holdfast.get("/");
    CHECK(response.status == 503);
    CHECK(response.body == "later");
    CHECK(response.headers.has("Retry-After"));
  }
  CHECK(app.request_count() == 2);
}

TEST_CASE("no retry begins past `total`, and the last answer is passed on") {
  ScriptedUpstream app(reply(503, "last"));
  const Holdfast holdfast(retrying(
      {app.url()}, R"(backoff = { kind = "constant", base = "10s", max = "10s", jitter = "none" })",
      "timeout = { total = \"500ms\" }"));
  const Stopwatch since;
  CHECK(holdfast.get("/").body == "last");
  CHECK(since.elapsed() < 5s);
  CHECK(app.request_count() == 1);
  CHECK(holdfast.metric("holdfast_retries_denied_total", {{"reason", "deadline"}}) == 1);
}

TEST_CASE("the budget bounds the retries of an upstream by the share of its requests") {
  ScriptedUpstream app(reply(503));
  Setup setup = retrying({app.url()}, "attempts = 2");
  const auto start = setup.route.find("budget");
  setup.route.replace(start, setup.route.find('\n', start) - start,
                      "budget = { ratio = 0.5, min_per_second = 0 }");
  const Holdfast holdfast(setup);
  for (int request = 0; request < 10; ++request) CHECK(holdfast.get("/").status == 503);
  CHECK(app.request_count() == 15);
  CHECK(holdfast.metric("holdfast_retries_total", {{"reason", "503"}}) == 5);
  CHECK(holdfast.metric("holdfast_retries_denied_total", {{"reason", "budget"}}) == 5);
}

TEST_CASE("a pooled connection that closed under a request is replaced without counting") {
  for (const bool reset : {false, true}) {
    CAPTURE(reset);
    ScriptedUpstream app([reset](Exchange& exchange) {
      if (exchange.request.number == 1) return exchange.respond(200, "fresh");
      reset ? exchange.reset() : exchange.close();
    });
    const Holdfast holdfast(retrying({app.url()}, "attempts = 1"));
    RawClient client = holdfast.client();
    CHECK(client.get("/").body == "fresh");
    const Response again = client.get("/");
    CHECK(again.body == "fresh");
    CHECK_FALSE(has_proxy_status(again, "attempts"));
    CHECK(client.post("/", "x").status == 502);
  }
}

TEST_CASE("a replaced connection is replaced once only") {
  ScriptedUpstream app(in_turn({reply(200), send_and_close("")}));
  const Holdfast holdfast(retrying({app.url()}, "attempts = 1"));
  CHECK(holdfast.get("/").status == 200);
  CHECK(holdfast.get("/").status == 502);
  CHECK(app.request_count() == 3);
}

TEST_CASE("a pooled connection that the upstream closed while idle harms nobody, not even a POST") {
  ScriptedUpstream app(reply(200));
  const Holdfast holdfast(retrying({app.url()}, "attempts = 1"));
  CHECK(holdfast.get("/").status == 200);
  app.close_connections();
  CHECK(holdfast.wait_metric("holdfast_upstream_connections", {{"state", "idle"}}, 0));
  CHECK(holdfast.post("/", "x").status == 200);
}

TEST_CASE("when the breaker opens between attempts the client sees the last answer") {
  ScriptedUpstream app(reply(503, "mine"));
  Setup setup = retrying({app.url()}, "attempts = 5");
  setup.more = "[upstream.app.breaker]\nconsecutive_failures = 2\n";
  const Holdfast holdfast(setup);
  const Response response = holdfast.get("/");
  CHECK(response.body == "mine");
  CHECK(app.request_count() == 2);
  CHECK(proxy_status(response, "attempts") == "2");
}

TEST_CASE(
    "a hedge is sent when the first attempt has no answer by then, and the first answer wins") {
  Gate gate;
  ScriptedUpstream app(in_turn({after(gate, reply(200, "slow")), reply(200, "quick")}));
  const Holdfast holdfast(retrying({app.url()}, "hedge_after = \"50ms\""));
  const Stopwatch since;
  const Response response = holdfast.get("/");
  CHECK(since.elapsed() >= 50ms);
  CHECK(response.body == "quick");
  CHECK(proxy_status(response, "attempts") == "2");
  CHECK(app.request_count() == 2);
  // The loser is cancelled: its connection ends while the upstream still holds it.
  gate.open();
  CHECK(eventually([&] { return app.open_connections() == 1; }));
}

TEST_CASE("a hedge whose answer is a failure does not beat the first attempt") {
  Gate gate;
  ScriptedUpstream app(in_turn({after(gate, reply(200, "slow but good")), [&](Exchange& exchange) {
                                  exchange.respond(503);
                                  gate.open();
                                }}));
  const Holdfast holdfast(retrying({app.url()}, "attempts = 2\nhedge_after = \"50ms\""));
  CHECK(holdfast.get("/").body == "slow but good");
}

TEST_CASE("a quick answer needs no hedge, and a POST gets none") {
  Gate gate;
  ScriptedUpstream app([&](Exchange& exchange) {
    if (exchange.request.method == "POST") exchange.hold(gate);
    exchange.respond(200);
  });
  const Holdfast holdfast(retrying({app.url()}, "hedge_after = \"100ms\""));
  CHECK_FALSE(holdfast.get("/").headers.has("Proxy-Status"));
  RawClient client = holdfast.client();
  client.send(request_text("POST", "/", {}, "x"));
  CHECK(client.wait_for_close(300ms) == Fault::timeout);
  gate.open();
  CHECK(client.read_response().status == 200);
  CHECK(app.request_count() == 2);
}

TEST_CASE("retries are on without a word in the file") {
  ScriptedUpstream app(in_turn({reply(503), reply(200)}));
  const Holdfast holdfast(Setup{.endpoints = {app.url()}});
  const Response response = holdfast.get("/");
  CHECK(response.status == 200);
  CHECK(proxy_status(response, "attempts") == "2");
}
