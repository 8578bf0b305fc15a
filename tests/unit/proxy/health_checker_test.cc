#include "holdfast/proxy/health_checker.h"

#include <doctest/doctest.h>

#include <set>

#include "tests/support/proxy_fixture.h"

namespace holdfast::test {
namespace {

using namespace std::chrono_literals;
using proxy::EndpointState;

/// Checks of /up every second, whose patience is 300 ms: two bad or two good ones decide.
class CheckerFixture {
 public:
  explicit CheckerFixture(std::vector<std::string> urls = {"http://10.0.0.1:80"})
      : frames_before_(runtime::live_frames()) {
    config = one_upstream(urls);
    config.upstreams["api"].health = {"/up", 1s, 300ms, 2, 2};
    checkers =
        std::make_unique<proxy::HealthCheckers>(upstreams, world.context(), network, network);
    network.on_accept = [this](Peer& peer) {
      peer.on_change = [this, &peer] { react(peer); };
      react(peer);
    };
    load();
  }
  ~CheckerFixture() {
    checkers.reset();
    world.settle();
    CHECK(runtime::live_frames() == frames_before_);
  }

  void load() {
    upstreams.apply(config, world.now());
    checkers->sync();
    world.settle();
  }
  std::string state(std::size_t i = 0) {
    return std::string(name(endpoints().report(world.now())[i].state));
  }
  std::string why() { return endpoints().report(world.now())[0].why; }
  proxy::SharedEndpoints& endpoints() { return upstreams.find("api")->endpoints(); }

  World world;
  FakeNetwork network{world};
  proxy::SharedUpstreams upstreams;
  proxy::Config config;
  std::string reply = answer(200);
  std::unique_ptr<proxy::HealthCheckers> checkers;

 private:
  void react(Peer& peer) {
    const bool asked = peer.received().ends_with("\r\n\r\n") && peer.open();
    if (asked && !reply.empty() && answered_.insert(&peer).second) peer.send(reply);
  }
  std::set<Peer*> answered_;
  const std::size_t frames_before_;
};

TEST_CASE("a check asks for the path, once each interval, on a connection of its own") {
  CheckerFixture fixture;
  REQUIRE(fixture.network.accepted.size() == 1);
  CHECK(fixture.network.accepted[0]->received() ==
        "GET /up HTTP/1.1\r\nHost: 10.0.0.1\r\nUser-Agent: holdfast/health-check\r\nAccept: */*\r\n"
        "Connection: close\r\n\r\n");
  CHECK_FALSE(fixture.network.accepted[0]->open());
  fixture.world.pass(899ms);
  CHECK(fixture.network.accepted.size() == 1);
  fixture.world.pass(100s);
  CHECK(fixture.network.accepted.size() >= 90);
  CHECK(fixture.network.accepted.size() <= 112);
  CHECK(fixture.endpoints().checks_passed() == fixture.network.accepted.size());
  CHECK(fixture.state() == "healthy");
}

TEST_CASE("whatever is no 2xx in time is a failure, and has a name") {
  struct Case {
    std::string reply;
    std::string why;
  };
  const Case cases[] = {
      {answer(503), "503"},
      {answer(301), "301"},
      {answer(404), "404"},
      {"SSH-2.0-OpenSSH\r\n\r\n", "http_protocol_error"},
      {"HTTP/1.1 200 OK\r\nX: " + std::string(100'000, 'a') + "\r\n\r\n", "http_protocol_error"},
      {"", "http_response_timeout"},
      {"HTTP/1.1 200 OK\r\n", "http_response_timeout"},
      {"HTTP/1.1 100 Continue\r\n\r\n", "http_response_timeout"},
  };
  for (const Case& one : cases) {
    CAPTURE(one.why);
    CheckerFixture fixture;
    fixture.reply = one.reply;
    fixture.world.pass(3s);
    CHECK(fixture.state() == "unhealthy");
    CHECK(fixture.why() == "checks fail, the last: " + one.why);
    fixture.reply = answer(204);
    fixture.world.pass(1s);
    fixture.world.pass(2s);
    CHECK(fixture.state() == "healthy");
  }
}

TEST_CASE("an informational answer is not the last word") {
  CheckerFixture fixture;
  fixture.reply = "HTTP/1.1 103 Early Hints\r\n\r\n" + answer(200);
  fixture.world.pass(3s);
  CHECK(fixture.state() == "healthy");
  CHECK(fixture.endpoints().checks_failed() == 0);
}

TEST_CASE("a connection that is refused, never made or ended without an answer fails the check") {
  CheckerFixture fixture;
  using Kind = ConnectOutcome::Kind;
  Kind kind = Kind::fail;
  fixture.network.on_connect = [&](const std::string&) { return ConnectOutcome{kind}; };
  fixture.world.pass(3s);
  CHECK(fixture.why() == "checks fail, the last: connection_refused");
  const std::uint64_t before = fixture.endpoints().checks_failed();
  kind = Kind::silence;
  fixture.world.pass(3s);
  CHECK(fixture.endpoints().checks_failed() > before);
  kind = Kind::accept;
  fixture.network.on_accept = [](Peer& peer) { peer.finish(); };
  fixture.world.pass(5s);
  CHECK(fixture.state() == "unhealthy");
}

TEST_CASE("a list that changes gets its checkers; what stays is not asked anew") {
  CheckerFixture fixture;
  fixture.config.upstreams["api"].endpoints.push_back(
      upstream_of("api", {"http://10.0.0.2:80"}).endpoints[0]);
  fixture.reply = answer(503);
  fixture.load();
  CHECK(fixture.network.connects == std::vector<std::string>{"10.0.0.1:80", "10.0.0.2:80"});
  CHECK(fixture.state(0) == "healthy");
  CHECK(fixture.state(1) == "unhealthy");
  fixture.config.upstreams["api"].endpoints.pop_back();
  fixture.load();
  fixture.world.pass(5s);
  CHECK(std::ranges::count(fixture.network.connects, "10.0.0.2:80") == 1);
  CHECK(fixture.state(0) == "unhealthy");
  fixture.config.upstreams["api"].health.path = "";
  fixture.load();
  CHECK(fixture.state(0) == "healthy");
  const std::size_t before = fixture.network.connects.size();
  fixture.world.pass(1min);
  CHECK(fixture.network.connects.size() == before);
}

TEST_CASE("checks of an upstream that a reload removed end, one under way with its connection") {
  CheckerFixture fixture;
  fixture.reply = "";  // it hangs
  fixture.world.pass(1s);
  REQUIRE(fixture.network.accepted.back()->open());
  const std::size_t before = fixture.network.connects.size();
  const auto used = fixture.upstreams.find("api");  // by an exchange that goes on
  fixture.config.upstreams.erase("api");
  fixture.config.routes.clear();
  fixture.load();
  CHECK_FALSE(fixture.network.accepted.back()->open());
  fixture.world.pass(1min);
  CHECK(fixture.network.connects.size() == before);
  CHECK(used->endpoints().checks_passed() == 1);
  CHECK(used->endpoints().checks_failed() == 0);  // the one that was under way has no outcome
}

TEST_CASE("a name is looked up for its check") {
  CheckerFixture fixture({"http://app.local:80"});
  CHECK(fixture.network.look_ups == std::vector<std::string>{"app.local"});
  CHECK(fixture.why() == "checks fail, the last: dns_error");
}

}  // namespace
}  // namespace holdfast::test
