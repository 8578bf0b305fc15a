// Contract §2, hedge_after: a second attempt beside a slow first one.
#include <doctest/doctest.h>

#include "holdfast/proxy/exchange.h"
#include "tests/support/proxy_fixture.h"

namespace holdfast::test {
namespace {

using namespace std::chrono_literals;

proxy::Config hedging() {
  proxy::Config config = one_upstream({"http://10.0.0.1:80", "http://10.0.0.2:80"});
  config.upstreams["api"].endpoints[0].weight = 100;
  config.routes[0].retry.hedge_after = 100ms;
  config.upstreams["api"].breaker.consecutive_failures = 1;
  return config;
}

/// A request whose first attempt has had no answer for hedge_after.
struct Hedged {
  explicit Hedged(const proxy::Config& config = hedging())
      : fixture(config), client(fixture.client_sends(get())) {
    fixture.world.pass(100ms);
  }
  Peer& first() { return fixture.upstream(0); }
  Peer& second() { return fixture.upstream(1); }
  bool breaker_is_closed() {
    return fixture.shared().breaker_state() == policy::BreakerState::closed;
  }
  ProxyFixture fixture;
  std::shared_ptr<Peer> client;
};

TEST_CASE("the second attempt begins exactly at hedge_after, at another endpoint") {
  ProxyFixture fixture(hedging());
  auto client = fixture.client_sends(get());
  fixture.world.pass(100ms - Duration(1));
  CHECK(fixture.network.connects.size() == 1);
  fixture.world.pass(Duration(1));
  REQUIRE(fixture.network.connects.size() == 2);
  CHECK(fixture.network.connects[0] != fixture.network.connects[1]);
  CHECK(fixture.seen.retries == std::vector<std::string>{"timeout"});
}

TEST_CASE("the first answer wins, the loser is cancelled and counts neither way") {
  for (const int winner : {0, 1}) {
    CAPTURE(winner);
    Hedged hedged;
    hedged.fixture.upstream(static_cast<std::size_t>(winner)).send(answer(200, "won"));
    hedged.fixture.world.settle();
    CHECK(body_of(hedged.client->received()) == "won");
    CHECK(field_of(hedged.client->received(), "Proxy-Status") == "holdfast; attempts=2");
    CHECK(hedged.fixture.upstream(static_cast<std::size_t>(1 - winner)).closed());
    CHECK(hedged.fixture.seen.attempts == std::vector<std::string>{"200", "cancelled"});
    CHECK(hedged.fixture.shared().active_connections == 0);
    CHECK(hedged.fixture.shared().idle_connections == 1);
    CHECK(hedged.breaker_is_closed());
    CHECK(hedged.fixture.last().endpoint ==
          hedged.fixture.network.connects[static_cast<std::size_t>(winner)]);
  }
}

TEST_CASE("an answer that would be retried does not win while the other may still be good") {
  for (const std::size_t bad : {0, 1}) {
    CAPTURE(bad);
    proxy::Config config = hedging();
    config.upstreams["api"].breaker.enabled = false;
    Hedged hedged(config);
    hedged.fixture.upstream(bad).send(answer(503, "bad"));
    hedged.fixture.world.settle();
    CHECK(hedged.client->received().empty());
    hedged.fixture.upstream(1 - bad).send(answer(200, "good"));
    hedged.fixture.world.settle();
    CHECK(body_of(hedged.client->received()) == "good");
    CHECK(hedged.fixture.last().error.empty());
  }
}

TEST_CASE("an attempt that fails leaves the other to answer") {
  for (const std::size_t bad : {0, 1}) {
    CAPTURE(bad);
    Hedged hedged;
    hedged.fixture.upstream(bad).reset();
    hedged.fixture.world.settle();
    CHECK(hedged.client->received().empty());
    hedged.fixture.upstream(1 - bad).send(answer(200, "good"));
    hedged.fixture.world.settle();
    CHECK(body_of(hedged.client->received()) == "good");
  }
}

TEST_CASE("both fail: the retries go on from there") {
  proxy::Config config = hedging();
  config.upstreams["api"].breaker.enabled = false;
  Hedged hedged(config);
  hedged.first().send(answer(503, "one"));
  hedged.second().send(answer(503, "two"));
  hedged.fixture.world.pass(50ms);
  REQUIRE(hedged.fixture.network.accepted.size() + hedged.fixture.seen.attempts.size() >= 4);
  for (const auto& peer : hedged.fixture.network.accepted) {
    if (peer->open()) peer->send(answer(200, "three"));
  }
  hedged.fixture.world.settle();
  CHECK(body_of(hedged.client->received()) == "three");
  CHECK(hedged.fixture.last().attempts == 3);
}

TEST_CASE("an answer in time needs no hedge") {
  ProxyFixture fixture(hedging());
  auto client = fixture.client_sends(get());
  fixture.world.pass(99ms);
  fixture.upstream_answers(answer(200));
  fixture.world.pass(1s);
  CHECK(fixture.network.connects.size() == 1);
  CHECK(field_of(client->received(), "Proxy-Status") == "-");
}

TEST_CASE("no hedge without budget, without an attempt left, or for a method that may not repeat") {
  proxy::Config config = hedging();
  std::string bytes = get();
  SUBCASE("budget") {
    config.routes[0].retry.budget = {0, 0, 10s};
  }
  SUBCASE("attempts") {
    config.routes[0].retry.attempts = 1;
  }
  SUBCASE("method") {
    bytes = post("x");
  }
  ProxyFixture fixture(config);
  auto client = fixture.client_sends(bytes);
  fixture.world.pass(1s);
  CHECK(fixture.network.connects.size() == 1);
  fixture.upstream_answers(answer(200, "first"));
  CHECK(body_of(client->received()) == "first");
}

TEST_CASE("a hedge spends the budget") {
  proxy::Config config = hedging();
  config.routes[0].retry.budget = {1, 0, 10s};
  Hedged hedged(config);
  hedged.second().send(answer(200));
  hedged.fixture.world.settle();
  const auto now = hedged.fixture.world.now();
  CHECK_FALSE(hedged.fixture.shared().try_retry(config.routes[0].retry.budget, now));
}

TEST_CASE("a client that goes ends both attempts") {
  Hedged hedged;
  hedged.client->reset();
  hedged.fixture.world.settle();
  CHECK(hedged.first().closed());
  CHECK(hedged.second().closed());
  CHECK(hedged.breaker_is_closed());
}

TEST_CASE("total holds for both") {
  proxy::Config config = hedging();
  config.routes[0].timeout.total = 500ms;
  Hedged hedged(config);
  hedged.fixture.world.pass(400ms - Duration(1));
  CHECK(hedged.client->received().empty());
  hedged.fixture.world.pass(Duration(1));
  CHECK(status_of(hedged.client->received()) == 504);
}

}  // namespace
}  // namespace holdfast::test
