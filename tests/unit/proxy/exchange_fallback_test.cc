// Contract §2, Fallback.
#include <doctest/doctest.h>

#include "holdfast/proxy/exchange.h"
#include "tests/support/proxy_fixture.h"

namespace holdfast::test {
namespace {

using namespace std::chrono_literals;

proxy::FallbackConfig static_fallback(std::initializer_list<std::string_view> on,
                                      std::string body = "fallback") {
  proxy::FallbackConfig fallback;
  fallback.on = conditions(on);
  fallback.response.headers = {{"Content-Type", "text/plain"}};
  fallback.response.body = std::move(body);
  return fallback;
}

proxy::Config with(std::vector<proxy::FallbackConfig> fallbacks) {
  proxy::Config config = one_upstream();
  config.routes[0].retry.attempts = 1;
  config.routes[0].fallbacks = std::move(fallbacks);
  return config;
}

/// A second upstream at 10.0.0.9, tried first on any failure; then a static answer.
proxy::Config with_backup() {
  proxy::FallbackConfig backup;
  backup.on = conditions({"connect", "reset", "5xx", "timeout", "open"});
  backup.upstream = "backup";
  proxy::Config config =
      with({backup, static_fallback({"connect", "reset", "5xx", "timeout", "open"})});
  config.upstreams.emplace("backup", upstream_of("backup", {"http://10.0.0.9:80"}));
  return config;
}

TEST_CASE("a static answer for each reason that is listed, and what led to it") {
  struct Row {
    const char* on;
    const char* happens;
    const char* cause;
    const char* reason;
  };
  for (const Row& row : {Row{"5xx", "500", "received-status=500", "500"},
                         Row{"404", "404", "received-status=404", "404"},
                         Row{"connect", "refuse", "error=connection_refused", "connect"},
                         Row{"timeout", "silence", "error=http_response_timeout", "timeout"},
                         Row{"reset", "close", "error=connection_terminated", "reset"}}) {
    CAPTURE(row.happens);
    if (std::string(row.on) == "404" && !policy::ConditionSet().add("404")) continue;
    ProxyFixture fixture(with({static_fallback({row.on})}));
    const std::string happens = row.happens;
    if (happens == "refuse") {
      fixture.network.script("10.0.0.1:80", {ConnectOutcome::Kind::fail});
    }
    auto client = fixture.client_sends(get());
    if (happens == "close") {
      fixture.upstream().finish();
    } else if (happens != "refuse" && happens != "silence") {
      fixture.upstream().send(answer(std::stoi(happens), "secret"));
    }
    fixture.world.pass(15s);
    const std::string text = client->received();
    CHECK(status_of(text) == 200);
    CHECK(body_of(text) == "fallback");
    CHECK(field_of(text, "Content-Type") == "text/plain");
    CHECK(field_of(text, "Proxy-Status") == "holdfast; " + std::string(row.cause) + "; fallback");
    CHECK(fixture.seen.fallbacks == std::vector<std::string>{row.reason});
    CHECK(fixture.last().fallback);
  }
}

TEST_CASE("a reason that is not listed is answered as it is") {
  ProxyFixture fixture(with({static_fallback({"timeout"})}));
  auto client = fixture.client_sends(get());
  fixture.upstream_answers(answer(500, "own"));
  CHECK(status_of(client->received()) == 500);
  CHECK(body_of(client->received()) == "own");
  CHECK_FALSE(fixture.last().fallback);
  CHECK(fixture.seen.fallbacks.empty());
}

TEST_CASE("the first that is listed wins, and an open breaker is a reason") {
  proxy::Config config = with({static_fallback({"reset"}, "one"), static_fallback({"open"}, "two"),
                               static_fallback({"open"}, "three")});
  config.upstreams["api"].breaker.consecutive_failures = 1;
  ProxyFixture fixture(config);
  auto first = fixture.client_sends(get());
  fixture.upstream_answers(answer(500));
  auto second = fixture.client_sends(get());
  CHECK(body_of(second->received()) == "two");
  CHECK(field_of(second->received(), "Retry-After") == "-");
  CHECK(fixture.last().error == "destination_unavailable");
}

TEST_CASE("the fallback comes after the retries, and tells how many there were") {
  proxy::Config config = with({static_fallback({"5xx"})});
  config.routes[0].retry.attempts = 3;
  ProxyFixture fixture(config);
  auto client = fixture.client_sends(get());
  for (int i = 0; i < 3; ++i) {
    fixture.upstream_answers(answer(503));
    fixture.world.pass(50ms);
  }
  CHECK(field_of(client->received(), "Proxy-Status") ==
        "holdfast; received-status=503; fallback; attempts=3");
}

TEST_CASE("an answer that breaks before a byte went out has a fallback too") {
  ProxyFixture fixture(with({static_fallback({"reset"})}));
  auto client = fixture.client_sends(get());
  fixture.upstream_answers("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n");
  CHECK(body_of(client->received()) == "fallback");
}

TEST_CASE("an answer that is not delivered leaves its connection usable") {
  ProxyFixture fixture(with({static_fallback({"5xx"})}));
  auto client = fixture.client_sends(get());
  fixture.upstream_answers(answer(500, "dropped"));
  CHECK(fixture.shared().idle_connections == 1);
  CHECK(client->received().find("dropped") == std::string::npos);
}

TEST_CASE("another upstream answers, under its own name, with its own breaker") {
  proxy::Config config = with_backup();
  config.upstreams["backup"].host_header = proxy::HostHeader::upstream;
  ProxyFixture fixture(config);
  auto client = fixture.client_sends(get());
  fixture.upstream_answers(answer(500));
  CHECK(fixture.network.connects.back() == "10.0.0.9:80");
  CHECK(field_of(fixture.upstream().received(), "Host") == "10.0.0.9");
  fixture.upstream_answers(answer(200, "from the backup"));
  CHECK(body_of(client->received()) == "from the backup");
  CHECK(field_of(client->received(), "Proxy-Status") ==
        "holdfast; received-status=500; fallback; attempts=2");
  CHECK(fixture.shared("backup").idle_connections == 1);
}

TEST_CASE("the other upstream fails: the next fallback answers, for the first reason") {
  ProxyFixture fixture(with_backup());
  fixture.network.script("10.0.0.9:80", {ConnectOutcome::Kind::fail});
  auto client = fixture.client_sends(get());
  fixture.upstream().finish();
  fixture.world.settle();
  CHECK(body_of(client->received()) == "fallback");
  CHECK(field_of(client->received(), "Proxy-Status").find("error=connection_terminated") !=
        std::string::npos);
  CHECK(fixture.last().error == "connection_terminated");
}

TEST_CASE("the other upstream's own failure has the fallbacks after it, and only those") {
  proxy::Config config = with_backup();
  SUBCASE("a status that a later one lists: that one answers, and the connection stays usable") {
    ProxyFixture fixture(config);
    auto client = fixture.client_sends(get());
    fixture.upstream_answers(answer(500));
    fixture.upstream_answers(answer(503, "the backup is ill too"));
    CHECK(body_of(client->received()) == "fallback");
    CHECK(field_of(client->received(), "Proxy-Status") ==
          "holdfast; received-status=500; fallback; attempts=2");
    CHECK(fixture.shared("backup").idle_connections == 1);
    CHECK(fixture.seen.fallbacks == std::vector<std::string>{"500"});
  }
  SUBCASE("what lists it does not list what came first, and would not answer: it is passed on") {
    config.routes[0].fallbacks.back().on = conditions({"503"});
    ProxyFixture fixture(config);
    auto client = fixture.client_sends(get());
    fixture.upstream_answers(answer(500));
    fixture.upstream_answers(answer(503, "the backup is ill too"));
    CHECK(status_of(client->received()) == 503);
    CHECK(body_of(client->received()) == "the backup is ill too");
  }
  SUBCASE("nothing after it lists it: it is passed on") {
    config.routes[0].fallbacks.pop_back();
    ProxyFixture fixture(config);
    auto client = fixture.client_sends(get());
    fixture.upstream_answers(answer(500));
    fixture.upstream_answers(answer(503, "the backup is ill too"));
    CHECK(status_of(client->received()) == 503);
    CHECK(body_of(client->received()) == "the backup is ill too");
  }
}

TEST_CASE("a POST goes to another upstream only if no attempt of it was sent") {
  ProxyFixture fixture(with_backup());
  SUBCASE("sent: the static one answers") {
    auto client = fixture.client_sends(post("once"));
    fixture.upstream_answers(answer(500));
    CHECK(body_of(client->received()) == "fallback");
    CHECK(fixture.network.connects.size() == 1);
  }
  SUBCASE("not sent: it goes, whole") {
    fixture.network.script("10.0.0.1:80", {ConnectOutcome::Kind::fail});
    auto client = fixture.client_sends(post("once"));
    CHECK(body_of(fixture.upstream().received()) == "once");
    fixture.upstream_answers(answer(200, "taken"));
    CHECK(body_of(client->received()) == "taken");
  }
  SUBCASE("not sent, and still coming: it is waited for") {
    fixture.network.script("10.0.0.1:80", {ConnectOutcome::Kind::fail});
    auto client = fixture.client_sends("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\non");
    CHECK(fixture.network.connects.size() == 1);
    client->send("ce");
    fixture.world.settle();
    CHECK(body_of(fixture.upstream().received()) == "once");
    fixture.upstream_answers(answer(200, "taken"));
    CHECK(body_of(client->received()) == "taken");
  }
}

TEST_CASE("a body that was not kept whole goes to no other upstream") {
  proxy::Config config = with_backup();
  config.routes[0].retry.body_limit = 3;
  ProxyFixture fixture(config);
  auto client = fixture.client_sends(request("PUT", "four"));
  fixture.upstream_answers(answer(500));
  CHECK(body_of(client->received()) == "fallback");
  CHECK(fixture.network.connects.size() == 1);
}

TEST_CASE("without time left there is no other upstream") {
  ProxyFixture fixture(with_backup());
  auto client = fixture.client_sends(get());
  fixture.world.pass(15s);
  CHECK(body_of(client->received()) == "fallback");
  CHECK(fixture.network.connects.size() == 1);
}

TEST_CASE("a client that leaves while the other upstream works") {
  ProxyFixture fixture(with_backup());
  auto client = fixture.client_sends(get());
  fixture.upstream_answers(answer(500));
  client->reset();
  fixture.world.settle();
  CHECK(fixture.upstream().closed());
}

}  // namespace
}  // namespace holdfast::test
