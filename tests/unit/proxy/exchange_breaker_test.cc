// Contract §2, Breaker, as an exchange meets it.
#include <doctest/doctest.h>

#include "holdfast/proxy/exchange.h"
#include "tests/support/proxy_fixture.h"

namespace holdfast::test {
namespace {

using namespace std::chrono_literals;
using policy::BreakerState;

/// One failure opens; one attempt each.
proxy::Config touchy() {
  proxy::Config config = one_upstream();
  config.upstreams["api"].breaker.consecutive_failures = 1;
  config.routes[0].retry.attempts = 1;
  return config;
}

void open_breaker(ProxyFixture& fixture) {
  auto client = fixture.client_sends(get());
  fixture.upstream_answers(answer(500));
  REQUIRE(fixture.shared().breaker_state() == BreakerState::open);
}

TEST_CASE("while open the answer comes at once, and nothing is asked of the upstream") {
  ProxyFixture fixture(touchy());
  open_breaker(fixture);
  const std::size_t connects = fixture.network.connects.size();
  const std::string before = fixture.upstream().received();
  auto client = fixture.client_sends(get());
  CHECK(status_of(client->received()) == 503);
  CHECK(field_of(client->received(), "Proxy-Status") == "holdfast; error=destination_unavailable");
  // 5 s and up to 10 %: 5 or 6 whole seconds.
  const std::string wait = field_of(client->received(), "Retry-After");
  CHECK((wait == "5" || wait == "6"));
  CHECK(fixture.network.connects.size() == connects);
  CHECK(fixture.upstream().received() == before);
  CHECK(fixture.seen.rejected == 1);
  CHECK(fixture.seen.transitions == std::vector<std::string>{"closed>open"});
  CHECK(fixture.last().attempts == 0);
  CHECK(fixture.last().breaker == "open");
}

TEST_CASE("what counts as a failure") {
  struct Row {
    const char* what;
    BreakerState state;
  };
  for (const Row& row : {Row{"500", BreakerState::open}, Row{"404", BreakerState::closed},
                         Row{"200", BreakerState::closed}, Row{"close", BreakerState::open},
                         Row{"reset", BreakerState::open}, Row{"silence", BreakerState::open},
                         Row{"nonsense", BreakerState::open}, Row{"cut", BreakerState::open}}) {
    CAPTURE(row.what);
    ProxyFixture fixture(touchy());
    auto client = fixture.client_sends(get());
    const std::string what = row.what;
    if (what == "close") {
      fixture.upstream().finish();
    } else if (what == "reset") {
      fixture.upstream().reset();
    } else if (what == "nonsense") {
      fixture.upstream().send("nonsense\r\n\r\n");
    } else if (what == "cut") {
      fixture.upstream().send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx");
      fixture.upstream().finish();
    } else if (what != "silence") {
      fixture.upstream().send(answer(std::stoi(what)));
    }
    fixture.world.pass(16s);
    CHECK(fixture.shared().breaker_state() == row.state);
  }
}

TEST_CASE("a client that has ended its side is served; that its time is over counts neither way") {
  struct Row {
    const char* what;
    int status;
    BreakerState state;
  };
  for (const Row& row :
       {Row{"answer", 200, BreakerState::closed}, Row{"500", 500, BreakerState::open},
        Row{"silence", 504, BreakerState::closed}, Row{"close", 502, BreakerState::open},
        Row{"cut", 200, BreakerState::open}}) {
    CAPTURE(row.what);
    ProxyFixture fixture(touchy());
    auto client = fixture.client_sends(get());
    client->finish();
    fixture.world.settle();
    const std::string what = row.what;
    if (what == "answer") fixture.upstream().send(answer(200));
    if (what == "500") fixture.upstream().send(answer(500));
    if (what == "cut") {
      fixture.upstream().send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx");
      fixture.world.settle();
    }
    if (what == "close" || what == "cut") fixture.upstream().finish();
    fixture.world.pass(16s);
    CHECK(status_of(client->received()) == row.status);
    CHECK(fixture.shared().breaker_state() == row.state);
  }
}

TEST_CASE("a refused connect counts, unless it is not among breaker.failures") {
  for (const bool listed : {true, false}) {
    CAPTURE(listed);
    proxy::Config config = touchy();
    if (!listed) config.upstreams["api"].breaker.failures = conditions({"5xx"});
    ProxyFixture fixture(config);
    fixture.network.script("10.0.0.1:80", {ConnectOutcome::Kind::fail});
    auto client = fixture.client_sends(get());
    CHECK(status_of(client->received()) == 502);
    CHECK((fixture.shared().breaker_state() == BreakerState::open) == listed);
  }
}

TEST_CASE("a breaker that opens between attempts ends them: the last answer stands") {
  proxy::Config config = touchy();
  config.routes[0].retry.attempts = 3;
  ProxyFixture fixture(config);
  auto client = fixture.client_sends(get());
  fixture.upstream_answers(answer(503, "the last answer", "X-From: upstream\r\n"));
  CHECK(client->received().empty());
  fixture.world.pass(25ms);
  CHECK(body_of(client->received()) == "the last answer");
  CHECK(field_of(client->received(), "X-From") == "upstream");
  CHECK(field_of(client->received(), "Proxy-Status") == "-");
  CHECK(fixture.last().attempts == 1);
  CHECK(fixture.seen.attempts == std::vector<std::string>{"503"});
  CHECK(fixture.seen.retries.empty());
}

TEST_CASE("half-open: so many probes at a time; all must succeed, and it closes") {
  ProxyFixture fixture(touchy());
  open_breaker(fixture);
  fixture.world.pass(5600ms);
  std::vector<std::shared_ptr<Peer>> clients;
  for (int i = 0; i < 4; ++i) clients.push_back(fixture.client_sends(get()));
  CHECK(status_of(clients[3]->received()) == 503);
  CHECK(fixture.shared().breaker_state() == BreakerState::half_open);
  for (const auto& peer : fixture.network.accepted) {
    if (peer->open()) peer->send(answer(200));
  }
  fixture.world.settle();
  CHECK(fixture.shared().breaker_state() == BreakerState::closed);
  CHECK(fixture.seen.transitions ==
        std::vector<std::string>{"closed>open", "open>half_open", "half_open>closed"});
}

TEST_CASE("half-open: one failure opens it again, for longer") {
  ProxyFixture fixture(touchy());
  open_breaker(fixture);
  fixture.world.pass(5600ms);
  auto probe = fixture.client_sends(get());
  fixture.upstream_answers(answer(500));
  CHECK(fixture.shared().breaker_state() == BreakerState::open);
  fixture.world.pass(9900ms);
  auto early = fixture.client_sends(get());
  CHECK(status_of(early->received()) == 503);
  fixture.world.pass(1200ms);
  auto later = fixture.client_sends(get());
  CHECK(later->received().empty());  // it is a probe
}

TEST_CASE("a client that leaves gives its probe back, and counts neither way") {
  ProxyFixture fixture(touchy());
  open_breaker(fixture);
  fixture.world.pass(5600ms);
  for (int i = 0; i < 10; ++i) {
    auto probe = fixture.client_sends(get());
    CHECK(probe->received().empty());
    probe->reset();
    fixture.world.settle();
    CHECK(fixture.shared().breaker_state() == BreakerState::half_open);
  }
}

TEST_CASE("a probe is answered by the head of its response") {
  ProxyFixture fixture(touchy());
  open_breaker(fixture);
  fixture.world.pass(5600ms);
  std::vector<std::shared_ptr<Peer>> clients;
  for (int i = 0; i < 3; ++i) {
    CHECK(fixture.shared().breaker_state() != BreakerState::closed);
    clients.push_back(fixture.client_sends(get()));
    fixture.upstream_answers("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx");
  }
  CHECK(fixture.shared().breaker_state() == BreakerState::closed);
}

TEST_CASE("a response that may last for hours has succeeded when it begins, any other at its end") {
  struct Row {
    const char* type;
    BreakerState state;  // after a failure, this response's head, and a failure: two in a row open
  };
  for (const Row& row : {Row{"text/event-stream", BreakerState::closed},
                         Row{"Text/Event-Stream; charset=utf-8", BreakerState::closed},
                         Row{"text/plain", BreakerState::open}}) {
    CAPTURE(row.type);
    proxy::Config config = touchy();
    config.upstreams["api"].breaker.consecutive_failures = 2;
    ProxyFixture fixture(config);
    auto fails = fixture.client_sends(get());
    fixture.upstream_answers(answer(500));
    auto lasts = fixture.client_sends(get());
    fixture.upstream_answers("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: " +
                             std::string(row.type) + "\r\n\r\n");
    fails->send(get());
    fixture.world.settle();
    fixture.upstream_answers(answer(500));
    CHECK(fixture.shared().breaker_state() == row.state);
  }
}

TEST_CASE("an answer that is tried again without being a failure is a success") {
  proxy::Config config = touchy();
  config.upstreams["api"].breaker.consecutive_failures = 2;
  config.upstreams["api"].breaker.failures = conditions({"connect"});
  config.upstreams["api"].pool.max_requests = 1;  // each attempt connects
  config.routes[0].retry.attempts = 3;
  ProxyFixture fixture(config);
  fixture.network.script("10.0.0.1:80", {ConnectOutcome::Kind::fail});
  fixture.network.script("10.0.0.1:80", {});
  fixture.network.script("10.0.0.1:80", {ConnectOutcome::Kind::fail});
  auto client = fixture.client_sends(get());
  fixture.world.pass(25ms);
  fixture.upstream_answers(answer(503));
  fixture.world.pass(50ms);
  CHECK(status_of(client->received()) == 502);
  CHECK(fixture.last().attempts == 3);
  CHECK(fixture.shared().breaker_state() == BreakerState::closed);
}

TEST_CASE("slow calls open it, by the time to the response's head") {
  proxy::Config config = touchy();
  config.upstreams["api"].breaker.slow_call = 1s;
  config.upstreams["api"].breaker.min_requests = 1;
  config.upstreams["api"].breaker.slow_call_rate = 0.5;
  ProxyFixture fixture(config);
  auto client = fixture.client_sends(get());
  fixture.world.pass(1s);
  fixture.upstream_answers("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n");
  fixture.world.pass(5s);
  fixture.upstream_answers("x");
  CHECK(fixture.shared().breaker_state() == BreakerState::closed);
  client->send(get());
  fixture.world.settle();
  fixture.world.pass(1s + Duration(1));
  fixture.upstream_answers(answer(200));
  CHECK(fixture.shared().breaker_state() == BreakerState::open);
}

TEST_CASE("time that is used up waiting for a connection says nothing about the upstream") {
  proxy::Config config = touchy();
  config.upstreams["api"].pool.max_connections = 1;
  ProxyFixture fixture(config);
  auto busy = fixture.client_sends(get());
  fixture.upstream_answers("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx");
  auto waits = fixture.client_sends(get());
  fixture.world.pass(15s);
  CHECK(status_of(waits->received()) == 504);
  CHECK(fixture.shared().breaker_state() == BreakerState::closed);
}

TEST_CASE("what holdfast itself refuses says nothing about the upstream") {
  proxy::Config config = touchy();
  config.upstreams["api"].pool.max_connections = 1;
  config.upstreams["api"].pool.max_pending = 0;
  ProxyFixture fixture(config);
  auto first = fixture.client_sends(get());
  auto second = fixture.client_sends(get());
  CHECK(status_of(second->received()) == 503);
  CHECK(field_of(second->received(), "Retry-After") == "1");
  CHECK(fixture.last().error == "connection_limit_reached");
  CHECK(fixture.shared().breaker_state() == BreakerState::closed);
}

}  // namespace
}  // namespace holdfast::test
