#include "holdfast/proxy/proxy.h"

#include <doctest/doctest.h>

#include "tests/support/proxy_fixture.h"

namespace holdfast::test {
namespace {

using namespace std::chrono_literals;

TEST_CASE("a request goes to the upstream and its answer comes back") {
  ProxyFixture fixture;
  auto client = fixture.client_sends(get("/a?b=c"));
  REQUIRE(fixture.network.accepted.size() == 1);
  CHECK(fixture.upstream().take().starts_with("GET /a?b=c HTTP/1.1\r\nHost: a.test\r\n"));
  fixture.upstream().send(answer(200, "hello"));
  fixture.world.settle();
  const std::string text = client->take();
  CHECK(status_of(text) == 200);
  CHECK(body_of(text) == "hello");
  CHECK(client->open());
  CHECK(fixture.last().path == "/a");
  CHECK(fixture.last().bytes_out == 5);
  CHECK(fixture.shared().idle_connections == 1);
}

TEST_CASE("a request keeps the configuration it began with; the next takes the new one") {
  ProxyFixture fixture;
  auto first = fixture.client_sends(get());
  proxy::Config next = one_upstream({"http://10.0.0.2:80"});
  next.routes[0].name = "renamed";
  fixture.load(next);
  CHECK(fixture.proxy->generations() == 2);
  auto second = fixture.client_sends(get());
  CHECK(fixture.network.connects == std::vector<std::string>{"10.0.0.1:80", "10.0.0.2:80"});
  fixture.upstream(0).send(answer(200));
  fixture.world.settle();
  CHECK(status_of(first->take()) == 200);
  CHECK(fixture.last().route == "main");
  CHECK(fixture.upstream(0).closed());  // its endpoint is gone: nothing goes back to the pool
  fixture.upstream(1).send(answer(200));
  fixture.world.settle();
  CHECK(status_of(second->take()) == 200);
  CHECK(fixture.last().route == "renamed");
  first->send(get());
  fixture.world.settle();
  CHECK(fixture.proxy->generations() == 1);
}

TEST_CASE("a reload keeps the pools, the breaker and the connections of what stays") {
  ProxyFixture fixture;
  auto client = fixture.client_sends(get());
  fixture.upstream().send(answer(200));
  fixture.world.settle();
  client->take();
  for (int i = 0; i < 3; ++i) fixture.load(one_upstream());
  client->send(get());
  fixture.world.settle();
  CHECK(fixture.network.connects.size() == 1);
  fixture.upstream().send(answer(200));
  fixture.world.settle();
  CHECK(status_of(client->take()) == 200);
  CHECK(client->open());
}

TEST_CASE("an upstream that leaves the configuration closes its idle connections") {
  ProxyFixture fixture;
  auto client = fixture.client_sends(get());
  fixture.upstream().send(answer(200));
  fixture.world.settle();
  proxy::Config without = one_upstream();
  without.upstreams.clear();
  without.routes[0].upstream.clear();
  without.routes[0].respond = proxy::StaticResponse{204, {}, ""};
  fixture.load(without);
  fixture.world.settle();
  CHECK(fixture.upstream().closed());
}

TEST_CASE("while draining, every answer closes its connection") {
  ProxyFixture fixture;
  auto idle = fixture.client();
  auto busy = fixture.client_sends(get());
  fixture.proxy->drain();
  fixture.clients->close_idle();
  fixture.world.settle();
  CHECK(idle->closed());
  CHECK(busy->open());
  fixture.upstream().send(answer(200, "x"));
  fixture.world.settle();
  CHECK(field_of(busy->take(), "Connection") == "close");
  CHECK(busy->ended());
  busy->finish();
  fixture.world.settle();
  CHECK(fixture.clients->size() == 0);
}

TEST_CASE("a drain that begins after the head of an answer ends the connection all the same") {
  ProxyFixture fixture;
  auto client = fixture.client_sends(get());
  fixture.upstream().send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na");
  fixture.world.settle();
  fixture.proxy->drain();
  fixture.clients->close_idle();
  fixture.upstream().send("b");
  fixture.world.settle();
  CHECK(body_of(client->take()) == "ab");
  CHECK(client->ended());
}

TEST_CASE("what cannot be read is refused, told once, and seen by no upstream") {
  ProxyFixture fixture;
  auto client = fixture.client_sends("GET / HTTP/1.1\r\nHost : a\r\n\r\n");
  const std::string text = client->take();
  CHECK(status_of(text) == 400);
  CHECK(field_of(text, "Connection") == "close");
  CHECK(text.find("urn:problem-type:holdfast:bad-request") != std::string::npos);
  CHECK(fixture.network.connects.empty());
  REQUIRE(fixture.seen.exchanges.size() == 1);
  CHECK(fixture.last().status == 400);
  CHECK(fixture.last().route == "none");
  CHECK(text.find(fixture.last().request_id) != std::string::npos);
}

}  // namespace
}  // namespace holdfast::test
