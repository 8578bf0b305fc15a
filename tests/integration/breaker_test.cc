// The circuit breaker: when it opens, what it does while open, how it closes, who shares it.
#include "tests/support/suite.h"

using namespace holdfast::testing;

namespace {

/// No retries, so that every request is one call.
Setup guarded(const ScriptedUpstream& app, const std::string& breaker) {
  return {.endpoints = {app.url()},
          .route = "retry = { attempts = 1 }",
          .more = "[upstream.app.breaker]\n" + breaker + "\n"};
}

/// One failure opens it, one success closes it again.
std::string hair_trigger(const std::string& open_for) {
  return "consecutive_failures = 1\nhalf_open_requests = 1\nopen_for = \"" + open_for + "\"";
}

void check_open(const Holdfast& holdfast) {
  const Response response = holdfast.get("/");
  check_problem(response, 503, "destination-unavailable", "destination_unavailable");
  CHECK(matches(response.headers.get("Retry-After"), "^[1-9][0-9]*$"));
}

/// Asks until the upstream sees another request; how long that took.
Milliseconds time_until_admitted(const Holdfast& holdfast, const ScriptedUpstream& app) {
  const Stopwatch since;
  const std::size_t before = app.request_count();
  CHECK(eventually([&] {
    holdfast.get("/");
    return app.request_count() > before;
  }));
  return since.elapsed();
}

/// A client whose request was let through as a probe and has no answer yet.
std::unique_ptr<RawClient> send_probe(const Holdfast& holdfast, const ScriptedUpstream& app) {
  const std::size_t before = app.request_count();
  for (const Stopwatch since; since.elapsed() < patience;) {
    auto client = std::make_unique<RawClient>(holdfast.address());
    client->send(request_text("GET", "/"));
    // It is either refused at once or seen by the upstream.
    eventually([&] {
      return app.request_count() > before || client->wait_for_close(1ms) != Fault::timeout;
    });
    if (app.request_count() > before) return client;
  }
  FAIL("no probe was let through");
  return nullptr;
}

}  // namespace

TEST_CASE("it opens at the failure rate, once the window holds enough requests") {
  ScriptedUpstream app(in_turn({reply(200), reply(200), reply(500)}));
  const Holdfast holdfast(guarded(app, "min_requests = 4\nfailure_rate = 0.5"));
  for (const int status : {200, 200, 500}) {
    CHECK(holdfast.get("/").status == status);
    CHECK(holdfast.breaker_state() == "closed");
  }
  CHECK(holdfast.get("/").status == 500);
  CHECK(holdfast.breaker_state() == "open");
  CHECK(holdfast.metric("holdfast_breaker_transitions_total",
                        {{"upstream", "app"}, {"from", "closed"}, {"to", "open"}}) == 1);
}

TEST_CASE("while open the answer comes at once and no connection is made") {
  ScriptedUpstream app(send_and_reset(""));
  const Holdfast holdfast(guarded(app, "consecutive_failures = 1\nopen_for = \"30s\""));
  CHECK(holdfast.get("/").status == 502);
  const std::size_t connections = app.connection_count();
  const Response response = holdfast.get("/");
  check_problem(response, 503, "destination-unavailable", "destination_unavailable");
  const int retry_after = std::stoi(response.headers.get("Retry-After"));
  CHECK(retry_after >= 29);
  CHECK(retry_after <= 33);
  CHECK(app.connection_count() == connections);
  CHECK(holdfast.metric("holdfast_breaker_rejected_total", {{"upstream", "app"}}) == 1);
  CHECK(holdfast.wait_access_log(2)["breaker"] == "open");
}

TEST_CASE("it opens after so many failures in a row, whatever min_requests says") {
  ScriptedUpstream app(in_turn({reply(500), reply(500), reply(200), reply(500)}));
  const Holdfast holdfast(guarded(app, "consecutive_failures = 3\nmin_requests = 1000"));
  for (int request = 0; request < 5; ++request) holdfast.get("/");
  CHECK(holdfast.breaker_state() == "closed");
  holdfast.get("/");
  CHECK(holdfast.breaker_state() == "open");
}

TEST_CASE("it opens by slow calls") {
  ScriptedUpstream app([](Exchange& exchange) {
    std::this_thread::sleep_for(60ms);
    exchange.respond(200);
  });
  const Holdfast holdfast(
      guarded(app, "min_requests = 3\nslow_call = \"50ms\"\nslow_call_rate = 1.0"));
  for (int request = 0; request < 3; ++request) CHECK(holdfast.get("/").status == 200);
  check_open(holdfast);
}

TEST_CASE("`failures` says what counts") {
  const struct {
    std::string failures;
    Handler answer;
    std::string state;
  } cases[] = {
      {R"(["connect", "reset", "timeout", "5xx"])", reply(404), "closed"},
      {R"(["connect", "reset", "timeout", "5xx"])", reply(500), "open"},
      {R"(["connect"])", reply(500), "closed"},
      {R"(["reset"])", send_and_reset(""), "open"},
      {R"(["429"])", reply(429), "open"},
      {R"(["timeout"])", never_answer(), "open"},
      {R"(["reset"])", never_answer(), "closed"},
  };
  for (const auto& one : cases) {
    CAPTURE(one.failures);
    ScriptedUpstream app(one.answer);
    Setup setup = guarded(app, "consecutive_failures = 1\nfailures = " + std::string(one.failures));
    setup.route += "\ntimeout = { per_try = \"50ms\" }";
    const Holdfast holdfast(setup);
    holdfast.get("/");
    CHECK(holdfast.breaker_state() == one.state);
  }
}

TEST_CASE("a refused connection counts as `connect`") {
  ScriptedUpstream app(reply(200));
  app.refuse();
  const Holdfast holdfast(guarded(app, "consecutive_failures = 2\nfailures = [\"connect\"]"));
  CHECK(holdfast.get("/").status == 502);
  CHECK(holdfast.get("/").status == 502);
  check_open(holdfast);
}

TEST_CASE("a breaker that is not enabled never opens") {
  ScriptedUpstream app(reply(500));
  const Holdfast holdfast(guarded(app, "enabled = false\nconsecutive_failures = 1"));
  for (int request = 0; request < 30; ++request) CHECK(holdfast.get("/").status == 500);
  CHECK(app.request_count() == 30);
}

TEST_CASE("by default it opens at half of twenty requests") {
  ScriptedUpstream app(reply(500));
  const Holdfast holdfast(guarded(app, ""));
  for (int request = 0; request < 20; ++request) CHECK(holdfast.get("/").status == 500);
  check_open(holdfast);
}

TEST_CASE("half-open admits so many probes at a time, and all must succeed to close it") {
  Gate gate;
  ScriptedUpstream app(in_turn({reply(500), after(gate, reply(200))}));
  const Holdfast holdfast(
      guarded(app, "consecutive_failures = 1\nopen_for = \"50ms\"\nhalf_open_requests = 2"));
  holdfast.get("/");
  const auto first = send_probe(holdfast, app);
  const auto second = send_probe(holdfast, app);
  CHECK(holdfast.breaker_state() == "half_open");
  check_open(holdfast);
  CHECK(app.request_count() == 3);
  gate.open();
  CHECK(first->read_response().status == 200);
  CHECK(second->read_response().status == 200);
  CHECK(holdfast.breaker_state() == "closed");
  CHECK(holdfast.get("/").status == 200);
}

TEST_CASE("a failing probe re-opens it for twice as long") {
  ScriptedUpstream app(reply(500));
  const Holdfast holdfast(guarded(app, hair_trigger("200ms")));
  holdfast.get("/");
  CHECK(time_until_admitted(holdfast, app) >= 190ms);
  CHECK(time_until_admitted(holdfast, app) >= 390ms);
  CHECK(holdfast.metric("holdfast_breaker_transitions_total",
                        {{"from", "half_open"}, {"to", "open"}}) == 2);
}

TEST_CASE("the pause never grows beyond open_max") {
  ScriptedUpstream app(reply(500));
  const Holdfast holdfast(guarded(app, hair_trigger("20ms") + "\nopen_max = \"40ms\""));
  holdfast.get("/");
  const Stopwatch since;
  for (int opening = 0; opening < 10; ++opening) time_until_admitted(holdfast, app);
  // Doubling without a bound would take 20 s.
  CHECK(since.elapsed() < 10s);
}

TEST_CASE("a client that goes away counts neither way") {
  ScriptedUpstream app(never_answer());
  const Holdfast holdfast(guarded(app, "min_requests = 2\nconsecutive_failures = 2"));
  for (std::size_t request = 1; request <= 4; ++request) {
    RawClient client = holdfast.client();
    client.send(request_text("GET", "/"));
    REQUIRE(app.wait_for_requests(request));
    client.reset();
  }
  CHECK(eventually([&] { return app.open_connections() == 0; }));
  CHECK(holdfast.breaker_state() == "closed");
  // None of them stands in the window as a success either: two failures in a row are all there is.
  app.answer(reply(500));
  holdfast.get("/");
  holdfast.get("/");
  CHECK(holdfast.breaker_state() == "open");
}

TEST_CASE("a probe whose client goes away gives its place back") {
  ScriptedUpstream app(in_turn({reply(500), never_answer(), reply(200)}));
  const Holdfast holdfast(guarded(app, hair_trigger("20ms")));
  holdfast.get("/");
  send_probe(holdfast, app)->reset();
  CHECK(eventually([&] { return app.open_connections() == 0; }));
  CHECK(eventually([&] { return holdfast.get("/").status == 200; }));
  CHECK(holdfast.breaker_state() == "closed");
}

TEST_CASE("all workers share one breaker") {
  ScriptedUpstream app(reply(500));
  Setup setup = guarded(app, "min_requests = 10\nopen_for = \"30s\"");
  setup.server = "workers = 2";
  const Holdfast holdfast(setup);
  for (int request = 0; request < 10; ++request) CHECK(holdfast.get("/").status == 500);
  for (int request = 0; request < 20; ++request) CHECK(holdfast.get("/").status == 503);
  CHECK(app.request_count() == 10);
  CHECK(holdfast.metric("holdfast_breaker_rejected_total", {{"upstream", "app"}}) == 20);
}

TEST_CASE("upstreams have a breaker each") {
  ScriptedUpstream bad(reply(500));
  ScriptedUpstream good(reply(200));
  Setup setup = guarded(bad, hair_trigger("30s"));
  setup.route = "match = { path = \"/bad\" }\n" + setup.route;
  setup.more += "[upstream.good]\nendpoints = [\"" + good.url() +
                "\"]\n[[route]]\nname = \"good\"\nupstream = \"good\"\n";
  const Holdfast holdfast(setup);
  holdfast.get("/bad");
  CHECK(holdfast.get("/bad").status == 503);
  CHECK(holdfast.get("/good").status == 200);
  CHECK(holdfast.breaker_state("good") == "closed");
}

TEST_CASE("its state survives a reload as long as the upstream keeps its name") {
  ScriptedUpstream app(reply(500));
  Setup setup = guarded(app, hair_trigger("30s"));
  Holdfast holdfast(setup);
  holdfast.get("/");
  check_open(holdfast);
  setup.route += "\ntimeout = { total = \"9s\" }";
  REQUIRE(holdfast.reload(setup));
  check_open(holdfast);
  CHECK(holdfast.breaker_state() == "open");
  std::string renamed = setup.text();
  for (auto at = renamed.find("app"); at != renamed.npos; at = renamed.find("app", at + 1)) {
    renamed.replace(at, 3, "new");
  }
  REQUIRE(holdfast.reload(renamed));
  CHECK(holdfast.get("/").status == 500);
}
