// An upstream that answers while it still reads: the upload goes on beside the answer. What a
// retry, a hedge or a fallback is, exchange_*_test.cc says.
#include "holdfast/proxy/attempts.h"

#include <doctest/doctest.h>

#include <functional>

#include "tests/support/proxy_fixture.h"

namespace holdfast::test {
namespace {

using namespace std::chrono_literals;

const std::string head_of_put = "PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\n";
const std::string head_of_answer = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n";

/// Half of a request is with the upstream, which has answered half already.
class BothAtWork : public ProxyFixture {
 public:
  explicit BothAtWork(proxy::Config config = one_upstream()) : ProxyFixture(std::move(config)) {
    client = client_sends(head_of_put + "01234");
    upstream_answers(head_of_answer + "abc");
    CHECK(upstream().take().ends_with("\r\n\r\n01234"));
    CHECK(body_of(client->received()) == "abc");
  }
  void client_continues(std::string_view bytes) {
    client->send(bytes);
    world.settle();
  }
  std::shared_ptr<Peer> client;
};

TEST_CASE("both directions go on, in any order") {
  BothAtWork fixture;
  fixture.client_continues("56");
  CHECK(fixture.upstream().take() == "56");
  fixture.upstream_answers("d");
  CHECK(body_of(fixture.client->received()) == "abcd");
  SUBCASE("the upload ends first") {
    fixture.client_continues("789");
    CHECK(fixture.upstream().take() == "789");
    fixture.upstream_answers("ef");
    CHECK(body_of(fixture.client->received()) == "abcdef");
    // Both are whole, so the upstream's connection carries the next request.
    const auto next = fixture.client_sends(get());
    CHECK(fixture.network.accepted.size() == 1);
    fixture.upstream_answers(answer(204));
    CHECK(status_of(next->received()) == 204);
  }
  SUBCASE("the answer ends first") {
    fixture.upstream_answers("ef");
    CHECK(body_of(fixture.client->received()) == "abcdef");
    CHECK_FALSE(fixture.upstream().open());
  }
  // The head of the answer was told before anybody knew whether the body would be read.
  CHECK(field_of(fixture.client->received(), "Connection") == "close");
  CHECK(fixture.seen.exchanges.front().status == 200);
  CHECK(fixture.seen.exchanges.front().error.empty());
  CHECK(fixture.seen.attempts.front() == "200");
}

TEST_CASE("an upstream that takes nothing more of the upload still answers to the end") {
  proxy::Config config = one_upstream();
  config.routes[0].timeout.idle = 2s;
  BothAtWork fixture(config);
  fixture.upstream().take_at_most(0);
  fixture.client_continues("56789");
  fixture.world.pass(1s);
  fixture.upstream_answers("d");
  fixture.world.pass(
      1500ms);  // the upload has stood still for longer than idle, the answer has not
  fixture.upstream_answers("ef");
  CHECK(body_of(fixture.client->received()) == "abcdef");
  CHECK_FALSE(fixture.upstream().open());
}

TEST_CASE("a client that stops sending gets the rest of the answer") {
  BothAtWork fixture;
  SUBCASE("silent for longer than a body may be") {
    fixture.world.pass(59s);
  }
  SUBCASE("a half-close") {
    fixture.client->finish();
    fixture.world.settle();
  }
  fixture.upstream_answers("def");
  CHECK(body_of(fixture.client->received()) == "abcdef");
  CHECK(fixture.last().status == 200);
  CHECK_FALSE(fixture.upstream().open());
}

TEST_CASE("a client that goes ends both directions") {
  BothAtWork fixture;
  fixture.client->reset();
  fixture.world.settle();
  CHECK_FALSE(fixture.upstream().open());
  CHECK(fixture.seen.exchanges.size() == 1);
}

TEST_CASE(
    "an upstream that closes early: within its answer the client sees a cut, after it nothing") {
  BothAtWork fixture;
  SUBCASE("reset within the answer") {
    fixture.upstream().reset();
    fixture.client_continues("56789");
    CHECK(fixture.client->was_reset());
    CHECK(fixture.last().error == "http_response_incomplete");
  }
  SUBCASE("FIN within the answer") {
    fixture.upstream().finish();
    fixture.world.settle();
    CHECK(fixture.client->was_reset());
    CHECK(fixture.last().error == "http_response_incomplete");
  }
  SUBCASE("with its last byte") {
    fixture.upstream().send("def");
    fixture.upstream().finish();
    fixture.world.settle();
    CHECK(body_of(fixture.client->received()) == "abcdef");
    CHECK(fixture.last().error.empty());
  }
}

TEST_CASE("a reset that comes with the answer: what was said before it is passed on") {
  ProxyFixture fixture;
  const auto client = fixture.client_sends(head_of_put + "01234");
  fixture.upstream().send(answer(413, "too much"));
  fixture.upstream().reset();
  fixture.world.settle();
  client->send("56789");
  fixture.world.settle();
  CHECK(status_of(client->received()) == 413);
  CHECK(body_of(client->received()) == "too much");
}

TEST_CASE("who waits for a 100 and gets an answer instead sends no body") {
  ProxyFixture fixture;
  const auto client = fixture.client_sends(
      "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n");
  const std::string first = client->take();
  const bool told = first == "HTTP/1.1 100 Continue\r\n\r\n";
  fixture.upstream_answers(answer(403, "no"));
  CHECK(status_of(client->take()) == 403);
  CHECK(told);
  CHECK_FALSE(fixture.upstream().open());
}

// -- what comes after an early answer that nobody wants

proxy::Config retried() {
  proxy::Config config = one_upstream();
  config.routes[0].retry.body_limit = 8;
  return config;
}

TEST_CASE("retry: what the client sends meanwhile is in the next attempt, once and whole") {
  proxy::Config config = retried();
  config.routes[0].retry.body_limit = 100;
  ProxyFixture fixture(config);
  const auto client = fixture.client_sends(head_of_put + "01234");
  fixture.upstream_answers(answer(503, "no"));
  client->send("567");
  fixture.world.pass(10ms);  // of a pause of 25 ms
  client->send("89");
  fixture.world.pass(1s);
  REQUIRE(fixture.network.accepted.size() == 2);
  CHECK_FALSE(fixture.upstream(0).open());
  CHECK(fixture.upstream().received().ends_with("\r\n\r\n0123456789"));
  fixture.upstream_answers(answer(200, "yes"));
  CHECK(status_of(client->received()) == 200);
}

TEST_CASE("retry: a body that grows over the limit in the pause is still sent whole") {
  ProxyFixture fixture(retried());
  const auto client = fixture.client_sends(head_of_put + "01234");
  fixture.upstream_answers(answer(503, "no"));
  client->send("56789");
  fixture.world.pass(1s);
  REQUIRE(fixture.network.accepted.size() == 2);
  CHECK(fixture.upstream().received().ends_with("\r\n\r\n0123456789"));
  fixture.upstream_answers(answer(200, "yes"));
  CHECK(status_of(client->received()) == 200);
}

TEST_CASE("fallback: its upstream gets the whole body, the first upstream no more of it") {
  proxy::Config config = one_upstream();
  config.routes[0].retry.attempts = 1;
  config.upstreams.emplace("other", upstream_of("other", {"http://10.0.0.9:80"}));
  proxy::FallbackConfig fallback;
  fallback.on = conditions({"5xx"});
  fallback.upstream = "other";
  config.routes[0].fallbacks.push_back(fallback);
  ProxyFixture fixture(config);
  const auto client = fixture.client_sends(head_of_put + "01234");
  fixture.upstream_answers(answer(503, "no"));
  client->send("56");
  fixture.world.settle();
  client->send("789");
  fixture.world.settle();
  CHECK(fixture.upstream(0).received().ends_with("01234"));
  REQUIRE(fixture.network.accepted.size() == 2);
  CHECK(fixture.upstream(1).received().ends_with("\r\n\r\n0123456789"));
  fixture.upstream_answers(answer(200, "yes"));
  CHECK(status_of(client->received()) == 200);
}

TEST_CASE(
    "anything happens at any moment of both directions: an end for the client, nothing left") {
  using Move = std::function<void(ProxyFixture&, Peer&)>;
  const std::pair<const char*, Move> ends[] = {
      {"the client goes", [](ProxyFixture&, Peer& client) { client.reset(); }},
      {"the client closes", [](ProxyFixture&, Peer& client) { client.finish(); }},
      {"the client stops taking", [](ProxyFixture&, Peer& client) { client.take_at_most(0); }},
      {"the upstream resets", [](ProxyFixture& fixture, Peer&) { fixture.upstream().reset(); }},
      {"the upstream closes", [](ProxyFixture& fixture, Peer&) { fixture.upstream().finish(); }},
      {"the upstream stops taking",
       [](ProxyFixture& fixture, Peer&) { fixture.upstream().take_at_most(0); }},
      {"nonsense", [](ProxyFixture& fixture, Peer&) { fixture.upstream().send("\r\n\r\n?"); }}};
  const std::string request = head_of_put + "0123456789";
  const std::string response =
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
  for (const auto& [name, happens] : ends) {
    for (std::size_t sent = head_of_put.size() - 1; sent <= request.size(); sent += 2) {
      for (std::size_t answered = 0; answered <= response.size(); answered += 3) {
        CAPTURE(name);
        CAPTURE(sent);
        CAPTURE(answered);
        ProxyFixture fixture;
        const auto client = fixture.client_sends(request.substr(0, sent));
        if (fixture.network.accepted.empty()) continue;
        fixture.upstream_answers(response.substr(0, answered));
        happens(fixture, *client);
        fixture.world.settle();
        client->send(request.substr(sent));
        fixture.upstream_answers(response.substr(answered));
        fixture.world.pass(2min);
        CHECK(fixture.seen.exchanges.size() == 1);
        CHECK(count_of(client->received(), "HTTP/1.1 200") <= 1);
      }
    }
  }
}

}  // namespace
}  // namespace holdfast::test
