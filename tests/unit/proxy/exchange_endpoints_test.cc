#include <doctest/doctest.h>

#include "tests/support/proxy_fixture.h"

namespace holdfast::test {
namespace {

using namespace std::chrono_literals;

/// Two endpoints in turn, ejected by their second failure; nothing is tried again.
proxy::Config two_in_turn() {
  proxy::Config config = one_upstream({"http://10.0.0.1:80", "http://10.0.0.2:80"});
  config.upstreams["api"].outlier.consecutive_failures = 2;
  config.upstreams["api"].breaker.enabled = false;
  config.upstreams["api"].pool.max_requests = 1;  // each attempt connects: its peer is the last
  config.routes[0].retry.attempts = 1;
  return config;
}

/// One request, answered by `status` from whoever gets it. Which endpoint that was.
std::string asked(ProxyFixture& fixture, int status) {
  const auto client = fixture.client_sends(get());
  fixture.upstream_answers(answer(status));
  CHECK(status_of(client->received()) == status);
  return fixture.last().endpoint;
}

TEST_CASE("an endpoint whose answers fail is left out, and asked again when its time is over") {
  ProxyFixture fixture(two_in_turn());
  int failed = 0;
  while (fixture.shared().endpoints().calm()) {
    const auto client = fixture.client_sends(get());
    const bool first = fixture.network.connects.back() == "10.0.0.1:80";
    fixture.upstream_answers(answer(first ? 503 : 200));
    failed += first ? 1 : 0;
  }
  CHECK(failed == 2);
  for (int i = 0; i < 10; ++i) CHECK(asked(fixture, 200) == "10.0.0.2:80");
  fixture.world.pass(30s);
  std::vector<std::string> endpoints;
  for (int i = 0; i < 4; ++i) endpoints.push_back(asked(fixture, 200));
  CHECK(std::ranges::count(endpoints, "10.0.0.1:80") == 2);
}

TEST_CASE("a client that leaves and what holdfast refuses say nothing about an endpoint") {
  ProxyFixture fixture(two_in_turn());
  for (int i = 0; i < 20; ++i) {
    const auto client = fixture.client_sends(get());
    client->reset();
    fixture.world.settle();
  }
  CHECK(fixture.shared().endpoints().calm());
  CHECK_FALSE(fixture.shared().endpoints().members()->list[0].shared->failing());
}

TEST_CASE("with every endpoint taken out there is a 503 that says when to come again") {
  ProxyFixture fixture(two_in_turn());
  proxy::SharedEndpoints& endpoints = fixture.shared().endpoints();
  CHECK(endpoints.drain("10.0.0.1:80", true, fixture.world.now()));
  CHECK(endpoints.drain("10.0.0.2:80", true, fixture.world.now()));
  const auto client = fixture.client_sends(get());
  CHECK(status_of(client->received()) == 503);
  CHECK(field_of(client->received(), "Retry-After") == "1");
  CHECK(fixture.last().error == "destination_unavailable");
  CHECK(fixture.last().attempts == 0);
  CHECK(fixture.network.accepted.empty());
  CHECK(endpoints.drain("10.0.0.1:80", false, fixture.world.now()));
  CHECK(asked(fixture, 200) == "10.0.0.1:80");
}

TEST_CASE("an answer stands where no endpoint is left to try again at") {
  proxy::Config config = two_in_turn();
  config.routes[0].retry.attempts = 3;
  ProxyFixture fixture(config);
  proxy::SharedEndpoints& endpoints = fixture.shared().endpoints();
  const auto client = fixture.client_sends(get());
  CHECK(endpoints.drain("10.0.0.1:80", true, fixture.world.now()));
  CHECK(endpoints.drain("10.0.0.2:80", true, fixture.world.now()));
  fixture.upstream_answers(answer(503, "theirs"));
  fixture.world.pass(2s);
  CHECK(status_of(client->received()) == 503);
  CHECK(body_of(client->received()) == "theirs");
}

}  // namespace
}  // namespace holdfast::test
