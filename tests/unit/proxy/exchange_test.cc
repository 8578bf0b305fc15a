#include "holdfast/proxy/exchange.h"

#include <doctest/doctest.h>

#include "tests/support/proxy_fixture.h"

namespace holdfast::test {
namespace {

using namespace std::chrono_literals;

// ------------------------------------------------------------------------- a client that goes away

TEST_CASE("a client that goes at any moment ends the work, and leaves nothing behind") {
  const std::string put = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 400000\r\n\r\n";
  struct Moment {
    const char* name;
    std::function<void(ProxyFixture&, Peer&)> until;
  };
  const std::vector<Moment> moments = {
      {"before a byte", [](ProxyFixture&, Peer&) {}},
      {"within the head", [](ProxyFixture&, Peer& client) { client.send("GET / HT"); }},
      {"while connecting",
       [](ProxyFixture& fixture, Peer& client) {
         fixture.network.script("10.0.0.1:80", {ConnectOutcome::Kind::silence});
         client.send(get());
       }},
      {"while the upstream thinks", [](ProxyFixture&, Peer& client) { client.send(get()); }},
      {"within its body", [&](ProxyFixture&, Peer& client) { client.send(put + "xx"); }},
      {"while the upstream takes none of its body",
       [&](ProxyFixture& fixture, Peer& client) {
         client.send(put);
         fixture.world.settle();
         fixture.upstream().take_at_most(0);
         client.send(std::string(30000, 'x'));
       }},
      {"while waiting to try again",
       [](ProxyFixture& fixture, Peer& client) {
         client.send(get());
         fixture.world.settle();
         fixture.upstream_answers(answer(503, "body"));
       }},
      {"while waiting for a connection",
       [](ProxyFixture& fixture, Peer& client) {
         fixture.network.script("10.0.0.1:80", {ConnectOutcome::Kind::silence});
         fixture.client_sends(get());
         client.send(get());
       }},
      {"within the answer",
       [](ProxyFixture& fixture, Peer& client) {
         client.send(get());
         fixture.world.settle();
         fixture.upstream_answers("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx");
       }},
      {"while it takes none of the answer",
       [](ProxyFixture& fixture, Peer& client) {
         client.take_at_most(5);
         client.send(get());
         fixture.world.settle();
         fixture.upstream_answers(answer(200, std::string(100, 'x')));
       }},
  };
  for (const Moment& moment : moments) {
    CAPTURE(moment.name);
    proxy::Config config = one_upstream();
    config.upstreams["api"].breaker.consecutive_failures = 2;
    config.upstreams["api"].pool.max_connections = 1;
    config.routes[0].timeout.connect = std::nullopt;
    ProxyFixture fixture(config);
    auto client = fixture.client();
    fixture.world.settle();
    moment.until(fixture, *client);
    fixture.world.settle();
    const std::size_t others = fixture.clients->size() - 1;
    client->reset();
    fixture.world.settle();
    CHECK(fixture.clients->size() == others);
    CHECK(fixture.shared().active_connections == 0);
    CHECK(fixture.shared().breaker_state() == policy::BreakerState::closed);
    CHECK(fixture.seen.exchanges.size() <= 1);
  }
}

TEST_CASE("a half-closed client is still answered") {
  ProxyFixture fixture;
  auto client = fixture.client();
  client->send(get());
  client->finish();
  fixture.world.settle();
  fixture.upstream_answers(answer(200, "still"));
  CHECK(body_of(client->received()) == "still");
  CHECK(client->closed());
}

// ------------------------------------------------------------------------------------- request
// bodies

TEST_CASE("bodies pass with the framing they came in, in any cut, and arrive whole") {
  const std::string big(150000, 'b');
  const std::string length = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 150000\r\n\r\n" + big;
  const std::string chunked =
      "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n249F0\r\n" + big +
      "\r\n0\r\n\r\n";
  for (const std::string& bytes : {length, chunked}) {
    for (const std::size_t piece : {1000, 70000, 1 << 20}) {
      CAPTURE(piece);
      ProxyFixture fixture;
      auto client = fixture.client();
      client->send_in_pieces(bytes, piece);
      fixture.world.settle();
      REQUIRE(fixture.network.accepted.size() == 1);
      const std::string body = body_of(fixture.upstream().received());
      CHECK(static_cast<int>(big.size()) == std::ranges::count(body, 'b'));
      CHECK((bytes == length) == (body == big));
      fixture.upstream_answers(answer(200));
      CHECK(status_of(client->received()) == 200);
      CHECK(fixture.last().bytes_in == big.size());
    }
  }
}

TEST_CASE("a request that breaks within its body is refused, and the upstream sees it cut") {
  ProxyFixture fixture;
  auto client = fixture.client_sends(
      "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
  REQUIRE(fixture.network.accepted.size() == 1);
  client->send("nonsense\r\n");
  fixture.world.settle();
  CHECK(status_of(client->received()) == 400);
  CHECK(fixture.upstream().received().find("0\r\n\r\n") == std::string::npos);
  CHECK_FALSE(fixture.upstream().open());
  CHECK(client->ended());
}

TEST_CASE("100 (Continue) comes when the upstream is reached; the upstream never sees Expect") {
  ProxyFixture fixture;
  auto client = fixture.client_sends(
      "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  CHECK(client->take() == "HTTP/1.1 100 Continue\r\n\r\n");
  CHECK(field_of(fixture.upstream().received(), "Expect") == "-");
  client->send("ab");
  fixture.world.settle();
  CHECK(body_of(fixture.upstream().received()) == "ab");
  fixture.upstream_answers(answer(200));
  CHECK(status_of(client->take()) == 200);
  CHECK(client->open());
}

TEST_CASE("an early answer is passed on while the body is on its way; the connection ends") {
  ProxyFixture fixture;
  auto client = fixture.client_sends("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\nxx");
  fixture.upstream_answers(answer(413, "too much"));
  CHECK(status_of(client->received()) == 413);
  CHECK(body_of(client->received()) == "too much");
  CHECK(field_of(client->received(), "Connection") == "close");
  CHECK(fixture.upstream().closed());
}

TEST_CASE("an upstream that answers and resets: the answer is not lost") {
  ProxyFixture fixture;
  auto client = fixture.client_sends("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\nxx");
  fixture.upstream().send(answer(403, "no"));
  fixture.upstream().reset();
  fixture.world.settle();
  CHECK(status_of(client->received()) == 403);
}

// ------------------------------------------------------------------------------------------
// responses

TEST_CASE("a response in any cut is the same response") {
  const std::string bytes =
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";
  for (std::size_t piece = 1; piece <= bytes.size(); ++piece) {
    ProxyFixture fixture;
    auto client = fixture.client_sends(get());
    fixture.upstream().send_in_pieces(bytes, piece);
    fixture.world.settle();
    std::string body;
    std::string rest = body_of(client->received());
    for (std::size_t at = rest.find("\r\n"); at != std::string::npos; at = rest.find("\r\n")) {
      const std::size_t size = std::stoul(rest.substr(0, at), nullptr, 16);
      body += rest.substr(at + 2, size);
      rest = rest.substr(at + 2 + size + 2);
      if (size == 0) break;
    }
    CHECK(body == "abcde");
    CHECK(rest.empty());
    CHECK(fixture.shared().idle_connections == 1);
  }
}

TEST_CASE("an event is not held back") {
  ProxyFixture fixture;
  auto client = fixture.client_sends(get());
  fixture.upstream_answers(
      "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
  CHECK(status_of(client->take()) == 200);
  fixture.upstream_answers("9\r\ndata: 1\n\n\r\n");
  CHECK(client->take() == "9\r\ndata: 1\n\n\r\n");
}

TEST_CASE("a body that lasts until the close becomes chunked; to HTTP/1.0 it stays so") {
  ProxyFixture fixture;
  SUBCASE("HTTP/1.1") {
    auto client = fixture.client_sends(get());
    fixture.upstream_answers("HTTP/1.1 200 OK\r\n\r\nab");
    fixture.upstream().finish();
    fixture.world.settle();
    CHECK(body_of(client->received()) == "2\r\nab\r\n0\r\n\r\n");
    CHECK(client->open());
  }
  SUBCASE("HTTP/1.0") {
    auto client = fixture.client_sends("GET / HTTP/1.0\r\n\r\n");
    CHECK(field_of(fixture.upstream().received(), "Host") == "10.0.0.1");
    fixture.upstream_answers(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n");
    CHECK(body_of(client->received()) == "ab");
    CHECK(client->ended());
  }
  SUBCASE("a reset is not an end") {
    auto client = fixture.client_sends(get());
    fixture.upstream_answers("HTTP/1.1 200 OK\r\n\r\nab");
    fixture.upstream().reset();
    fixture.world.settle();
    CHECK(client->was_reset());
  }
}

TEST_CASE("responses without a body: the connection goes on with the next request") {
  struct Row {
    const char* method;
    const char* bytes;
  };
  for (const Row& row : {Row{"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"},
                         Row{"GET", "HTTP/1.1 204 No\r\n\r\n"},
                         Row{"GET", "HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n"},
                         Row{"GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"}}) {
    CAPTURE(row.bytes);
    ProxyFixture fixture;
    auto client = fixture.client_sends(request(row.method, ""));
    fixture.upstream_answers(row.bytes);
    const std::string text = client->take();
    CHECK(status_of(text) >= 200);
    CHECK(body_of(text).empty());
    CHECK(field_of(text, "Content-Length") == field_of(row.bytes, "Content-Length"));
    client->send(get());
    fixture.world.settle();
    fixture.upstream_answers(answer(200, "next"));
    CHECK(body_of(client->take()) == "next");
    CHECK(fixture.network.connects.size() == 1);
  }
}

TEST_CASE("an upstream that says close, or HTTP/1.0, is not asked again over that connection") {
  for (const char* bytes : {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
                            "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx"}) {
    ProxyFixture fixture;
    auto client = fixture.client_sends(get());
    fixture.upstream_answers(bytes);
    CHECK(fixture.upstream().closed());
    CHECK(client->open());
    CHECK(field_of(client->received(), "Connection") == "-");
  }
}

TEST_CASE("bytes after an answer are nobody's: the connection is closed, the next gets its own") {
  ProxyFixture fixture;
  auto client = fixture.client_sends(get());
  fixture.upstream_answers(answer(200, "mine") + answer(200, "smuggled"));
  CHECK(fixture.upstream().closed());
  client->take();
  client->send(get());
  fixture.world.settle();
  fixture.upstream_answers(answer(200, "next"));
  CHECK(body_of(client->take()) == "next");
}

TEST_CASE("informational responses pass, 100 among them, but not to HTTP/1.0") {
  ProxyFixture fixture;
  auto modern = fixture.client_sends(get());
  fixture.upstream_answers("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n");
  CHECK(modern->take() == "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n");
  fixture.upstream_answers(answer(200));
  CHECK(status_of(modern->take()) == 200);
  auto old = fixture.client_sends("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
  fixture.upstream_answers("HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + answer(200));
  CHECK(status_of(old->take()) == 200);
}

TEST_CASE("a client too slow for a 103 still gets the right bytes after it") {
  ProxyFixture fixture;
  auto client = fixture.client_sends(get());
  client->take_at_most(3);
  fixture.upstream_answers("HTTP/1.1 103 Early\r\nLink: x\r\n\r\n");
  fixture.upstream_answers("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc");
  fixture.upstream_answers("def");
  client->take_everything();
  fixture.world.settle();
  CHECK(client->received().ends_with("\r\n\r\nabcdef"));
}

TEST_CASE("memory is bounded both ways: what the slower side does not take is not read") {
  ProxyFixture fixture;
  auto client = fixture.client_sends(get());
  client->take_at_most(1000);
  fixture.upstream().send("HTTP/1.1 200 OK\r\nContent-Length: 4000000\r\n\r\n");
  fixture.upstream().send(std::string(4000000, 'x'));
  fixture.world.settle();
  CHECK(fixture.upstream().unread() > 4000000 - 5 * net::Stream::read_ahead_limit);
  client->take_everything();
  for (int i = 0; i < 200 && client->received().size() < 4000000; ++i) fixture.world.settle();
  CHECK(body_of(client->received()).size() == 4000000);
}

// ---------------------------------------------------------------------- answers of holdfast's own

TEST_CASE("no route, a mock, a loop, the last hop") {
  proxy::Config config = one_upstream();
  config.routes[0].match.path_kind = proxy::MatchConfig::PathKind::exact;
  config.routes[0].match.path = "/up";
  proxy::RouteConfig mock;
  mock.name = "mock";
  mock.match.path_kind = proxy::MatchConfig::PathKind::exact;
  mock.match.path = "/mock";
  mock.respond = proxy::StaticResponse{201, {{"X-A", "b"}}, "mocked"};
  config.routes.push_back(mock);
  ProxyFixture fixture(config);
  auto client = fixture.client_sends(get("/nowhere"));
  std::string text = client->take();
  CHECK(status_of(text) == 404);
  CHECK(text.find("urn:problem-type:holdfast:no-route") != std::string::npos);
  client->send(get("/mock"));
  fixture.world.settle();
  text = client->take();
  CHECK(status_of(text) == 201);
  CHECK(field_of(text, "X-A") == "b");
  CHECK(body_of(text) == "mocked");
  std::string vias;
  for (int i = 0; i < 9; ++i) vias += "1.1 holdfast, ";
  client->send(get("/up", "Via: " + vias + "1.0 holdfast (comment)\r\n"));
  fixture.world.settle();
  text = client->take();
  CHECK(status_of(text) == 502);
  CHECK(field_of(text, "Proxy-Status") == "holdfast; error=proxy_loop_detected");
  client->send("OPTIONS /up HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n");
  fixture.world.settle();
  CHECK(status_of(client->take()) == 204);
  CHECK(fixture.network.connects.empty());
  CHECK(client->open());
}

TEST_CASE("what has arrived of a body is judged before a request is answered, by whomever") {
  proxy::Config config = one_upstream();
  config.routes[0].match.path = "/up";
  config.routes[0].match.path_kind = proxy::MatchConfig::PathKind::prefix;
  proxy::RouteConfig page = config.routes[0];
  page.name = "page";
  page.upstream.clear();
  page.match.path = "/page";
  page.respond = proxy::StaticResponse{200, {}, "hello"};
  config.routes.push_back(page);
  const std::string broken_body =
      "Host: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n";
  for (const std::string line :
       {"OPTIONS /up HTTP/1.1\r\nMax-Forwards: 0\r\n", "POST /page HTTP/1.1\r\n",
        "POST /nowhere HTTP/1.1\r\n", "POST /up HTTP/1.1\r\n"}) {
    CAPTURE(line);
    ProxyFixture fixture(config);
    auto client = fixture.client_sends(line + broken_body);
    CHECK(status_of(client->take()) == 400);
    CHECK(client->ended());
    CHECK(fixture.network.connects.empty());
  }
}

TEST_CASE("a request id that is good is kept; else one is made, and it is the one that is told") {
  ProxyFixture fixture;
  auto client = fixture.client_sends(get("/", "X-Request-Id: mine\r\n"));
  CHECK(field_of(fixture.upstream().take(), "X-Request-Id") == "mine");
  fixture.upstream_answers(answer(200));
  CHECK(fixture.last().request_id == "mine");
  client->send(get("/", "X-Request-Id: a\r\nX-Request-Id: b\r\n"));
  fixture.world.settle();
  const std::string made = field_of(fixture.upstream().take(), "X-Request-Id");
  CHECK(made.size() == 36);
  fixture.upstream_answers(answer(200));
  CHECK(fixture.last().request_id == made);
}

// --------------------------------------------------------------------------------------------
// upgrade

TEST_CASE("an upgrade that the route allows and the upstream grants becomes a tunnel") {
  proxy::Config config = one_upstream();
  config.routes[0].upgrade = {"websocket"};
  ProxyFixture fixture(config);
  const std::string fields = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
  auto client = fixture.client_sends(get("/", fields));
  CHECK(field_of(fixture.upstream().received(), "Upgrade") == "websocket");
  fixture.upstream().take();
  fixture.upstream_answers(
      "HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello");
  CHECK(body_of(client->take()) == "hello");
  client->send("there");
  fixture.world.settle();
  CHECK(fixture.upstream().take() == "there");
  fixture.upstream().finish();
  client->finish();
  fixture.world.settle();
  CHECK(client->closed());
  CHECK(fixture.last().status == 101);
}

TEST_CASE("a tunnel that is cut ends in a reset on both sides: nobody takes it for a FIN") {
  proxy::Config config = one_upstream();
  config.routes[0].upgrade = {"websocket"};
  config.routes[0].timeout.idle = 5s;
  ProxyFixture fixture(config);
  auto client = fixture.client_sends(get("/", "Connection: Upgrade\r\nUpgrade: websocket\r\n"));
  fixture.upstream_answers("HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
  SUBCASE("by the client") {
    client->reset();
  }
  SUBCASE("by the upstream") {
    fixture.upstream().reset();
  }
  SUBCASE("for silence") {
    fixture.world.pass(5s);
  }
  fixture.world.settle();
  CHECK_FALSE(fixture.upstream().closed());
  CHECK_FALSE(client->closed());
  CHECK_FALSE(fixture.upstream().open());
  CHECK_FALSE(client->open());
}

TEST_CASE("an upgrade that the route does not allow is asked of nobody") {
  ProxyFixture fixture;
  auto client = fixture.client_sends(get("/", "Connection: Upgrade\r\nUpgrade: websocket\r\n"));
  CHECK(field_of(fixture.upstream().received(), "Upgrade") == "-");
  fixture.upstream_answers("HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
  fixture.world.pass(1s);
  CHECK(client->received().find(" 101 ") == std::string::npos);
}

}  // namespace
}  // namespace holdfast::test
