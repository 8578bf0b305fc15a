// Several endpoints: who is asked while some of them fail, stop, leave and come back.
#include <algorithm>
#include <atomic>
#include <csignal>
#include <map>
#include <set>
#include <thread>

#include "tests/support/endpoint_states.h"
#include "tests/support/suite.h"

using namespace holdfast::testing;

namespace {

/// An endpoint that is a process of its own, so that it can be stopped and killed: it answers with
/// its name.
class Backend {
 public:
  explicit Backend(const std::string& name)
      : process_("[[route]]\nrespond = { body = \"" + name + "\" }\n") {}
  std::string url() const { return "http://" + process_.address(); }
  const std::string& address() const { return process_.address(); }
  void stop() { process_.signal(SIGSTOP); }
  void go_on() { process_.signal(SIGCONT); }
  void kill() {
    process_.ended_as_expected();
    process_.signal(SIGKILL);
    CHECK(process_.process().wait_for_exit());
  }
  void start_again() { process_.start_again(); }

 private:
  Holdfast process_;
};

std::vector<std::unique_ptr<Backend>> backends(std::size_t count) {
  std::vector<std::unique_ptr<Backend>> made;
  for (std::size_t i = 0; i < count; ++i)
    made.push_back(std::make_unique<Backend>("backend-" + std::to_string(i)));
  return made;
}

template <class Servers>
std::vector<std::string> urls(const Servers& servers) {
  std::vector<std::string> list;
  for (const auto& server : servers) list.push_back(server->url());
  return list;
}

/// Clients that ask one request after the other until told to end.
class Load {
 public:
  Load(const Holdfast& holdfast, int clients) {
    for (int i = 0; i < clients; ++i) threads_.emplace_back([this, &holdfast] { ask(holdfast); });
  }
  ~Load() { end(); }
  void end() {
    ending_ = true;
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }
  int answered() const { return answered_; }
  int failed() const { return failed_; }
  std::map<std::string, int> by_body() {
    const std::lock_guard lock(mutex_);
    return bodies_;
  }
  void forget() {
    const std::lock_guard lock(mutex_);
    bodies_.clear();
  }
  /// Waits until so many more were answered.
  bool more(int count) {
    const int before = answered_;
    return eventually([&] { return answered_ >= before + count; });
  }

 private:
  void ask(const Holdfast& holdfast) {
    RawClient client(holdfast.address());
    while (!ending_) {
      const Response response = client.get("/");
      if (response.status == 200) {
        const std::lock_guard lock(mutex_);
        ++bodies_[response.body];
      } else {
        ++failed_;
      }
      ++answered_;
    }
  }

  std::atomic<bool> ending_{false};
  std::atomic<int> answered_{0};
  std::atomic<int> failed_{0};
  std::mutex mutex_;
  std::map<std::string, int> bodies_;
  std::vector<std::thread> threads_;
};

constexpr std::string_view quick_to_eject =
    "[upstream.app.breaker]\nenabled = false\n"
    "[upstream.app.outlier]\nconsecutive_failures = 3\neject_for = \"300ms\"\n";

/// The spread over `servers` is even within a tenth. One that the machine holds up for a moment
/// rightly gets less by least_request: so a later look may find it.
void check_even(Load& load, int count, std::size_t servers) {
  std::map<std::string, int> found;
  const auto even = [&] {
    int total = 0;
    for (const auto& [body, times] : found) total += times;
    return found.size() == servers && std::ranges::all_of(found, [&](const auto& one) {
             return one.second * static_cast<double>(servers) / total ==
                    doctest::Approx(1).epsilon(0.1);
           });
  };
  for (int look = 0; look < 5 && !even(); ++look) {
    load.forget();
    CHECK(load.more(count));
    found = load.by_body();
  }
  std::string spread;
  for (const auto& [body, times] : found) spread += body + " " + std::to_string(times) + " ";
  CAPTURE(spread);
  CHECK(even());
}

}  // namespace

TEST_CASE(
    "endpoints killed one by one and brought back under load fail no request that may go on") {
  for (const std::string balance : {"round_robin", "least_request"}) {
    CAPTURE(balance);
    auto servers = backends(3);
    Holdfast holdfast(Setup{.endpoints = urls(servers),
                            .server = "workers = 2",
                            .upstream = "balance = \"" + balance + "\"",
                            .route = "retry = { budget = { ratio = 1.0 } }",
                            .more = std::string(quick_to_eject)});
    Load load(holdfast, 8);
    REQUIRE(load.more(300));
    for (const auto& server : servers) {
      server->kill();
      CHECK(load.more(300));
      CHECK(wait_state(holdfast, server->address(), "ejected"));
      load.forget();
      CHECK(load.more(500));
      CHECK(load.by_body().size() == 2);
      server->start_again();
      CHECK(wait_state(holdfast, server->address(), "healthy"));
    }
    CHECK(wait_endpoints(holdfast, "healthy", 3));
    check_even(load, 3000, 3);
    load.end();
    CHECK(load.failed() == 0);
  }
}

TEST_CASE("an endpoint that stopped is ejected by its time-outs, and comes back") {
  auto servers = backends(2);
  Holdfast holdfast(Setup{.endpoints = urls(servers),
                          .route = "timeout = { per_try = \"150ms\" }\n"
                                   "retry = { on = [\"timeout\"], budget = { ratio = 1.0 } }",
                          .more = std::string(quick_to_eject)});
  Load load(holdfast, 4);
  REQUIRE(load.more(100));
  servers[0]->stop();
  CHECK(wait_state(holdfast, servers[0]->address(), "ejected"));
  const auto told = endpoint_of(holdfast, servers[0]->address());
  CHECK(told["why"] == "3 failures in a row, the last: http_response_timeout");
  CHECK(holdfast.wait_for_log("\"message\":\"endpoint ejected\""));
  CHECK(holdfast.metric("holdfast_upstream_ejections_total", {{"upstream", "app"}}) >= 1);
  CHECK(load.more(100));
  servers[0]->go_on();
  CHECK(wait_state(holdfast, servers[0]->address(), "healthy"));
  CHECK(holdfast.wait_for_log("\"message\":\"endpoint in service\""));
  load.forget();
  CHECK(load.more(100));
  CHECK(load.by_body().size() == 2);
  load.end();
  CHECK(load.failed() == 0);
}

TEST_CASE("with fewer in service than panic_below all are asked, the ejected ones too") {
  ScriptedUpstream good(reply(200));
  ScriptedUpstream bad(reply(500));
  const Holdfast holdfast(
      Setup{.endpoints = {good.url(), bad.url()},
            .upstream = "balance = \"round_robin\"",
            .more = "[upstream.app.breaker]\nenabled = false\n[upstream.app.outlier]\n"
                    "consecutive_failures = 1\npanic_below = 0.9\neject_for = \"10m\"\n"});
  for (int i = 0; i < 2; ++i) holdfast.get("/");
  CHECK(endpoint_of(holdfast, bad.address())["state"] == "ejected");
  const auto page = nlohmann::json::parse(holdfast.admin("/upstreams").body);
  CHECK(page["upstreams"][0]["panic"] == true);
  const std::size_t before = bad.request_count();
  for (int i = 0; i < 10; ++i) holdfast.get("/");
  CHECK(bad.request_count() == before + 5);
}

TEST_CASE("the last endpoint in service is never ejected") {
  ScriptedUpstream one(reply(500));
  ScriptedUpstream two(reply(500));
  const Holdfast holdfast(
      Setup{.endpoints = {one.url(), two.url()},
            .more = "[upstream.app.breaker]\nenabled = false\n[upstream.app.outlier]\n"
                    "consecutive_failures = 1\nmax_ejected = 1.0\npanic_below = 0.0\n"});
  for (int i = 0; i < 20; ++i) CHECK(holdfast.get("/").status == 500);
  CHECK(wait_endpoints(holdfast, "ejected", 1));
  CHECK(wait_endpoints(holdfast, "healthy", 1));
}

TEST_CASE("a reload that adds and takes endpoints away under load fails no request") {
  auto servers = backends(3);
  const auto setup = [&](std::vector<std::string> endpoints) {
    return Setup{.endpoints = std::move(endpoints), .upstream = "balance = \"round_robin\""};
  };
  Holdfast holdfast(setup({servers[0]->url(), servers[1]->url()}));
  Load load(holdfast, 4);
  for (int round = 0; round < 5; ++round) {
    CHECK(load.more(100));
    CHECK(holdfast.reload(setup({servers[1]->url(), servers[2]->url()})));
    CHECK(load.more(100));
    CHECK(holdfast.reload(setup(urls(servers))));
  }
  check_even(load, 1000, 3);
  load.end();
  CHECK(load.failed() == 0);
}

TEST_CASE("checks take out an endpoint whose /healthz fails, and bring it back") {
  std::atomic<int> health{200};
  const auto well = [](Exchange& exchange) { exchange.respond(200, "one"); };
  const auto flipping = [&](Exchange& exchange) {
    const bool check = exchange.request.target == "/healthz?deep=1";
    if (check) CHECK(exchange.request.headers.get("User-Agent") == "holdfast/health-check");
    exchange.respond(check ? health.load() : 200, "two");
  };
  ScriptedUpstream one(well);
  ScriptedUpstream two(flipping);
  const std::string checks =
      "[upstream.app.health]\npath = \"/healthz?deep=1\"\ninterval = \"50ms\"\n";
  const Setup setup{.endpoints = {one.url(), two.url()},
                    .server = "workers = 2",
                    .upstream = "balance = \"round_robin\"",
                    .more = checks};
  Holdfast holdfast(setup);
  Load load(holdfast, 4);
  CHECK(load.more(50));
  health = 503;
  CHECK(wait_state(holdfast, two.address(), "unhealthy"));
  CHECK(endpoint_of(holdfast, two.address())["why"] == "checks fail, the last: 503");
  CHECK(wait_endpoints(holdfast, "unhealthy", 1));
  load.forget();
  CHECK(load.more(100));
  CHECK(load.by_body()["two"] <= 4);  // those that were under way
  // A reload does not forget it; one without checks does.
  CHECK(holdfast.reload(setup));
  CHECK(endpoint_of(holdfast, two.address())["state"] == "unhealthy");
  health = 200;
  CHECK(wait_state(holdfast, two.address(), "healthy"));
  check_even(load, 500, 2);
  load.end();
  CHECK(load.failed() == 0);
  CHECK(holdfast.metric("holdfast_upstream_health_checks_total",
                        {{"upstream", "app"}, {"result", "failed"}}) >= 3);
  health = 503;
  CHECK(wait_state(holdfast, two.address(), "unhealthy"));
  Setup without = setup;
  without.more = "";
  CHECK(holdfast.reload(without));
  CHECK(endpoint_of(holdfast, two.address())["state"] == "healthy");
}

TEST_CASE("with no endpoint healthy and no panic requests are refused at once") {
  ScriptedUpstream app(reply(500));
  const Holdfast holdfast(
      Setup{.endpoints = {app.url()},
            .more = "[upstream.app.outlier]\npanic_below = 0.0\n[upstream.app.health]\n"
                    "path = \"/up\"\ninterval = \"50ms\"\n"});
  CHECK(wait_state(holdfast, app.address(), "unhealthy"));
  const Response refused = holdfast.get("/");
  CHECK(refused.status == 503);
  CHECK(refused.headers.get("Retry-After") == "1");
  CHECK(refused.body.find("destination-unavailable") != std::string::npos);
}

TEST_CASE("checks of an upstream that a reload removed end") {
  std::atomic<int> checks{0};
  ScriptedUpstream leaves([&](Exchange& exchange) {
    ++checks;
    exchange.respond(200);
  });
  std::atomic<int> others{0};
  ScriptedUpstream stays([&](Exchange& exchange) {
    ++others;
    exchange.respond(200);
  });
  const auto upstream = [](const std::string& name, const ScriptedUpstream& app) {
    return "[upstream." + name + "]\nendpoints = [\"" + app.url() +
           "\"]\nhealth = { path = \"/up\", " +
           "interval = \"10ms\" }\n[[route]]\nmatch = { path_prefix = \"/" + name +
           "\" }\nupstream = \"" + name + "\"\n";
  };
  Holdfast holdfast(upstream("leaves", leaves) + upstream("stays", stays));
  CHECK(eventually([&] { return checks > 2 && others > 2; }));
  CHECK(holdfast.reload(upstream("stays", stays)));
  // One may be on its way; then rounds of the other's checks bring none.
  const int seen = others;
  CHECK(eventually([&] { return others > seen + 5; }));
  const int before = checks;
  const int later = others;
  CHECK(eventually([&] { return others > later + 20; }));
  CHECK(checks == before);
}

TEST_CASE("an operator takes an endpoint out and puts it back, and a reload keeps it out") {
  auto servers = backends(2);
  const Setup setup{.endpoints = urls(servers), .upstream = "balance = \"round_robin\""};
  Holdfast holdfast(setup);
  const std::string first = servers[0]->address();
  const auto post = [&](const std::string& page, const std::string& body, Headers headers) {
    headers.add("Host", "localhost");
    return fetch(holdfast.admin_address(), page, headers, "POST", body).status;
  };
  const auto order = [&](const std::string& action, const std::string& endpoint) {
    return post("/upstreams/" + action, R"({"upstream":"app","endpoint":")" + endpoint + "\"}",
                {{"X-Holdfast-Admin", "1"}});
  };
  CHECK(post("/upstreams/drain", R"({"upstream":"app","endpoint":")" + first + "\"}", {}) == 403);
  CHECK(order("drain", "127.0.0.1:1") == 404);
  CHECK(order("stop", first) == 404);
  CHECK(holdfast.admin("/upstreams/drain").status == 405);
  CHECK(post("/upstreams/drain", "no json", {{"X-Holdfast-Admin", "1"}}) == 400);
  CHECK(endpoint_of(holdfast, first)["state"] == "healthy");

  Load load(holdfast, 4);
  CHECK(load.more(50));
  CHECK(order("drain", first) == 200);
  CHECK(endpoint_of(holdfast, first)["state"] == "draining");
  CHECK(holdfast.wait_for_log("\"message\":\"endpoint draining\""));
  CHECK(wait_endpoints(holdfast, "draining", 1));
  CHECK(holdfast.reload(setup));
  load.forget();
  CHECK(load.more(200));
  CHECK(load.by_body()["backend-0"] <= 4);
  CHECK(order("undrain", first) == 200);
  CHECK(endpoint_of(holdfast, first)["state"] == "healthy");
  check_even(load, 1000, 2);
  load.end();
  CHECK(load.failed() == 0);
}

TEST_CASE("a hash key keeps a user with an endpoint, over reloads and in every worker") {
  auto servers = backends(4);
  Holdfast holdfast(
      Setup{.endpoints = urls(servers),
            .server = "workers = 2",
            .upstream = "balance = \"consistent_hash\"\nhash_key = \"header:X-User\""});
  const auto home = [&](int user) {
    return holdfast.get("/", {{"X-User", "user-" + std::to_string(user)}}).body;
  };
  std::vector<std::string> homes;
  for (int user = 0; user < 60; ++user) homes.push_back(home(user));
  CHECK(std::set<std::string>(homes.begin(), homes.end()).size() == 4);
  for (int user = 0; user < 60; ++user) CHECK(home(user) == homes[static_cast<std::size_t>(user)]);
  // Those of a killed endpoint go elsewhere at their first failure, the others stay.
  servers[0]->kill();
  for (int user = 0; user < 60; ++user) {
    const std::string& before = homes[static_cast<std::size_t>(user)];
    const std::string now = home(user);
    CHECK((before == "backend-0" ? now != before && !now.empty() : now == before));
  }
  std::set<std::string> spread;
  for (int i = 0; i < 60; ++i) spread.insert(holdfast.get("/").body);
  CHECK(spread.size() == 3);
}
