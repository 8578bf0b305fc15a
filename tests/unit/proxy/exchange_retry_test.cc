// Contract §2, Retries: what is sent again, when, and what never is.
#include <doctest/doctest.h>

#include "holdfast/proxy/exchange.h"
#include "tests/support/proxy_fixture.h"

namespace holdfast::test {
namespace {

using namespace std::chrono_literals;

/// Every connection to an upstream answers each request with the next of these, then with 200.
class Answers {
 public:
  Answers(ProxyFixture& fixture, std::vector<std::string> answers) : answers_(std::move(answers)) {
    fixture.network.on_accept = [this](Peer& peer) {
      peer.on_change = [this, &peer] { react(peer); };
      react(peer);
    };
  }

  std::vector<std::string> requests;

 private:
  void react(Peer& peer) {
    const std::string text = peer.take();
    if (text.empty()) return;
    requests.push_back(text);
    const std::size_t index = requests.size() - 1;
    const std::string next = index < answers_.size() ? answers_[index] : answer(200, "good");
    if (next == "close") {
      peer.finish();
    } else if (next == "reset") {
      peer.reset();
    } else {
      peer.send(next);
    }
  }

  std::vector<std::string> answers_;
};

struct Case {
  const char* method;
  std::string first;
  int status;
  int attempts;
};

TEST_CASE("which failures are sent again, by method") {
  const std::string broken = "HTTP/1.1 nonsense\r\n\r\n";
  for (const Case& c : {
           Case{"GET", answer(502), 200, 2},
           Case{"GET", answer(503), 200, 2},
           Case{"GET", answer(504), 200, 2},
           Case{"GET", answer(500), 500, 1},
           Case{"GET", answer(429), 429, 1},
           Case{"GET", "close", 200, 2},
           Case{"GET", "reset", 200, 2},
           Case{"GET", broken, 200, 2},
           Case{"HEAD", answer(503), 200, 2},
           Case{"DELETE", answer(503), 200, 2},
           Case{"PUT", answer(503), 200, 2},
           Case{"PUT", "reset", 200, 2},
           Case{"POST", answer(503), 503, 1},
           Case{"POST", "close", 502, 1},
           Case{"POST", "reset", 502, 1},
           Case{"PATCH", answer(503), 503, 1},
           Case{"PURGE", answer(503), 503, 1},
       }) {
    CAPTURE(c.method);
    CAPTURE(c.first);
    ProxyFixture fixture;
    Answers answers(fixture, {c.first});
    auto client = fixture.client_sends(request(c.method, "body"));
    fixture.world.pass(1s);
    CHECK(status_of(client->received()) == c.status);
    CHECK(fixture.last().attempts == c.attempts);
    CHECK(answers.requests.size() == static_cast<std::size_t>(c.attempts));
    CHECK(count_of(client->received(), "HTTP/1.1 ") == 1);
    if (c.attempts == 1 && c.status >= 502 && c.method == std::string("POST")) {
      CHECK(fixture.seen.denied == std::vector<std::string>{"method"});
    }
  }
}

TEST_CASE("a POST whose connect failed was never sent, so it is sent again") {
  ProxyFixture fixture;
  fixture.network.script("10.0.0.1:80", {ConnectOutcome::Kind::fail});
  Answers answers(fixture, {});
  auto client = fixture.client_sends(post("once"));
  fixture.world.pass(1s);
  CHECK(status_of(client->received()) == 200);
  CHECK(fixture.seen.attempts == std::vector<std::string>{"connection_refused", "200"});
  REQUIRE(answers.requests.size() == 1);
  CHECK(body_of(answers.requests[0]) == "once");
}

TEST_CASE("the answer of a retry says how many attempts it took") {
  ProxyFixture fixture;
  Answers answers(fixture, {answer(503), answer(503)});
  auto client = fixture.client_sends(get());
  fixture.world.pass(1s);
  CHECK(field_of(client->received(), "Proxy-Status") == "holdfast; attempts=3");
  CHECK(fixture.seen.retries == std::vector<std::string>{"503", "503"});
}

TEST_CASE("when all attempts are used up, the last answer is passed on") {
  ProxyFixture fixture;
  Answers answers(fixture, {answer(502, "one"), answer(503, "two"), answer(504, "three")});
  auto client = fixture.client_sends(get());
  fixture.world.pass(1s);
  CHECK(status_of(client->received()) == 504);
  CHECK(body_of(client->received()) == "three");
  CHECK(fixture.seen.denied.empty());
}

TEST_CASE("the pauses: exponential, to the nanosecond, in virtual time") {
  ProxyFixture fixture;
  Answers answers(fixture, {answer(503), answer(503)});
  auto client = fixture.client_sends(get());
  CHECK(answers.requests.size() == 1);
  fixture.world.pass(25ms - Duration(1));
  CHECK(answers.requests.size() == 1);
  fixture.world.pass(Duration(1));
  CHECK(answers.requests.size() == 2);
  fixture.world.pass(50ms - Duration(1));
  CHECK(answers.requests.size() == 2);
  fixture.world.pass(Duration(1));
  CHECK(answers.requests.size() == 3);
  CHECK(status_of(client->received()) == 200);
}

TEST_CASE("Retry-After is obeyed up to retry_after_max, else the answer is passed on") {
  struct Row {
    const char* value;
    Duration pause;  // zero: passed on
  };
  for (const Row& row : {Row{"2", 2s}, Row{"10", 10s}, Row{"11", 0s},
                         // The virtual clock starts at 01:00:00.
                         Row{"Fri, 02 Jan 2026 01:00:04 GMT", 4s}, Row{"soon", 25ms}}) {
    CAPTURE(row.value);
    ProxyFixture fixture;
    Answers answers(fixture, {answer(503, "", "Retry-After: " + std::string(row.value) + "\r\n")});
    auto client = fixture.client_sends(get());
    if (row.pause == Duration::zero()) {
      CHECK(status_of(client->received()) == 503);
      CHECK(field_of(client->received(), "Retry-After") == row.value);
      continue;
    }
    fixture.world.pass(row.pause - Duration(1));
    CHECK(answers.requests.size() == 1);
    fixture.world.pass(Duration(1));
    CHECK(answers.requests.size() == 2);
    CHECK(status_of(client->received()) == 200);
  }
}

TEST_CASE("a wait that would not end before total is not begun") {
  proxy::Config config = one_upstream();
  config.routes[0].timeout.total = 2s;
  ProxyFixture fixture(config);
  Answers answers(fixture, {answer(503, "last word", "Retry-After: 2\r\n")});
  auto client = fixture.client_sends(get());
  CHECK(body_of(client->received()) == "last word");
  CHECK(fixture.seen.denied == std::vector<std::string>{"deadline"});
}

TEST_CASE("the budget bounds retries, and the last answer stands") {
  proxy::Config config = one_upstream();
  config.routes[0].retry.budget = {0.5, 0, 10s};
  config.routes[0].retry.attempts = 2;
  ProxyFixture fixture(config);
  Answers answers(fixture, std::vector<std::string>(20, answer(503)));
  for (int i = 0; i < 4; ++i) {
    auto client = fixture.client_sends(get());
    fixture.world.pass(100ms);
    CHECK(status_of(client->received()) == 503);
  }
  CHECK(fixture.seen.retries.size() == 2);
  CHECK(fixture.seen.denied == std::vector<std::string>{"budget", "budget"});
}

TEST_CASE("a kept body is sent again byte for byte, however it came") {
  for (const std::size_t piece : {1, 3, 1000}) {
    CAPTURE(piece);
    ProxyFixture fixture;
    Answers answers(fixture, {});
    // The first connection takes the whole request before it fails.
    auto client = fixture.client();
    fixture.network.on_accept = nullptr;
    client->send_in_pieces(
        "PUT / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
        "5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n",
        piece);
    fixture.world.settle();
    const std::string first = fixture.upstream().received();
    fixture.upstream().finish();
    fixture.world.pass(1s);
    REQUIRE(fixture.network.accepted.size() == 2);
    const std::string second = fixture.upstream().received();
    CHECK(body_of(second) == "b\r\nhello world\r\n0\r\n\r\n");
    CHECK(first.substr(0, first.find("\r\n\r\n")) == second.substr(0, second.find("\r\n\r\n")));
    fixture.upstream_answers(answer(200));
    CHECK(status_of(client->received()) == 200);
  }
}

TEST_CASE("a body beyond body_limit is sent once; before it was sent, it may go elsewhere") {
  proxy::Config config = one_upstream();
  config.routes[0].retry.body_limit = 10;
  SUBCASE("sent: denied") {
    ProxyFixture fixture(config);
    Answers answers(fixture, {answer(503)});
    auto client = fixture.client_sends(request("PUT", "eleven byte"));
    fixture.world.pass(1s);
    CHECK(status_of(client->received()) == 503);
    CHECK(fixture.seen.denied == std::vector<std::string>{"body"});
  }
  SUBCASE("exactly the limit: kept") {
    ProxyFixture fixture(config);
    Answers answers(fixture, {answer(503)});
    auto client = fixture.client_sends(request("PUT", "ten bytes!"));
    fixture.world.pass(1s);
    CHECK(status_of(client->received()) == 200);
  }
  SUBCASE("not sent") {
    ProxyFixture fixture(config);
    fixture.network.script("10.0.0.1:80", {ConnectOutcome::Kind::fail});
    Answers answers(fixture, {});
    auto client = fixture.client_sends(request("PUT", "eleven byte"));
    fixture.world.pass(1s);
    CHECK(status_of(client->received()) == 200);
    CHECK(body_of(answers.requests.at(0)) == "eleven byte");
  }
}

TEST_CASE("a retry prefers another endpoint, however much weight the first has") {
  proxy::Config config = one_upstream({"http://10.0.0.1:80", "http://10.0.0.2:80"});
  config.upstreams["api"].endpoints[0].weight = 100;
  ProxyFixture fixture(config);
  Answers answers(fixture, {"reset", "reset"});
  auto client = fixture.client_sends(get());
  fixture.world.pass(1s);
  CHECK(status_of(client->received()) == 200);
  REQUIRE(fixture.network.connects.size() == 3);
  CHECK(fixture.network.connects[0] == "10.0.0.1:80");
  CHECK(fixture.network.connects[1] == "10.0.0.2:80");
}

TEST_CASE("no retry once a byte of the response went to the client") {
  ProxyFixture fixture;
  auto client = fixture.client_sends(get());
  fixture.upstream_answers("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe");
  fixture.upstream().finish();
  fixture.world.pass(1s);
  CHECK(client->was_reset());
  CHECK(body_of(client->received()) == "he");
  CHECK(fixture.network.connects.size() == 1);
  CHECK(fixture.last().error == "http_response_incomplete");
  CHECK(fixture.last().status == 200);
}

TEST_CASE("a response that is broken before a byte of it went out is a 502") {
  ProxyFixture fixture;
  auto client = fixture.client_sends(get());
  fixture.upstream_answers("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n");
  CHECK(status_of(client->received()) == 502);
  CHECK(fixture.last().error == "http_protocol_error");
  CHECK(client->open());
}

// ------------------------------------------------------------------------------- stale connections

struct Warm {
  Warm() : client(fixture.client_sends(get())) {
    fixture.upstream_answers(answer(200));
    client->take();
  }
  ProxyFixture fixture;
  std::shared_ptr<Peer> client;
};

TEST_CASE("a pooled connection that closes under a request is replaced once, uncounted") {
  for (const bool reset : {false, true}) {
    CAPTURE(reset);
    Warm warm;
    warm.client->send(get());
    warm.fixture.world.settle();
    if (reset) {
      warm.fixture.upstream(0).reset();
    } else {
      warm.fixture.upstream(0).finish();
    }
    warm.fixture.world.settle();
    REQUIRE(warm.fixture.network.accepted.size() == 2);
    warm.fixture.upstream_answers(answer(200, "fresh"));
    CHECK(body_of(warm.client->take()) == "fresh");
    CHECK(warm.fixture.last().attempts == 1);
    CHECK(warm.fixture.seen.retries.empty());
  }
}

TEST_CASE("the replacement is not replaced: it is a failed attempt like any other") {
  Warm warm;
  warm.client->send(get());
  warm.fixture.world.settle();
  warm.fixture.upstream(0).finish();
  warm.fixture.world.settle();
  warm.fixture.upstream(1).finish();
  warm.fixture.world.settle();
  CHECK(warm.fixture.seen.attempts.back() == "connection_terminated");
  warm.fixture.world.pass(25ms);
  warm.fixture.upstream_answers(answer(200));
  CHECK(warm.fixture.last().attempts == 2);
}

TEST_CASE("after a byte of the answer, a pooled connection is not replaced") {
  Warm warm;
  warm.client->send(get());
  warm.fixture.world.settle();
  warm.fixture.upstream(0).send("H");
  warm.fixture.upstream(0).finish();
  warm.fixture.world.settle();
  CHECK(warm.fixture.seen.attempts.back() == "http_response_incomplete");
}

TEST_CASE("a POST never goes out twice: not over a pooled connection that closes under it") {
  Warm warm;
  SUBCASE("the close was there before: it takes a new connection") {
    warm.fixture.upstream(0).finish();
    warm.client->send(post("x"));
    // The client's bytes are looked at first.
    warm.fixture.world.settle();
    warm.fixture.upstream_answers(answer(200));
    CHECK(status_of(warm.client->take()) == 200);
    CHECK(warm.fixture.upstream(0).take().find("POST") == std::string::npos);
  }
  SUBCASE("the close comes after: 502") {
    warm.client->send(post("x"));
    warm.fixture.world.settle();
    warm.fixture.upstream(0).finish();
    warm.fixture.world.pass(1s);
    CHECK(status_of(warm.client->take()) == 502);
    CHECK(warm.fixture.network.accepted.size() == 1);
  }
}

}  // namespace
}  // namespace holdfast::test
