// Contract §2, Timeouts, to the nanosecond.
#include <doctest/doctest.h>

#include "holdfast/proxy/exchange.h"
#include "tests/support/proxy_fixture.h"

namespace holdfast::test {
namespace {

using namespace std::chrono_literals;

constexpr Duration tick{1};

/// True if the answer comes at that time from now, not a nanosecond earlier.
bool answered_exactly_in(ProxyFixture& fixture, Peer& client, Duration time) {
  fixture.world.pass(time - tick);
  if (!client.received().empty()) return false;
  fixture.world.pass(tick);
  return !client.received().empty();
}

TEST_CASE("total: an upstream that says nothing is a 504 when the time is over") {
  proxy::Config config = one_upstream();
  config.routes[0].timeout.total = 2s;
  ProxyFixture fixture(config);
  auto client = fixture.client_sends(get());
  CHECK(answered_exactly_in(fixture, *client, 2s));
  CHECK(status_of(client->received()) == 504);
  CHECK(field_of(client->received(), "Proxy-Status") == "holdfast; error=http_response_timeout");
  CHECK(fixture.last().duration == 2s);
  CHECK(fixture.last().error == "http_response_timeout");
  CHECK(fixture.upstream().closed());
}

TEST_CASE("total covers a whole request that the upstream does not take") {
  proxy::Config config = one_upstream();
  config.routes[0].timeout.total = 2s;
  ProxyFixture fixture(config);
  auto pooled = fixture.client_sends(get());
  fixture.upstream().take_at_most(100);
  fixture.upstream_answers(answer(200));
  auto client = fixture.client_sends(post(std::string(30000, 'x')));
  CHECK(answered_exactly_in(fixture, *client, 2s));
  CHECK(fixture.last().error == "http_response_timeout");
}

TEST_CASE("total covers a kept body from its last byte, when the upstream takes no more of it") {
  proxy::Config config = one_upstream();
  config.routes[0].timeout.total = 2s;
  ProxyFixture fixture(config);
  auto client = fixture.client_sends("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab");
  fixture.world.pass(3s);
  fixture.upstream().take_at_most(0);
  client->send("cd");
  CHECK(answered_exactly_in(fixture, *client, 2s));
  CHECK(status_of(client->received()) == 504);
}

TEST_CASE("per_try bounds each attempt and counts as a timeout") {
  proxy::Config config = one_upstream();
  config.routes[0].timeout.per_try = 300ms;
  SUBCASE("not listed in retry.on: one attempt") {
    ProxyFixture fixture(config);
    auto client = fixture.client_sends(get());
    CHECK(answered_exactly_in(fixture, *client, 300ms));
    CHECK(status_of(client->received()) == 504);
    CHECK(fixture.last().attempts == 1);
  }
  SUBCASE("listed: three attempts and two pauses") {
    config.routes[0].retry.on = conditions({"timeout"});
    ProxyFixture fixture(config);
    auto client = fixture.client_sends(get());
    CHECK(answered_exactly_in(fixture, *client, 300ms + 25ms + 300ms + 50ms + 300ms));
    CHECK(fixture.last().attempts == 3);
    CHECK(field_of(client->received(), "Proxy-Status") ==
          "holdfast; error=http_response_timeout; attempts=3");
  }
}

TEST_CASE("per_try of a kept body begins when the body is complete") {
  proxy::Config config = one_upstream();
  config.routes[0].timeout.per_try = 1s;
  ProxyFixture fixture(config);
  auto client = fixture.client_sends("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab");
  fixture.world.pass(3s);
  client->send("cd");
  CHECK(answered_exactly_in(fixture, *client, 1s));
  CHECK(status_of(client->received()) == 504);
}

TEST_CASE("total begins when the last byte of the request has come") {
  proxy::Config config = one_upstream();
  config.routes[0].timeout.total = 2s;
  ProxyFixture fixture(config);
  SUBCASE("of a head") {
    auto client = fixture.client_sends("GET / HTTP/1.1\r\nHost: a\r\n");
    fixture.world.pass(5s);
    client->send("\r\n");
    CHECK(answered_exactly_in(fixture, *client, 2s));
  }
  SUBCASE("of a body that is passed on as it comes") {
    const std::string head = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 100001\r\n\r\n";
    auto client = fixture.client_sends(head + std::string(100000, 'x'));
    fixture.world.pass(4s);
    CHECK(client->received().empty());
    client->send("y");
    CHECK(answered_exactly_in(fixture, *client, 2s));
    CHECK(status_of(client->received()) == 504);
  }
}

TEST_CASE("connect: a peer that does not answer; its time is its own") {
  proxy::Config config = one_upstream();
  config.routes[0].retry.attempts = 1;
  ProxyFixture fixture(config);
  fixture.network.script("10.0.0.1:80", {ConnectOutcome::Kind::silence});
  auto client = fixture.client_sends(get());
  CHECK(answered_exactly_in(fixture, *client, 1s));
  CHECK(status_of(client->received()) == 504);
  CHECK(fixture.last().error == "connection_timeout");
}

TEST_CASE("total is over while connecting: a timeout of the exchange, not of the connect") {
  proxy::Config config = one_upstream();
  config.routes[0].timeout.connect = 10s;
  config.routes[0].timeout.total = 2s;
  ProxyFixture fixture(config);
  fixture.network.script("10.0.0.1:80", {ConnectOutcome::Kind::silence});
  auto client = fixture.client_sends(get());
  CHECK(answered_exactly_in(fixture, *client, 2s));
  CHECK(fixture.last().error == "http_response_timeout");
}

TEST_CASE("idle: a response that stands still is cut, whatever came before") {
  proxy::Config config = one_upstream();
  config.routes[0].timeout.idle = 10s;
  ProxyFixture fixture(config);
  auto client = fixture.client_sends(get());
  fixture.upstream_answers("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na");
  fixture.world.pass(10s - tick);
  fixture.upstream_answers("b");
  fixture.world.pass(10s - tick);
  CHECK(client->open());
  fixture.world.pass(tick);
  CHECK(client->was_reset());
  CHECK(fixture.last().error == "connection_read_timeout");
  CHECK(fixture.upstream().closed());
}

TEST_CASE("idle: a client that takes nothing of its answer is cut") {
  proxy::Config config = one_upstream();
  config.routes[0].timeout.idle = 10s;
  ProxyFixture fixture(config);
  auto client = fixture.client();
  client->take_at_most(50);
  client->send(get());
  fixture.world.settle();
  fixture.upstream_answers(answer(200, std::string(1000, 'x')));
  fixture.world.pass(10s - tick);
  CHECK(client->open());
  fixture.world.pass(tick);
  CHECK(client->was_reset());
  CHECK(fixture.last().error == "connection_write_timeout");
}

TEST_CASE("idle: an upstream that takes nothing of a streamed body") {
  proxy::Config config = one_upstream();
  config.routes[0].timeout.idle = 10s;
  ProxyFixture fixture(config);
  auto client = fixture.client_sends("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n");
  fixture.upstream().take_at_most(0);
  client->send(std::string(200000, 'x'));
  fixture.world.settle();
  CHECK(client->unread() > 0);  // and so the client is slowed down
  CHECK(answered_exactly_in(fixture, *client, 10s));
  CHECK(status_of(client->received()) == 504);
  CHECK(fixture.last().error == "connection_write_timeout");
}

TEST_CASE("stream: the longest whole exchange, however lively") {
  proxy::Config config = one_upstream();
  config.routes[0].timeout.stream = 5s;
  ProxyFixture fixture(config);
  auto client = fixture.client_sends(get());
  fixture.upstream_answers("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n");
  for (int second = 1; second < 5; ++second) {
    fixture.world.pass(1s);
    fixture.upstream_answers("x");
  }
  fixture.world.pass(1s - tick);
  CHECK(client->open());
  fixture.world.pass(tick);
  CHECK(client->was_reset());
}

TEST_CASE("deadline_header: shortens total on the way in, tells what is left on the way out") {
  proxy::Config config = one_upstream();
  config.routes[0].timeout.deadline_header = "X-Deadline";
  config.routes[0].timeout.per_try = 100ms;
  config.routes[0].retry.on = conditions({"timeout"});
  config.routes[0].retry.backoff.base = 20ms;
  ProxyFixture fixture(config);
  auto client = fixture.client_sends(get("/", "X-Deadline: 300\r\n"));
  CHECK(field_of(fixture.upstream().received(), "X-Deadline") == "300");
  fixture.world.pass(120ms);
  REQUIRE(fixture.network.accepted.size() == 2);
  CHECK(field_of(fixture.upstream().received(), "X-Deadline") == "180");
  CHECK(answered_exactly_in(fixture, *client, 140ms + 40ms));
  CHECK(status_of(client->received()) == 504);
}

TEST_CASE("deadline_header: without one from the client, what is left of total goes out") {
  proxy::Config config = one_upstream();
  config.routes[0].timeout.deadline_header = "X-Deadline";
  ProxyFixture fixture(config);
  auto client = fixture.client_sends(get());
  CHECK(field_of(fixture.upstream().received(), "X-Deadline") == "15000");
  // A body that is still coming: none of total is used up yet, and it is no more than total.
  auto other = fixture.client_sends(
      "PUT / HTTP/1.1\r\nHost: a\r\nX-Deadline: 99000\r\nContent-Length: 2\r\n\r\n");
  CHECK(field_of(fixture.upstream().received(), "X-Deadline") == "15000");
}

TEST_CASE("deadline_header: anything but a number of milliseconds is a 400") {
  proxy::Config config = one_upstream();
  config.routes[0].timeout.deadline_header = "X-Deadline";
  for (const char* fields : {"X-Deadline: soon\r\n", "X-Deadline: -1\r\n", "X-Deadline:\r\n",
                             "X-Deadline: 1.5\r\n", "X-Deadline: 5\r\nX-Deadline: 6\r\n"}) {
    CAPTURE(fields);
    ProxyFixture fixture(config);
    auto client = fixture.client_sends(get("/", fields));
    CHECK(status_of(client->received()) == 400);
    CHECK(fixture.network.connects.empty());
  }
}

TEST_CASE("min_body_rate: a silent body is a 408 after the grace, and the upstream is let go") {
  ProxyFixture fixture;
  auto client = fixture.client_sends("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n\r\n" +
                                     std::string(240, 'x'));
  CHECK(answered_exactly_in(fixture, *client, 5s + 1s));
  CHECK(status_of(client->received()) == 408);
  CHECK(field_of(client->received(), "Connection") == "close");
  CHECK(fixture.upstream().closed());
  CHECK(fixture.shared().breaker_state() == policy::BreakerState::closed);
}

}  // namespace
}  // namespace holdfast::test
