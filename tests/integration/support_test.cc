// The test tools themselves, without holdfast: a tool that lies makes every test worthless.
#include <doctest/doctest.h>

#include "tests/support/child_process.h"
#include "tests/support/metrics.h"
#include "tests/support/raw_client.h"
#include "tests/support/scripted_upstream.h"

using namespace holdfast::testing;

namespace {

Response ask(const Handler& handler, std::string_view method = "GET") {
  ScriptedUpstream upstream(handler);
  return fetch(upstream.address(), "/", {}, method);
}

}  // namespace

TEST_CASE("a client reads a body by length, by chunks and until the end") {
  CHECK(ask(reply(200, "hello")).body == "hello");
  const Response chunked = ask(send_raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" +
                                        chunk("hel") + chunk("lo") + "0\r\nX-End: 1\r\n\r\n"));
  CHECK(chunked.body == "hello");
  CHECK(chunked.trailers.get("x-end") == "1");
  CHECK(ask(send_and_close("HTTP/1.1 200 OK\r\n\r\nhello")).body == "hello");
}

TEST_CASE("a client never takes a cut or crooked response for a whole one") {
  const struct {
    std::string bytes;
    Fault fault;
  } cases[] = {
      {"", Fault::end},
      {"HTTP/1.1 200 OK\r\nContent-Le", Fault::end},
      {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", Fault::end},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", Fault::end},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nab\r\n", Fault::malformed},
      {"HTTP/1.1 200 OK\nContent-Length: 0\n\n", Fault::malformed},
      {"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", Fault::malformed},
      {"HTTP/1.1 200 OK\r\nX A: 1\r\n\r\n", Fault::malformed},
      {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
       Fault::malformed},
  };
  for (const auto& one : cases) {
    CAPTURE(one.bytes);
    const Response response = ask(send_and_close(one.bytes));
    CHECK_FALSE(response.complete);
    CHECK(response.fault == one.fault);
  }
  CHECK(ask(send_and_reset("HTTP/1.1 200 OK\r\n\r\nuntil")).fault == Fault::reset);
}

TEST_CASE("nothing behind a CONNECT that was granted is its answer's") {
  CHECK(ask(send_raw("HTTP/1.1 200 OK\r\n\r\ntunnelled"), "CONNECT").body.empty());
  CHECK(ask(send_raw("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), "CONNECT").fault ==
        Fault::malformed);
  CHECK(ask(send_raw(response_text(403, "no")), "CONNECT").body == "no");
}

TEST_CASE("interim responses come before the final one") {
  const Response response =
      ask(send_raw("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + response_text(200, "x")));
  CHECK(response.status == 200);
  REQUIRE(response.interim.size() == 1);
  CHECK(response.interim[0].headers.get("link") == "</a>");
}

TEST_CASE("HEAD and 204 have no body") {
  CHECK(ask(reply(200, "hello"), "HEAD").complete);
  CHECK(ask(reply(204)).complete);
}

TEST_CASE("an upstream remembers its requests, connections and their order") {
  ScriptedUpstream upstream(in_turn({reply(200, "one"), reply(201, "two")}));
  RawClient client(upstream.address());
  CHECK(client.post("/a", "body").body == "one");
  CHECK(client.get("/b").status == 201);
  CHECK(fetch(upstream.address(), "/c").status == 201);
  const auto requests = upstream.requests();
  REQUIRE(requests.size() == 3);
  CHECK(requests[0].body == "body");
  CHECK(requests[0].complete);
  CHECK(requests[1].connection == 1);
  CHECK(requests[1].number == 2);
  CHECK(requests[2].connection == 2);
  CHECK(upstream.connection_count() == 2);
}

TEST_CASE("an upstream that refuses can accept again on the same port") {
  ScriptedUpstream upstream(reply(200));
  upstream.refuse();
  CHECK_THROWS_AS(fetch(upstream.address(), "/"), WireError);
  upstream.accept_again();
  CHECK(fetch(upstream.address(), "/").status == 200);
}

TEST_CASE("an upstream holds a request until the gate opens") {
  Gate gate;
  ScriptedUpstream upstream(after(gate, reply(200)));
  RawClient client(upstream.address());
  client.send(request_text("GET", "/"));
  REQUIRE(upstream.wait_for_requests(1));
  CHECK(client.wait_for_close(20ms) == Fault::timeout);
  gate.open();
  CHECK(client.read_response().status == 200);
}

TEST_CASE("a black hole neither accepts nor refuses") {
  const BlackHole hole;
  ChildProcess probe(
      {"/bin/bash", "-c",
       "exec 3<>/dev/tcp/127.0.0.1/" + hole.address().substr(hole.address().find(':') + 1)});
  CHECK_FALSE(probe.wait_for_exit(200ms).has_value());
}

TEST_CASE("a child's lines, exit code and death by signal are seen") {
  ChildProcess child({"/bin/sh", "-c", "echo out; echo err >&2; exit 7"}, {});
  CHECK(child.wait_for_exit() == 7);
  CHECK(child.standard_output().text() == "out\n");
  CHECK(child.standard_error().wait_for("err"));
  ChildProcess sleeper({"/bin/sleep", "100"});
  sleeper.signal(15);
  CHECK(sleeper.wait_for_exit() == 128 + 15);
}

TEST_CASE("metrics are summed over the labels that are not asked for") {
  const Metrics metrics(
      "# HELP a b\n# TYPE a counter\na{x=\"1\",y=\"2\"} 3\na{x=\"1\",y=\"3\"} 4\nb 1e3\n"
      "# TYPE h histogram\nh_bucket{r=\"q\",le=\"+Inf\"} 1\nh_sum{r=\"q\"} 1\nh_count{r=\"q\"} "
      "1\n");
  CHECK(metrics.value("a", {{"x", "1"}}) == 7);
  CHECK(metrics.value("a", {{"y", "3"}}) == 4);
  CHECK(metrics.value("b") == 1000);
  CHECK_FALSE(metrics.has("a", {{"x", "2"}}));
  CHECK(metrics.families() == std::set<std::string>{"a{x,y}", "b{}", "h{r}"});
  CHECK(metrics.label_values("y") == std::set<std::string>{"2", "3"});
}
