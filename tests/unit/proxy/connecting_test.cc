// An attempt on its way to a connection, without what sends over it. What a client sees of names
// and races, cluster_names_test.cc says, and of TLS upstream_connection_tls_test.cc.
#include "holdfast/proxy/connecting.h"

#include <doctest/doctest.h>

#include <set>
#include <string>

#include "tests/support/proxy_fixture.h"

namespace holdfast::test {
namespace {

using namespace std::chrono_literals;
using Kind = ConnectOutcome::Kind;

LookUpOutcome found(const std::vector<const char*>& ips, Duration delay = {}) {
  LookUpOutcome outcome;
  for (const char* ip : ips) outcome.addresses.push_back(*net::Address::from_ip(ip, 80));
  outcome.delay = delay;
  return outcome;
}

struct Wait {
  std::optional<Duration> patience = 1s;
  TimePoint deadline = never;
};

/// A worker's cluster, and attempts at it.
class ConnectingFixture {
 public:
  explicit ConnectingFixture(const proxy::Config& config) { generation_ = load(config); }

  /// A configuration comes into use, and this worker has not seen it yet.
  std::unique_ptr<proxy::Generation> load(const proxy::Config& config) {
    auto loaded = std::make_shared<const proxy::Config>(config);
    upstreams.apply(*loaded, world.now());
    return std::make_unique<proxy::Generation>(
        std::make_shared<const proxy::PublishedConfig>(loaded), services, generation_.get());
  }
  proxy::Cluster& cluster() { return *generation_->route(0).cluster; }

  /// One attempt that connects.
  struct One {
    One(ConnectingFixture& fixture, const Wait& wait)
        : attempt(fixture.cluster(), fixture.services) {
      REQUIRE(attempt.admit({}, std::nullopt, fixture.world.now()));
      task = proxy::connect(attempt, {fixture.tried_, std::nullopt}, false, wait.patience,
                            wait.deadline, fixture.world.context());
      task.start();
      fixture.world.settle();
    }
    /// Where it is connected to, the name of its error, or "" while it waits.
    std::string end() const {
      if (!task.done()) return "";
      return attempt.error ? std::string(name(attempt.error->type)) : attempt.pool->text();
    }
    proxy::Attempt attempt;
    runtime::Task<void> task;
  };
  std::unique_ptr<One> connect(const Wait& wait = {}) { return std::make_unique<One>(*this, wait); }

  World world;
  FakeNetwork network{world};
  Recorder seen;
  proxy::SharedUpstreams upstreams;
  proxy::Services services{world.context(), network, network, seen, upstreams, {}};

 private:
  std::unique_ptr<proxy::Generation> generation_;
  const std::vector<proxy::PoolPin> tried_;
};

TEST_CASE("a look-up and the connect after it share the time to connect") {
  ConnectingFixture fixture(one_upstream({"http://api.test:80"}));
  fixture.network.script_name("api.test", found({"10.0.0.1"}, 600ms));
  fixture.network.script("10.0.0.1:80", {.kind = Kind::silence});
  const auto one = fixture.connect();
  fixture.world.pass(1s - Duration(1));
  CHECK(one->end().empty());
  CHECK(fixture.network.connects.size() == 1);
  fixture.world.pass(Duration(1));
  CHECK(one->end() == "connection_timeout");
  CHECK(one->attempt.pool->text() == "api.test:80 10.0.0.1:80");
}

TEST_CASE("a look-up ends with the time to connect, or with the request's") {
  for (const Wait& wait : {Wait{300ms, never}, Wait{std::nullopt, TimePoint()}}) {
    ConnectingFixture fixture(one_upstream({"http://api.test:80"}));
    fixture.network.script_name("api.test", found({"10.0.0.1"}, 2s));
    Wait until = wait;
    if (until.deadline != never) until.deadline = fixture.world.now() + 300ms;
    const auto one = fixture.connect(until);
    fixture.world.pass(300ms - Duration(1));
    CHECK(one->end().empty());
    fixture.world.pass(Duration(1));
    CHECK(one->end() == "dns_timeout");
  }
}

TEST_CASE("a name that is not known is an error, and one that is an address is not looked up") {
  ConnectingFixture named(one_upstream({"http://api.test:80"}));
  CHECK(named.connect()->end() == "dns_error");
  ConnectingFixture fixed(one_upstream());
  CHECK(fixed.connect()->end() == "10.0.0.1:80");
  CHECK(fixed.network.look_ups.empty());
}

TEST_CASE("who stood in line for a place while its endpoint left connects to another") {
  proxy::Config config = one_upstream({"http://api.test:80"});
  config.upstreams["api"].pool.max_connections = 1;
  ConnectingFixture fixture(config);
  fixture.network.script_name("api.test", found({"10.0.0.1"}));
  const auto first = fixture.connect();
  CHECK(first->end() == "api.test:80 10.0.0.1:80");
  const auto second = fixture.connect();
  CHECK(second->end().empty());
  proxy::SharedEndpoints& endpoints = fixture.cluster().shared().endpoints();
  endpoints.resolved("api.test:80", found({"10.0.0.2"}).addresses, fixture.world.now());
  first->attempt.lease.close();
  fixture.world.settle();
  CHECK(second->end() == "api.test:80 10.0.0.2:80");
}

TEST_CASE("who stood in line while every endpoint was taken out is told that none is in service") {
  proxy::Config config = one_upstream({"http://api.test:80"});
  config.upstreams["api"].pool.max_connections = 1;
  ConnectingFixture fixture(config);
  fixture.network.script_name("api.test", found({"10.0.0.1"}));
  const auto first = fixture.connect();
  const auto second = fixture.connect();
  proxy::SharedEndpoints& endpoints = fixture.cluster().shared().endpoints();
  endpoints.resolved("api.test:80", found({"10.0.0.2"}).addresses, fixture.world.now());
  CHECK(endpoints.drain("api.test:80 10.0.0.2:80", true, fixture.world.now()));
  first->attempt.lease.close();
  fixture.world.settle();
  CHECK(second->end() == "destination_unavailable");
}

// A worker turned for ever: each name's answer, which the list of an earlier configuration does not
// take up, made it pick the other name.
TEST_CASE("between two names in turn that a reload overtook while they were looked up it ends") {
  const proxy::Config config = one_upstream({"http://a.test:80", "http://b.test:80"});
  for (const Duration second : {500ms, 700ms}) {
    for (const int attempts : {1, 2, 3}) {  // of one alone each turn is to the other name
      ConnectingFixture fixture(config);
      fixture.network.script_name("a.test", found({"10.0.0.1"}, 500ms));
      fixture.network.script_name("b.test", found({"10.0.0.2"}, second));
      std::vector<std::unique_ptr<ConnectingFixture::One>> all;
      for (int i = 0; i < attempts; ++i) all.push_back(fixture.connect());
      const auto newer = fixture.load(config);
      fixture.world.pass(700ms);
      for (const auto& one : all) CHECK(one->end().ends_with(".test:80"));
      CHECK(fixture.network.connects.size() == all.size());
    }
  }
}

TEST_CASE("a name that fails beside one that is found is an error of the attempt, not a turn") {
  ConnectingFixture fixture(one_upstream({"http://a.test:80", "http://b.test:80"}));
  fixture.network.script_name("a.test", found({"10.0.0.1"}, 500ms));
  fixture.network.script_name("b.test", {.addresses = {}, .delay = 500ms});
  const auto one = fixture.connect();
  const auto other = fixture.connect();
  const auto newer = fixture.load(one_upstream({"http://a.test:80", "http://b.test:80"}));
  fixture.world.pass(500ms);
  REQUIRE(one->task.done());
  REQUIRE(other->task.done());
  const std::set<std::string> ends{one->end(), other->end()};
  CHECK(ends.size() == 2);
  CHECK(ends.contains("a.test:80"));
}

TEST_CASE("ended at any moment it leaves no place taken and nobody in line") {
  for (const Duration at : {100ms, 600ms, 800ms}) {  // looked up, connected to, raced
    proxy::Config config = one_upstream({"http://api.test:80"});
    config.upstreams["api"].pool.max_connections = 1;
    ConnectingFixture fixture(config);
    fixture.network.script_name("api.test", found({"2001:db8::1", "10.0.0.1"}, 500ms));
    fixture.network.on_connect = [](const std::string&) {
      return ConnectOutcome{.kind = Kind::silence};
    };
    auto one = fixture.connect({5s, never});
    const auto other = fixture.connect({5s, never});
    fixture.world.pass(at);
    fixture.network.on_connect = nullptr;
    one.reset();
    fixture.world.pass(1s);
    CHECK(other->end().starts_with("api.test:80 "));
  }
}

}  // namespace
}  // namespace holdfast::test
