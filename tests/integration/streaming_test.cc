// Bodies stream: bounded memory, back-pressure, nothing held back, and a cut is never a clean end.
#include <atomic>

#include "tests/support/suite.h"

using namespace holdfast::testing;

namespace {

constexpr std::size_t total_bytes = 64u << 20;
constexpr std::size_t memory_bound = 8u << 20;
const std::string block(64 * 1024, 'x');

/// Grown resident memory. Sanitizers keep freed memory, so it is bounded there by what they may
/// hold.
void check_memory(Holdfast& holdfast, std::size_t before) {
  const std::size_t now = holdfast.process().resident_bytes();
  CHECK(now < before + memory_bound + (built_with_sanitizers ? 64u << 20 : 0));
}

void send_blocks(Socket& socket, std::atomic<std::size_t>& sent) {
  while (sent < total_bytes) {
    socket.send(block);
    sent += block.size();
  }
}

/// Waits until the number stands still.
std::size_t settled(const std::atomic<std::size_t>& number) {
  std::size_t last = number;
  Stopwatch unchanged;
  while (unchanged.elapsed() < 200ms) {
    std::this_thread::sleep_for(5ms);
    if (number == last) continue;
    last = number;
    unchanged = Stopwatch();
  }
  return last;
}

/// True if what the client gets from that upstream could be taken for the whole 200.
bool looks_whole(const Handler& handler, std::string_view request) {
  ScriptedUpstream app(handler);
  const Holdfast holdfast(Setup{.endpoints = {app.url()}, .route = "retry = { attempts = 1 }"});
  RawClient client = holdfast.client();
  client.send(request);
  const Response response = client.read_response();
  return response.complete && response.status == 200;
}

const std::string get = request_text("GET", "/");
const std::string old_get = "GET / HTTP/1.0\r\nHost: a\r\n\r\n";

}  // namespace

TEST_CASE("64 MiB down to a slow reader: memory is bounded and the upstream is held back") {
  std::atomic<std::size_t> sent{0};
  ScriptedUpstream app([&](Exchange& exchange) {
    if (exchange.request.target == "/warm") return exchange.respond(200);
    exchange.send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(total_bytes) + "\r\n\r\n");
    send_blocks(exchange.socket(), sent);
  });
  Holdfast holdfast(Setup{.endpoints = {app.url()}});
  holdfast.get("/warm");
  const std::size_t before = holdfast.process().resident_bytes();
  RawClient client(holdfast.address(), 64 * 1024);
  client.send(get);
  Response response = client.read_head();
  // What the kernel's buffers take may pass; the rest has to wait.
  CHECK(settled(sent) < total_bytes / 2);
  check_memory(holdfast, before);
  std::size_t received = 0;
  client.read_body(response, [&](std::string_view piece) { received += piece.size(); });
  CHECK(response.complete);
  CHECK(received == total_bytes);
  check_memory(holdfast, before);
}

TEST_CASE("64 MiB up to a slow reader: memory is bounded and the client is held back") {
  Gate gate;
  std::size_t received = 0;
  ScriptedUpstream app(
      [&](Exchange& exchange) {
        if (exchange.request.method == "GET") return exchange.respond(200);
        exchange.hold(gate);
        while (received < total_bytes) received += exchange.reader().read_some(1 << 20).size();
        exchange.respond(200, "all");
      },
      BodyReading::by_handler);
  Holdfast holdfast(Setup{.endpoints = {app.url()}});
  holdfast.get("/");
  const std::size_t before = holdfast.process().resident_bytes();
  RawClient client = holdfast.client();
  std::atomic<std::size_t> sent{0};
  client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(total_bytes) +
              "\r\n\r\n");
  std::thread sender([&] { send_blocks(client.socket(), sent); });
  CHECK(settled(sent) < total_bytes / 2);
  check_memory(holdfast, before);
  gate.open();
  sender.join();
  CHECK(client.read_response("PUT").body == "all");
  CHECK(received == total_bytes);
  check_memory(holdfast, before);
}

TEST_CASE("an upstream may answer while it still reads: both bodies go on") {
  constexpr std::size_t both_ways = 16u << 20;
  ScriptedUpstream app(
      [&](Exchange& exchange) {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(both_ways) +
                      "\r\n\r\n");
        for (std::size_t echoed = 0; echoed < both_ways;) {
          const std::string piece = exchange.reader().read_some(1 << 16);
          exchange.send(piece);
          echoed += piece.size();
        }
      },
      BodyReading::by_handler);
  const Holdfast holdfast(Setup{.endpoints = {app.url()}, .route = "timeout = { idle = \"3s\" }"});
  RawClient client = holdfast.client();
  client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(both_ways) +
              "\r\n\r\n");
  std::thread sender([&] {
    for (std::size_t sent = 0; sent < both_ways; sent += block.size()) client.send_if_open(block);
  });
  Response response = client.read_head();
  std::size_t received = 0;
  client.read_body(response, [&](std::string_view piece) { received += piece.size(); });
  if (!response.complete) client.socket().shutdown_both();
  sender.join();
  if (!response.complete) client.reset();
  CHECK(response.complete);
  CHECK(received == both_ways);
}

TEST_CASE("an event of a stream arrives before the next one is sent") {
  for (const bool chunked : {true, false}) {
    CAPTURE(chunked);
    Gate gates[3];
    ScriptedUpstream app([&](Exchange& exchange) {
      exchange.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" +
                    std::string(chunked ? "Transfer-Encoding: chunked\r\n\r\n" : "\r\n"));
      for (Gate& gate : gates) {
        exchange.send(chunked ? chunk("data: x\n\n") : "data: x\n\n");
        exchange.hold(gate);
      }
      if (chunked) exchange.send("0\r\n\r\n");
      exchange.close();
    });
    const Holdfast holdfast(Setup{.endpoints = {app.url()}});
    RawClient client = holdfast.client();
    client.send(get);
    Response response = client.read_head();
    std::size_t events = 0;
    std::string pending;
    client.read_body(response, [&](std::string_view piece) {
      pending += piece;
      for (; pending.starts_with("data: x\n\n"); pending.erase(0, 9)) gates[events++].open();
    });
    CHECK(response.complete);
    CHECK(events == 3);
  }
}

TEST_CASE("a part of a request's body reaches the upstream before the next one is sent") {
  Gate first_came;
  ScriptedUpstream app(
      [&](Exchange& exchange) {
        CHECK(exchange.reader().read_exactly(100000).size() == 100000);
        first_came.open();
        CHECK(exchange.reader().read_exactly(6) == "second");
        exchange.respond(200);
      },
      BodyReading::by_handler);
  const Holdfast holdfast(Setup{.endpoints = {app.url()}});
  RawClient client = holdfast.client();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100006\r\n\r\n");
  client.send(std::string(100000, '1'));
  REQUIRE(first_came.wait_for(patience));
  client.send("second");
  CHECK(client.read_response().status == 200);
}

TEST_CASE("a body that was cut never looks whole to the client") {
  const std::string head = "HTTP/1.1 200 OK\r\n";
  const std::string sized = head + "Content-Length: 100\r\n\r\npart";
  const std::string chunks = head + "Transfer-Encoding: chunked\r\n\r\n" + chunk("part");
  for (const std::string& request : {get, old_get}) {
    for (const std::string& bytes : {sized, chunks}) {
      CAPTURE(request);
      CAPTURE(bytes);
      CHECK_FALSE(looks_whole(send_and_close(bytes), request));
      CHECK_FALSE(looks_whole(send_and_reset(bytes), request));
    }
  }
  CHECK_FALSE(looks_whole(send_and_close(chunks + "ZZ\r\n"), get));
}

// The reset may reach the loop together with the bytes before it, so it is tried a few times.
TEST_CASE("a body until close that was cut by a reset never looks whole either") {
  const std::string endless = "HTTP/1.1 200 OK\r\n\r\npart";
  for (int attempt = 0; attempt < 20; ++attempt) {
    CHECK_FALSE(looks_whole(send_and_reset(endless), get));
    CHECK_FALSE(looks_whole(send_and_reset(endless), old_get));
  }
}

TEST_CASE("a request body that was cut never looks whole to the upstream") {
  for (const bool reset : {false, true}) {
    for (const std::string framing :
         {"Content-Length: 1000000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n186a0\r\n"}) {
      CAPTURE(framing);
      ScriptedUpstream app(reply(200));
      const Holdfast holdfast(Setup{.endpoints = {app.url()}});
      RawClient client = holdfast.client();
      client.send(std::string("PUT / HTTP/1.1\r\nHost: a\r\n") + framing +
                  std::string(100000, 'x'));
      REQUIRE(app.wait_for_requests(1));
      reset ? client.reset() : client.half_close();
      CHECK(eventually([&] { return app.open_connections() == 0; }));
      CHECK_FALSE(app.requests().front().complete);
      CHECK(app.request_count() == 1);
    }
  }
}

TEST_CASE("a client that leaves in the middle of a download frees the upstream") {
  std::atomic<std::size_t> sent{0};
  ScriptedUpstream app([&](Exchange& exchange) {
    exchange.send("HTTP/1.1 200 OK\r\n\r\n");
    send_blocks(exchange.socket(), sent);
  });
  const Holdfast holdfast(Setup{.endpoints = {app.url()}});
  RawClient client = holdfast.client();
  client.send(get);
  client.read_head();
  client.reset();
  CHECK(eventually([&] { return app.open_connections() == 0; }));
  CHECK(sent < total_bytes);
}
