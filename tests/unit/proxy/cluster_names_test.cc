#include "holdfast/proxy/cluster_names.h"

#include <doctest/doctest.h>

#include <set>

#include "tests/support/proxy_fixture.h"

namespace holdfast::test {
namespace {

using namespace std::chrono_literals;
using Kind = ConnectOutcome::Kind;

const std::string host = "api.test";

LookUpOutcome found(const std::vector<const char*>& ips, Duration delay = {}) {
  LookUpOutcome outcome;
  for (const char* ip : ips) outcome.addresses.push_back(*net::Address::from_ip(ip, 80));
  outcome.delay = delay;
  return outcome;
}

proxy::Config named(const std::vector<std::string>& urls = {"http://api.test:80"}) {
  proxy::Config config = one_upstream(urls);
  config.routes[0].retry.attempts = 1;
  return config;
}

/// Clients that each ask once, of an upstream that answers and keeps its connections.
class NamedFixture : public ProxyFixture {
 public:
  explicit NamedFixture(proxy::Config config = named()) : ProxyFixture(std::move(config)) {
    network.on_accept = [](Peer& peer) {
      peer.on_change = [&peer] {
        if (peer.take().ends_with("\r\n\r\n")) peer.send(answer(200, peer.address));
      };
      peer.on_change();  // the request may have come already
    };
  }
  std::shared_ptr<Peer> ask() {
    clients_.push_back(client_sends(get()));
    return clients_.back();
  }
  /// The address that answered, or the name of the error.
  std::string asked() {
    const auto client = ask();
    const std::string body = body_of(client->received());
    client->finish();
    world.settle();
    if (status_of(client->received()) == 200) return body;
    return seen.exchanges.empty() ? "nothing" : seen.exchanges.back().error;
  }
  std::set<std::string> asked(int times) {
    std::set<std::string> answers;
    for (int i = 0; i < times; ++i) answers.insert(asked());
    return answers;
  }

 private:
  std::vector<std::shared_ptr<Peer>> clients_;
};

TEST_CASE("a name is looked up once for all who wait, and each address is an endpoint") {
  NamedFixture fixture;
  fixture.network.script_name(host, found({"10.0.0.1", "10.0.0.2"}, 500ms));
  const auto one = fixture.ask();
  const auto other = fixture.ask();
  CHECK(one->received().empty());
  fixture.world.pass(500ms);
  CHECK(status_of(one->received()) == 200);
  CHECK(status_of(other->received()) == 200);
  CHECK(fixture.network.look_ups.size() == 1);
  CHECK(fixture.asked(20) == std::set<std::string>{"10.0.0.1:80", "10.0.0.2:80"});
  CHECK(fixture.network.look_ups.size() == 1);
  CHECK(fixture.shared().endpoints().members()->list.size() == 2);
  CHECK(fixture.network.connects.size() == 2);
}

TEST_CASE("it is looked up again after dns_refresh, and requests move without waiting") {
  NamedFixture fixture;
  fixture.network.script_name(host, found({"10.0.0.1"}));
  CHECK(fixture.asked() == "10.0.0.1:80");
  fixture.world.pass(30s);
  fixture.network.script_name(host, found({"10.0.0.2"}, 100ms));
  CHECK(fixture.asked() == "10.0.0.1:80");  // begins the look-up and does not wait for it
  CHECK(fixture.network.look_ups.size() == 2);
  fixture.world.pass(100ms);
  CHECK(fixture.asked() == "10.0.0.2:80");
  // The connection to what is no address of it any more has closed.
  CHECK_FALSE(fixture.network.accepted[0]->open());
}

TEST_CASE("the same list in another order is no change") {
  NamedFixture fixture;
  fixture.network.script_name(host, found({"10.0.0.1", "10.0.0.2"}));
  fixture.asked();
  const auto before = fixture.shared().endpoints().version();
  fixture.network.script_name(host, found({"10.0.0.2", "10.0.0.1"}));
  fixture.world.pass(30s);
  fixture.asked();
  CHECK(fixture.network.look_ups.size() == 2);
  CHECK(fixture.shared().endpoints().version() == before);
}

TEST_CASE("a look-up that fails keeps the last good answer, and is tried again a second later") {
  NamedFixture fixture;
  fixture.network.script_name(host, found({"10.0.0.1"}));
  fixture.asked();
  fixture.world.pass(31s);
  CHECK(fixture.asked() == "10.0.0.1:80");  // fails
  CHECK(fixture.asked() == "10.0.0.1:80");
  CHECK(fixture.network.look_ups.size() == 2);
  fixture.world.pass(1s);
  fixture.network.script_name(host, found({"10.0.0.2"}));
  fixture.asked();
  CHECK(fixture.network.look_ups.size() == 3);
  CHECK(fixture.asked() == "10.0.0.2:80");
}

TEST_CASE("a name that is not known, or not in time") {
  NamedFixture fixture;
  CHECK(fixture.asked() == "dns_error");
  CHECK(fixture.asked() == "dns_error");
  CHECK(fixture.network.look_ups.size() == 1);  // no storm of questions
  fixture.world.pass(1s);
  fixture.network.script_name(host, found({"10.0.0.1"}, 2s));
  const auto impatient = fixture.ask();
  fixture.world.pass(1s);
  CHECK(status_of(impatient->received()) == 504);
  CHECK(fixture.seen.exchanges.back().error == "dns_timeout");
  // The look-up goes on, and its answer serves the next.
  fixture.world.pass(1s);
  CHECK(fixture.asked() == "10.0.0.1:80");
}

TEST_CASE("addresses that nobody asked about for long are not used unasked") {
  NamedFixture fixture;
  fixture.network.script_name(host, found({"10.0.0.1"}));
  fixture.asked();
  fixture.world.pass(5min);
  SUBCASE("who comes then waits for the new answer") {
    fixture.network.script_name(host, found({"10.0.0.2"}, 100ms));
    const auto client = fixture.ask();
    CHECK(client->received().empty());
    fixture.world.pass(100ms);
    CHECK(body_of(client->received()) == "10.0.0.2:80");
  }
  SUBCASE("but no longer than half of its time to connect, and only once") {
    fixture.network.script_name(host, found({"10.0.0.2"}, 10s));
    const auto client = fixture.ask();
    fixture.world.pass(499ms);
    CHECK(client->received().empty());
    fixture.world.pass(1ms);
    CHECK(body_of(client->received()) == "10.0.0.1:80");
    fixture.world.pass(5s);
    CHECK(fixture.asked() == "10.0.0.1:80");
  }
}

TEST_CASE("both families: a second address is tried after 250 ms, and the winner carries it") {
  NamedFixture fixture;
  fixture.network.script_name(host, found({"2001:db8::1", "10.0.0.1"}));
  fixture.network.on_connect = [](const std::string& address) {
    ConnectOutcome outcome;
    if (address.starts_with("[")) outcome.kind = Kind::silence;
    return outcome;
  };
  // However the balancer begins, everybody is answered, and nobody waits for longer than the delay.
  for (int i = 0; i < 20; ++i) {
    const auto client = fixture.ask();
    fixture.world.pass(250ms);
    CHECK(body_of(client->received()) == "10.0.0.1:80");
    client->finish();
    fixture.world.settle();
  }
  // Once it has lost, the silent one is left alone for a while: the connection is used again.
  CHECK(fixture.network.connects.size() <= 3);
  CHECK(fixture.seen.exchanges.back().endpoint == "api.test:80 10.0.0.1:80");
}

TEST_CASE("an address that refuses is followed by the other at once, within one attempt") {
  NamedFixture fixture;
  fixture.network.script_name(host, found({"2001:db8::1", "10.0.0.1"}));
  fixture.network.on_connect = [](const std::string& address) {
    ConnectOutcome outcome;
    if (address.starts_with("[")) outcome.kind = Kind::fail;
    return outcome;
  };
  CHECK(fixture.asked(20) == std::set<std::string>{"10.0.0.1:80"});
  CHECK(fixture.network.connects.size() <= 3);
}

TEST_CASE("no second connection is raced where the name has one address, or it is an address") {
  NamedFixture fixture(named({"http://10.0.0.1:80", "http://10.0.0.2:80"}));
  fixture.network.on_connect = [](const std::string&) {
    ConnectOutcome outcome;
    outcome.kind = Kind::silence;
    return outcome;
  };
  fixture.ask();
  fixture.world.pass(900ms);
  CHECK(fixture.network.connects.size() == 1);
  fixture.world.pass(100ms);
  CHECK(fixture.seen.exchanges.back().error == "connection_timeout");
}

TEST_CASE("a reload keeps what is known of a name, and what began before it is served") {
  NamedFixture fixture;
  fixture.network.script_name(host, found({"10.0.0.1"}, 500ms));
  const auto before = fixture.ask();
  fixture.load(named());
  fixture.world.pass(500ms);
  CHECK(body_of(before->received()) == "10.0.0.1:80");
  CHECK(fixture.asked() == "10.0.0.1:80");
  const std::size_t asked = fixture.network.look_ups.size();
  fixture.load(named());
  CHECK(fixture.asked() == "10.0.0.1:80");
  CHECK(fixture.network.look_ups.size() == asked);
  CHECK(fixture.seen.exchanges.back().status == 200);
}

TEST_CASE("what another worker has found is used while one's own look-up hangs") {
  World world;
  FakeNetwork network(world);
  network.script_name(host, found({"10.0.0.9"}, 60s));
  const proxy::Config config = named();
  const proxy::UpstreamConfig& upstream = config.upstreams.begin()->second;
  const net::Endpoint& endpoint = upstream.endpoints.front().endpoint;
  proxy::SharedEndpoints endpoints(upstream, world.now());
  proxy::ClusterNames names(upstream, endpoints, world.context(), network);
  names.refresh();
  const net::Address theirs = *net::Address::from_ip("10.0.0.1", 80);
  endpoints.resolved(endpoint.text(), {theirs}, world.now());
  auto waiting = names.wait_for_answer(endpoint, after(world.now(), 1s));
  waiting.start();
  REQUIRE(waiting.done());
  CHECK(waiting.take());
  REQUIRE(names.addresses(endpoint).size() == 1);
  CHECK(names.addresses(endpoint).front() == theirs);
}

TEST_CASE("who goes away while a name is looked up, or raced, leaves nothing") {
  for (const Duration at : {Duration(100ms), Duration(600ms), Duration(800ms)}) {
    NamedFixture fixture;
    fixture.network.script_name(host, found({"2001:db8::1", "10.0.0.1"}, 500ms));
    fixture.network.on_connect = [](const std::string&) {
      ConnectOutcome outcome;
      outcome.kind = Kind::silence;
      return outcome;
    };
    const auto client = fixture.ask();
    fixture.world.pass(at);
    client->reset();
    fixture.world.settle();
    CHECK(fixture.shared().active_connections == 0);
  }
}

}  // namespace
}  // namespace holdfast::test
