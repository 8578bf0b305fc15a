// Random cuts, delays and faults on both sides: whatever happens, a request has one answer or a
// closed connection, and nothing is left behind. One seed is one history.
#include <doctest/doctest.h>

#include "holdfast/proxy/exchange.h"
#include "tests/support/proxy_fixture.h"

namespace holdfast::test {
namespace {

using namespace std::chrono_literals;

proxy::Config random_config(Rng& rng) {
  proxy::Config config = one_upstream({"http://10.0.0.1:80", "http://10.0.0.2:80"});
  proxy::RouteConfig& route = config.routes[0];
  config.upstreams["api"].pool.max_connections = 1 + rng.below(3);
  config.upstreams["api"].pool.idle_timeout = 100ms;
  config.upstreams["api"].breaker.consecutive_failures = 4;
  config.upstreams["api"].breaker.open_for = 200ms;
  config.server.idle_timeout = 2s;
  route.timeout.total = 1s;
  route.timeout.idle = 500ms;
  if (rng.below(2) == 0) route.timeout.per_try = 200ms;
  if (rng.below(2) == 0) route.retry.hedge_after = 50ms;
  route.retry.on = conditions({"connect", "reset", "timeout", "503"});
  route.retry.body_limit = rng.below(100);
  if (rng.below(3) == 0) {
    proxy::FallbackConfig fallback;
    fallback.on = conditions({"connect", "reset", "timeout", "5xx", "open", "overload"});
    fallback.response.body = "fallback";
    route.fallbacks.push_back(fallback);
  }
  return config;
}

/// An upstream that does well mostly, and badly in every way.
class Mischief {
 public:
  explicit Mischief(ProxyFixture& fixture) : world_(fixture.world) {
    fixture.network.on_accept = [this](Peer& peer) {
      peer.set_latency(delay());
      if (rng().below(10) == 0) peer.take_at_most(rng().below(200));
      peer.on_change = [this, &peer] { react(peer); };
      react(peer);
    };
    for (const char* address : {"10.0.0.1:80", "10.0.0.2:80"}) {
      for (int i = 0; i < 20; ++i) fixture.network.script(address, outcome());
    }
  }

 private:
  Rng& rng() { return world_.rng(); }
  Duration delay() { return std::chrono::milliseconds(rng().below(4) == 0 ? rng().below(300) : 0); }

  ConnectOutcome outcome() {
    switch (rng().below(8)) {
      case 0:
        return {ConnectOutcome::Kind::fail};
      case 1:
        return {ConnectOutcome::Kind::silence};
      default:
        return {ConnectOutcome::Kind::accept, delay()};
    }
  }

  void react(Peer& peer) {
    if (!peer.open() || peer.take().empty()) return;
    static const std::vector<std::string> answers = {
        answer(200, "good"),
        answer(503, "bad"),
        answer(200, std::string(3000, 'x')),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ngood\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\nuntil the close",
        "HTTP/1.1 103 Early\r\n\r\n" + answer(200),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        "nonsense"};
    std::string text = answers[rng().below(answers.size())];
    const bool cut = rng().below(5) == 0;
    if (cut) text.resize(rng().below(text.size()));
    peer.send_in_pieces(text, 1 + rng().below(40));
    if (!cut && rng().below(3) != 0) return;
    if (rng().below(2) == 0) {
      peer.finish();
    } else {
      peer.reset();
    }
  }

  World& world_;
};

/// What a client got must be whole answers, one for each request at most, or end with a cut.
void check_answers(const Peer& client, int requests) {
  const std::string& text = client.received();
  const int finals =
      count_of(text, "HTTP/1.1 ") - count_of(text, "HTTP/1.1 103") - count_of(text, "HTTP/1.1 100");
  CHECK(finals <= requests);
  if (!text.empty()) CHECK(text.starts_with("HTTP/1.1 "));
  if (finals < requests) CHECK_FALSE(client.open());
}

void run_history(std::uint64_t seed) {
  CAPTURE(seed);
  Rng choice(seed);
  ProxyFixture fixture(random_config(choice), seed);
  Mischief mischief(fixture);
  std::vector<std::pair<std::shared_ptr<Peer>, int>> clients;
  for (std::uint64_t i = 0; i <= choice.below(3); ++i) {
    auto client = fixture.client();
    const int requests = 1 + static_cast<int>(choice.below(2));
    if (choice.below(6) == 0) client->take_at_most(choice.below(2000));
    for (int request_index = 0; request_index < requests; ++request_index) {
      const std::string bytes =
          choice.below(2) == 0
              ? get()
              : request(choice.below(2) == 0 ? "PUT" : "POST", std::string(choice.below(300), 'b'));
      client->send_in_pieces(bytes, 1 + choice.below(60));
    }
    if (choice.below(8) == 0) client->finish();
    if (choice.below(8) == 0) client->set_latency(std::chrono::milliseconds(choice.below(800)));
    if (choice.below(6) == 0) client->reset();
    fixture.world.pass(std::chrono::milliseconds(choice.below(100)));
    clients.emplace_back(client, requests);
  }
  fixture.world.pass(40s);  // whatever waits has a deadline before this
  for (const auto& [client, requests] : clients) check_answers(*client, requests);
  CHECK(fixture.shared().active_connections == 0);
  CHECK(fixture.shared().idle_connections == 0);
  CHECK(fixture.clients->size() == 0);
}

TEST_CASE("two thousand histories of bad luck") {
  for (std::uint64_t seed = 1; seed <= 2000; ++seed) run_history(seed);
}

TEST_CASE("one seed is one history") {
  const auto run = [] {
    Rng choice(7);
    ProxyFixture fixture(random_config(choice), 7);
    Mischief mischief(fixture);
    auto client = fixture.client_sends(get());
    fixture.world.pass(5s);
    return client->received();
  };
  CHECK(run() == run());
}

}  // namespace
}  // namespace holdfast::test
