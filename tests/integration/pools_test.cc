// Connection pools, their limits, and how requests are spread over endpoints.
#include "tests/support/suite.h"

using namespace holdfast::testing;

namespace {

/// Clients whose requests are under way at the same time.
class Crowd {
 public:
  explicit Crowd(const Holdfast& holdfast) : holdfast_(holdfast) {}

  void send(std::string_view target = "/") {
    auto& client = clients_.emplace_back(std::make_unique<RawClient>(holdfast_.address()));
    client->send(request_text("GET", target));
  }
  Response answer(std::size_t index) { return clients_.at(index)->read_response(); }
  void leave(std::size_t index) { clients_.at(index)->reset(); }

 private:
  const Holdfast& holdfast_;
  std::vector<std::unique_ptr<RawClient>> clients_;
};

std::vector<std::size_t> spread(const std::string& balance, const std::string& endpoints,
                                std::vector<std::unique_ptr<ScriptedUpstream>>& apps,
                                int requests) {
  const Holdfast holdfast("[upstream.app]\nbalance = \"" + balance + "\"\nendpoints = [" +
                          endpoints + "]\n[[route]]\nupstream = \"app\"\n");
  for (int request = 0; request < requests; ++request) CHECK(holdfast.get("/").status == 200);
  std::vector<std::size_t> counts;
  for (const auto& app : apps) counts.push_back(app->request_count());
  return counts;
}

std::vector<std::unique_ptr<ScriptedUpstream>> several(std::size_t count) {
  std::vector<std::unique_ptr<ScriptedUpstream>> apps;
  for (std::size_t index = 0; index < count; ++index) {
    apps.push_back(std::make_unique<ScriptedUpstream>(reply(200)));
  }
  return apps;
}

}  // namespace

TEST_CASE("a connection is used by clients one after the other") {
  ScriptedUpstream app(reply(200));
  const Holdfast holdfast(Setup{.endpoints = {app.url()}});
  for (int request = 0; request < 5; ++request) CHECK(holdfast.get("/").status == 200);
  CHECK(app.connection_count() == 1);
  CHECK(app.last_request().number == 5);
}

TEST_CASE("a response that closes its connection ends it in the pool") {
  ScriptedUpstream app(reply(200, "x", {{"Connection", "close"}}));
  const Holdfast holdfast(Setup{.endpoints = {app.url()}});
  RawClient client = holdfast.client();
  for (int request = 0; request < 3; ++request) CHECK(client.get("/").body == "x");
  CHECK(app.connection_count() == 3);
}

TEST_CASE("an idle connection is closed after idle_timeout") {
  ScriptedUpstream app(reply(200));
  const Holdfast holdfast(
      Setup{.endpoints = {app.url()}, .upstream = "pool = { idle_timeout = \"200ms\" }"});
  CHECK(holdfast.get("/").status == 200);
  const Stopwatch since;
  CHECK(eventually([&] { return app.open_connections() == 0; }));
  CHECK(since.elapsed() >= 150ms);
}

TEST_CASE("a connection carries max_requests and no more") {
  ScriptedUpstream app(reply(200));
  const Holdfast holdfast(
      Setup{.endpoints = {app.url()}, .upstream = "pool = { max_requests = 2 }"});
  for (int request = 0; request < 5; ++request) CHECK(holdfast.get("/").status == 200);
  CHECK(app.connection_count() == 3);
}

TEST_CASE("requests beyond max_connections wait, beyond max_pending they are refused") {
  Gate gate;
  ScriptedUpstream app(after(gate, reply(200)));
  const Holdfast holdfast(Setup{.endpoints = {app.url()},
                                .upstream = "pool = { max_connections = 1, max_pending = 1 }",
                                .route = "retry = { attempts = 1 }"});
  Crowd crowd(holdfast);
  crowd.send();
  REQUIRE(app.wait_for_requests(1));
  crowd.send();
  crowd.send();
  // Which of the two waits is the machine's choice; exactly one is refused.
  std::size_t refused = 0;
  CHECK(eventually([&] {
    return holdfast.metric("http_client_requests_total",
                           {{"status", "connection_limit_reached"}}) == 1 ||
           holdfast.metric("holdfast_requests_total", {{"status", "503"}}) == 1;
  }));
  CHECK(app.connection_count() == 1);
  gate.open();
  CHECK(crowd.answer(0).status == 200);
  for (const std::size_t index : {std::size_t{1}, std::size_t{2}}) {
    const Response response = crowd.answer(index);
    if (response.status == 200) continue;
    ++refused;
    check_problem(response, 503, "connection-limit-reached", "connection_limit_reached");
    CHECK(matches(response.headers.get("Retry-After"), "^[1-9][0-9]*$"));
  }
  CHECK(refused == 1);
  CHECK(app.connection_count() == 1);
}

TEST_CASE("with nothing in flight nobody is refused: an idle connection elsewhere makes room") {
  const std::string bounds = "pool = { max_connections = 1, max_pending = 0 }";
  ScriptedUpstream one(reply(200));
  ScriptedUpstream two(reply(200));
  SUBCASE("at another endpoint") {
    const Holdfast holdfast(Setup{.endpoints = {one.url(), two.url()},
                                  .upstream = bounds + "\nbalance = \"round_robin\""});
    for (int request = 0; request < 20; ++request) CHECK(holdfast.get("/").status == 200);
    CHECK(one.request_count() == 10);
    CHECK(two.request_count() == 10);
  }
  SUBCASE("of another worker") {
    const Holdfast holdfast(
        Setup{.endpoints = {one.url()}, .server = "workers = 2", .upstream = bounds});
    for (int request = 0; request < 60; ++request) CHECK(holdfast.get("/").status == 200);
  }
}

TEST_CASE("a client that gives up waiting leaves its place to the next") {
  Gate gate;
  ScriptedUpstream app(after(gate, reply(200)));
  const Holdfast holdfast(
      Setup{.endpoints = {app.url()}, .upstream = "pool = { max_connections = 1 }"});
  Crowd crowd(holdfast);
  crowd.send("/first");
  REQUIRE(app.wait_for_requests(1));
  crowd.send("/leaves");
  crowd.send("/stays");
  crowd.leave(1);
  gate.open();
  CHECK(crowd.answer(0).status == 200);
  CHECK(crowd.answer(2).status == 200);
}

TEST_CASE("the pool's gauge counts active and idle connections") {
  Gate gate;
  ScriptedUpstream app(after(gate, reply(200)));
  const Holdfast holdfast(Setup{.endpoints = {app.url()}});
  Crowd crowd(holdfast);
  crowd.send();
  crowd.send();
  REQUIRE(app.wait_for_requests(2));
  const char* gauge = "holdfast_upstream_connections";
  CHECK(holdfast.wait_metric(gauge, {{"upstream", "app"}, {"state", "active"}}, 2));
  gate.open();
  crowd.answer(0);
  crowd.answer(1);
  CHECK(holdfast.wait_metric(gauge, {{"upstream", "app"}, {"state", "idle"}}, 2));
  CHECK(holdfast.metric(gauge, {{"upstream", "app"}, {"state", "active"}}) == 0);
}

TEST_CASE("round_robin takes turns") {
  auto apps = several(3);
  const std::string endpoints =
      "\"" + apps[0]->url() + "\", \"" + apps[1]->url() + "\", \"" + apps[2]->url() + "\"";
  CHECK(spread("round_robin", endpoints, apps, 9) == std::vector<std::size_t>{3, 3, 3});
}

TEST_CASE("a weight is a share of the turns") {
  auto apps = several(2);
  const std::string endpoints =
      "{ url = \"" + apps[0]->url() + "\", weight = 3 }, \"" + apps[1]->url() + "\"";
  CHECK(spread("round_robin", endpoints, apps, 12) == std::vector<std::size_t>{9, 3});
}

TEST_CASE("least_request uses every endpoint") {
  auto apps = several(2);
  const std::string endpoints = "\"" + apps[0]->url() + "\", \"" + apps[1]->url() + "\"";
  const auto counts = spread("least_request", endpoints, apps, 60);
  CHECK(counts[0] > 0);
  CHECK(counts[1] > 0);
}

TEST_CASE("least_request avoids the endpoint that is busy") {
  Gate gate;
  auto apps = several(2);
  for (auto& app : apps) {
    app->answer([&](Exchange& exchange) {
      if (exchange.request.target == "/hold") exchange.hold(gate);
      exchange.respond(200);
    });
  }
  const Holdfast holdfast(Setup{.endpoints = {apps[0]->url(), apps[1]->url()}});
  Crowd crowd(holdfast);
  crowd.send("/hold");
  REQUIRE(eventually([&] { return apps[0]->request_count() + apps[1]->request_count() == 1; }));
  const std::size_t busy = apps[0]->request_count() == 1 ? 0 : 1;
  for (int request = 0; request < 40; ++request) CHECK(holdfast.get("/").status == 200);
  CHECK(apps[1 - busy]->request_count() > 2 * apps[busy]->request_count());
  gate.open();
  CHECK(crowd.answer(0).status == 200);
}

TEST_CASE("an endpoint that refuses is left for another by the retry") {
  auto apps = several(3);
  apps[0]->refuse();
  const Holdfast holdfast(Setup{.endpoints = {apps[0]->url(), apps[1]->url(), apps[2]->url()}});
  for (int request = 0; request < 12; ++request) CHECK(holdfast.get("/").status == 200);
}
