// Tunnels: what a route allows by `upgrade`, after a real 101 (RFC 9110 §7.8).
#include "tests/support/suite.h"

using namespace holdfast::testing;

namespace {

const Headers websocket{{"Connection", "Upgrade"}, {"Upgrade", "websocket"}};
const std::string switching =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Accept: abc\r\n\r\n";

Setup with_tunnels(const ScriptedUpstream& app) {
  return {.endpoints = {app.url()}, .route = "upgrade = [\"websocket\"]\nretry = { attempts = 1 }"};
}

}  // namespace

TEST_CASE("a tunnel carries bytes both ways, from the first byte behind the 101") {
  ScriptedUpstream app([](Exchange& exchange) {
    exchange.send(switching + "hello");
    const std::string got = exchange.reader().read_exactly(4);
    exchange.send("got " + got);
    exchange.wait_for_close();
  });
  const Holdfast holdfast(with_tunnels(app));
  RawClient client = holdfast.client();
  client.send(request_text("GET", "/", websocket));
  const Response response = client.read_response();
  CHECK(response.status == 101);
  CHECK(response.headers.get("Upgrade") == "websocket");
  CHECK(matches(response.headers.get("Connection"), "(?i)^upgrade$"));
  CHECK(response.headers.get("Sec-WebSocket-Accept") == "abc");
  CHECK(app.last_request().headers.get("Upgrade") == "websocket");
  CHECK(client.reader().read_exactly(5) == "hello");
  client.send("ping");
  CHECK(client.reader().read_exactly(8) == "got ping");
}

TEST_CASE("each side of a tunnel may end its direction first") {
  ScriptedUpstream app([](Exchange& exchange) {
    exchange.send(switching);
    const std::string all = exchange.reader().read_to_end();
    exchange.send("after your end: " + all);
    exchange.close();
  });
  const Holdfast holdfast(with_tunnels(app));
  RawClient client = holdfast.client();
  client.send(request_text("GET", "/", websocket));
  REQUIRE(client.read_response().status == 101);
  client.send("bytes");
  client.half_close();
  CHECK(client.read_to_end() == "after your end: bytes");
}

TEST_CASE("a tunnel ends for the client when the upstream resets it") {
  ScriptedUpstream app(send_and_reset(switching));
  const Holdfast holdfast(with_tunnels(app));
  RawClient client = holdfast.client();
  client.send(request_text("GET", "/", websocket));
  client.read_response();
  CHECK(client.wait_for_close() == Fault::reset);
  CHECK(holdfast.wait_access_log(1)["error"] == "connection_terminated");
}

TEST_CASE("an upgrade that was asked for and answered otherwise is an answer like any other") {
  ScriptedUpstream app(reply(426, "no"));
  const Holdfast holdfast(with_tunnels(app));
  RawClient client = holdfast.client();
  CHECK(client.request("GET", "/", websocket).body == "no");
  CHECK(client.get("/").status == 426);
}

TEST_CASE("a protocol the route does not allow is not asked for") {
  ScriptedUpstream app(reply(200, "plain"));
  const Holdfast holdfast(with_tunnels(app));
  const Headers other{{"Connection", "Upgrade"}, {"Upgrade", "h2c"}};
  CHECK(holdfast.get("/", other).body == "plain");
  CHECK_FALSE(app.last_request().headers.has("Upgrade"));
  CHECK_FALSE(app.last_request().headers.has("Connection"));
}

TEST_CASE("a route without `upgrade` asks for none, and HTTP/1.0 cannot") {
  ScriptedUpstream app(reply(200, "plain"));
  const Holdfast closed(Setup{.endpoints = {app.url()}});
  CHECK(closed.get("/", websocket).body == "plain");
  CHECK_FALSE(app.last_request().headers.has("Upgrade"));
  const Holdfast open(with_tunnels(app));
  RawClient old = open.client();
  old.send("GET / HTTP/1.0\r\nHost: a\r\n" + websocket.text() + "\r\n");
  CHECK(old.read_response().status == 200);
  CHECK_FALSE(app.last_request().headers.has("Upgrade"));
}

TEST_CASE("a 101 that nobody asked for is a 502") {
  ScriptedUpstream app(send_raw(switching));
  const Holdfast holdfast(with_tunnels(app));
  const Response response = holdfast.get("/");
  CHECK(response.status == 502);
  CHECK(response.complete);
  CHECK(eventually([&] { return app.open_connections() == 0; }));
}

TEST_CASE("a tunnel outlives `total` and is logged when it ends") {
  ScriptedUpstream app([](Exchange& exchange) {
    exchange.send(switching);
    while (true) exchange.send(exchange.reader().read_some(100));
  });
  Setup setup = with_tunnels(app);
  setup.route += "\ntimeout = { total = \"100ms\" }";
  const Holdfast holdfast(setup);
  RawClient client = holdfast.client();
  client.send(request_text("GET", "/", websocket));
  REQUIRE(client.read_response().status == 101);
  const Stopwatch since;
  while (since.elapsed() < 300ms) {
    client.send("x");
    REQUIRE(client.reader().read_some(1) == "x");
  }
  CHECK(holdfast.access_log().empty());
  client.close();
  CHECK(holdfast.wait_access_log(1)["status"] == 101);
}
