// Connections to https endpoints: the handshake as a part of connecting, and what lies idle.
#include <doctest/doctest.h>

#include <functional>

#include "holdfast/proxy/upstream_connection.h"
#include "tests/support/certificates.h"
#include "tests/support/keyed_fixture.h"
#include "tests/support/proxy_fixture.h"
#include "tests/support/tls_peer.h"

namespace holdfast::test {
namespace {

using namespace std::chrono_literals;
using net::TlsClientContext;
using net::TlsClientCredentials;
using testing::Certificate;

const testing::Authority& authority() {
  static const testing::Authority made;
  return made;
}
const Certificate& good() {
  static const Certificate made = authority().issue({.san = "IP:10.0.0.1,IP:10.0.0.2"});
  return made;
}
const Certificate& expired() {
  static const Certificate made =
      authority().issue({.san = "IP:10.0.0.1,IP:10.0.0.2", .first_day = -3, .last_day = -1});
  return made;
}
std::shared_ptr<const TlsClientContext> make_context() {
  net::TlsClientOptions options;
  options.ca = authority().ca_file();
  auto made = TlsClientContext::make(options, proxy::upstream_protocol);
  REQUIRE(made);
  return std::move(*made);
}

proxy::Config over_tls(const std::vector<std::string>& urls,
                       const std::shared_ptr<TlsClientCredentials>& credentials) {
  proxy::Config config = one_upstream(urls);
  for (auto& endpoint : config.upstreams.at("api").endpoints) endpoint.credentials = credentials;
  config.upstreams.at("api").balance = policy::BalanceKind::round_robin;
  return config;
}

/// A worker's proxy whose upstreams speak TLS.
struct Fixture {
  explicit Fixture(const std::vector<std::string>& urls = {"https://10.0.0.1:443"})
      : proxied(over_tls(urls, credentials)) {
    proxied.network.on_accept = [this](Peer& peer) {
      TlsPeerOptions with = options;
      if (!servers.empty()) with.like = servers.front().get();
      const Certificate& shown = identity(peer.address);
      servers.push_back(std::make_unique<TlsPeer>(peer.shared_from_this(), shown, with));
      servers.back()->pause(false);  // what has come already
    };
  }
  /// Whatever was asked of any server, in the order of connections.
  std::string asked() const {
    std::string all;
    for (const auto& server : servers) all += server->received();
    return all;
  }
  void answer_all() {
    for (std::size_t i = 0; i < servers.size(); ++i) {
      answered.resize(servers.size());
      const std::string& received = servers[i]->received();
      if (received.size() == answered[i]) continue;
      answered[i] = received.size();
      servers[i]->send(answer(200, "ok"));
    }
    proxied.world.settle();
  }
  std::string exchange(const std::string& request) {
    const auto client = proxied.client_sends(request);
    answer_all();
    answer_all();
    proxied.world.pass(1s);  // the pause before another attempt
    answer_all();
    return client->received();
  }
  int idle() { return static_cast<int>(proxied.shared().idle_connections); }

  std::shared_ptr<TlsClientCredentials> credentials =
      std::make_shared<TlsClientCredentials>(make_context());
  std::function<const Certificate&(const std::string&)> identity =
      [](const std::string&) -> const Certificate& { return good(); };
  TlsPeerOptions options;
  std::vector<std::unique_ptr<TlsPeer>> servers;
  std::vector<std::size_t> answered;
  ProxyFixture proxied;  // first to go: it closes connections, which servers hear
};

TEST_CASE("requests go over one connection, shaken hands once") {
  Fixture f;
  for (int i = 0; i < 3; ++i) CHECK(status_of(f.exchange(get())) == 200);
  CHECK(status_of(f.exchange(post("money"))) == 200);
  CHECK(f.servers.size() == 1);
  CHECK(count_of(f.asked(), "GET / HTTP/1.1") == 3);
  CHECK(f.idle() == 1);
}

TEST_CASE("a handshake that hangs ends with the time to connect, and its place comes back") {
  Fixture f;
  proxy::Config config = over_tls({"https://10.0.0.1:443"}, f.credentials);
  config.routes[0].retry.attempts = 1;
  f.proxied.load(config);
  f.proxied.network.on_accept = nullptr;  // nobody speaks there
  const auto client = f.proxied.client_sends(post("money"));
  f.proxied.world.pass(1s - Duration(1));
  CHECK(client->received().empty());
  f.proxied.world.pass(Duration(1));
  CHECK(status_of(client->received()) == 504);
  CHECK(f.proxied.seen.attempts == std::vector<std::string>{"connection_timeout"});
  CHECK(f.proxied.upstream().was_reset() == false);
  CHECK_FALSE(f.proxied.upstream().open());
}

TEST_CASE("a POST goes elsewhere after any failure of a handshake") {
  const std::vector<std::function<void(TlsPeer&)>> failures{
      [](TlsPeer&) {},  // its certificate
      [](TlsPeer& server) { server.peer().reset(); },
      [](TlsPeer& server) { server.peer().finish(); },
      [](TlsPeer& server) { server.peer().send("HTTP/1.1 400 Bad Request\r\n\r\n"); },
  };
  for (const auto& fail : failures) {
    CAPTURE(&fail - failures.data());
    Fixture f({"https://10.0.0.1:443", "https://10.0.0.2:443"});
    f.identity = [](const std::string& address) -> const Certificate& {
      return address == "10.0.0.1:443" ? expired() : good();
    };
    const auto serve = f.proxied.network.on_accept;
    f.proxied.network.on_accept = [&](Peer& peer) {
      serve(peer);
      if (peer.address == "10.0.0.1:443") fail(*f.servers.back());
    };
    for (int i = 0; i < 2; ++i) CHECK(status_of(f.exchange(post("money"))) == 200);
    CHECK(count_of(f.asked(), "POST / HTTP/1.1") == 2);
    REQUIRE(f.proxied.seen.retries.size() >= 1);
    CHECK(f.proxied.seen.retries[0] == "connect");
  }
}

TEST_CASE("what has begun keeps its context, what begins takes the newest and resumes nothing") {
  Fixture f;
  CHECK(status_of(f.exchange(get())) == 200);
  f.credentials->replace(make_context());
  CHECK(status_of(f.exchange(get())) == 200);
  CHECK(f.servers.size() == 1);
  f.servers[0]->close_notify();
  f.proxied.world.settle();
  CHECK(status_of(f.exchange(get())) == 200);
  REQUIRE(f.servers.size() == 2);
  CHECK_FALSE(f.servers[1]->resumed());
  f.servers[1]->close_notify();
  f.proxied.world.settle();
  CHECK(status_of(f.exchange(get())) == 200);
  REQUIRE(f.servers.size() == 3);
  CHECK(f.servers[2]->resumed());
}

TEST_CASE("an idle connection ends with its server, and a ticket is no end") {
  const std::vector<std::pair<bool, std::function<void(TlsPeer&)>>> news{
      {true, [](TlsPeer& server) { server.send_ticket(); }},
      {true, [](TlsPeer& server) { server.update_keys(); }},
      {false, [](TlsPeer& server) { server.close_notify(); }},
      {false, [](TlsPeer& server) { server.peer().finish(); }},
      {false, [](TlsPeer& server) { server.peer().reset(); }},
      {false, [](TlsPeer& server) { server.send("unasked"); }},
      {false, [](TlsPeer& server) { server.peer().send("no record"); }},
  };
  for (const auto& [stays, tell] : news) {
    CAPTURE(&tell - &news[0].second);
    Fixture f;
    CHECK(status_of(f.exchange(get())) == 200);
    REQUIRE(f.idle() == 1);
    tell(*f.servers[0]);
    f.proxied.world.settle();
    CHECK(f.idle() == (stays ? 1 : 0));
    // A POST, which must not be sent twice, has a connection that lives.
    CHECK(status_of(f.exchange(post("money"))) == 200);
    CHECK(f.servers.size() == (stays ? 1 : 2));
    CHECK(count_of(f.asked(), "POST / HTTP/1.1") == 1);
  }
}

TEST_CASE("an end that nobody has looked at yet keeps a POST off, and is replaced under a GET") {
  Fixture f;
  CHECK(status_of(f.exchange(get())) == 200);
  f.servers[0]->close_notify();  // it is on its way
  CHECK(status_of(f.exchange(post("money"))) == 200);
  CHECK(f.servers.size() == 2);
  CHECK(f.servers[0]->received().find("POST") == std::string::npos);

  f.servers[1]->pause(true);
  const auto client = f.proxied.client_sends(get());
  f.servers[1]->close_notify();
  f.servers[1]->peer().finish();
  f.proxied.world.settle();
  f.answer_all();
  CHECK(status_of(client->received()) == 200);
  CHECK(f.servers.size() == 3);
  CHECK(f.proxied.seen.retries.empty());
}

TEST_CASE("a refusal behind the request's first byte is not taken for one before it") {
  Fixture f;
  f.options.client_ca = authority().root();
  const auto client = f.proxied.client_sends(post("money"));
  f.proxied.world.pass(1s);
  CHECK(status_of(client->received()) == 502);
  CHECK(field_of(client->received(), "Proxy-Status").find("connection_terminated") !=
        std::string::npos);
  CHECK(body_of(client->received()).find("certificate required") != std::string::npos);
  CHECK(f.servers.size() == 1);
  CHECK(f.proxied.seen.retries.empty());
}

// The claim of a key is renewed between the handshake and the first byte: a refusal may come then.
TEST_CASE("a refusal that comes before the first byte lets a keyed request go elsewhere") {
  const auto credentials = std::make_shared<TlsClientCredentials>(make_context());
  proxy::Config config = over_tls({"https://10.0.0.1:443", "https://10.0.0.2:443"}, credentials);
  config.routes[0].idempotency = keyed_route().routes[0].idempotency;
  config.routes[0].idempotency.lease = 1s;
  std::vector<std::unique_ptr<TlsPeer>> servers;
  KeyedFixture f(config);
  f.network.script("10.0.0.1:443", {.delay = 600ms});
  f.store.script(policy::Command::renew, ScriptedStore::late(1s));  // of the lease, as always
  f.store.script(policy::Command::renew, ScriptedStore::late(50ms));
  f.network.on_accept = [&](Peer& peer) {
    TlsPeerOptions options;
    if (servers.empty()) options.client_ca = authority().root();
    servers.push_back(std::make_unique<TlsPeer>(peer.shared_from_this(), good(), options));
    servers.back()->pause(false);
  };
  const auto client = f.client_sends(keyed_post());
  f.world.pass(2s);
  REQUIRE(servers.size() == 2);
  CHECK(f.seen.attempts == std::vector<std::string>{"tls_alert_received"});
  CHECK(f.seen.retries == std::vector<std::string>{"connect"});
  CHECK(servers[0]->received().empty());
  CHECK(count_of(servers[1]->received(), "POST / HTTP/1.1") == 1);
  servers[1]->send(answer(201, "charged"));
  f.world.settle();
  CHECK(status_of(client->received()) == 201);
  f.finish_keys();
}

TEST_CASE("a reload under other options makes another pool; under the same ones it is kept") {
  Fixture f;
  CHECK(status_of(f.exchange(get())) == 200);
  f.proxied.load(
      over_tls({"https://10.0.0.1:443"}, std::make_shared<TlsClientCredentials>(make_context())));
  CHECK(status_of(f.exchange(get())) == 200);
  CHECK(f.servers.size() == 1);

  net::TlsClientOptions careless;
  careless.verify = false;
  auto made = TlsClientContext::make(careless, proxy::upstream_protocol);
  REQUIRE(made);
  f.proxied.load(
      over_tls({"https://10.0.0.1:443"}, std::make_shared<TlsClientCredentials>(std::move(*made))));
  f.proxied.world.settle();
  CHECK(f.servers[0]->notified());
  CHECK(status_of(f.exchange(get())) == 200);
  CHECK(f.servers.size() == 2);
}

// -- two addresses of a name, of which the second connects first and cannot be spoken to

const Certificate& good_named() {
  static const Certificate made = authority().issue({.san = "DNS:api.test"});
  return made;
}
const Certificate& expired_named() {
  static const Certificate made =
      authority().issue({.san = "DNS:api.test", .first_day = -3, .last_day = -1});
  return made;
}

const std::string slow_address = "[2001:db8::1]:443";
const std::string bad_address = "10.0.0.1:443";
constexpr int never_ejected = 1000;

struct RacedFixture : Fixture {
  RacedFixture() : Fixture({"https://api.test:443"}) {
    identity = [](const std::string& address) -> const Certificate& {
      return address == bad_address ? expired_named() : good_named();
    };
    proxied.network.script_name("api.test",
                                {.addresses = {*net::Address::from_ip("2001:db8::1", 443),
                                               *net::Address::from_ip("10.0.0.1", 443)}});
    proxied.network.on_connect = [this](const std::string& address) {
      return ConnectOutcome{.delay = address == slow_address ? slowness : Duration(0)};
    };
    load(never_ejected);
  }
  void load(int ejected_by) {
    proxy::Config config = over_tls({"https://api.test:443"}, credentials);
    config.routes[0].retry.attempts = 1;
    config.upstreams.at("api").breaker.enabled = false;
    config.upstreams.at("api").outlier.consecutive_failures = ejected_by;
    proxied.load(config);
  }
  Duration slowness = 400ms;
};

TEST_CASE("who wins a race and fails in its handshake bears the blame, not who was slower") {
  for (const std::string error :
       {"tls_certificate_error", "tls_protocol_error", "connection_timeout"}) {
    CAPTURE(error);
    RacedFixture f;
    f.load(2);
    const auto serve = f.proxied.network.on_accept;
    f.proxied.network.on_accept = [&](Peer& peer) {
      if (peer.address == slow_address || error == "tls_certificate_error") return serve(peer);
      if (error == "tls_protocol_error") peer.reset();  // else it says nothing
    };
    // In turn: one of the two begins with the slow address, and is overtaken after 250 ms.
    for (int i = 0; i < 2; ++i) {
      CHECK(status_of(f.exchange(get())) >= 502);
      CHECK(f.proxied.last().error == error);
      CHECK(f.proxied.last().endpoint == "api.test:443 " + bad_address);
    }
    CHECK(f.proxied.network.connects.size() == 3);
    // Two failures eject, and both were its own.
    for (const proxy::EndpointReport& report :
         f.proxied.shared().endpoints().report(f.proxied.world.now())) {
      const bool bad = report.key.ends_with(bad_address);
      CHECK(report.state == (bad ? proxy::EndpointState::ejected : proxy::EndpointState::healthy));
    }
    for (int i = 0; i < 4; ++i) {
      CHECK(status_of(f.exchange(get())) == 200);
      CHECK(f.proxied.last().endpoint == "api.test:443 " + slow_address);
    }
  }
}

TEST_CASE("who was overtaken is not left alone for one that could not be used") {
  RacedFixture f;
  for (int i = 0; i < 2; ++i) CHECK(status_of(f.exchange(get())) == 502);
  REQUIRE(f.proxied.network.connects.size() == 3);
  f.slowness = 0ms;
  int answered = 0;
  for (int i = 0; i < 4; ++i) answered += status_of(f.exchange(get())) == 200 ? 1 : 0;
  CHECK(answered == 2);
}

TEST_CASE("who was overtaken by one that can be used is left alone for a while") {
  RacedFixture f;
  f.identity = [](const std::string&) -> const Certificate& { return good_named(); };
  for (int i = 0; i < 4; ++i) {
    CHECK(status_of(f.exchange(get())) == 200);
    CHECK(f.proxied.last().endpoint == "api.test:443 " + bad_address);
  }
}

TEST_CASE("a client that leaves within the handshake is told of with the address spoken to") {
  RacedFixture f;
  f.proxied.network.on_accept = nullptr;  // nobody speaks there
  for (int i = 0; i < 2; ++i) {
    const auto client = f.proxied.client_sends(get());
    f.proxied.world.pass(300ms);
    client->reset();
    f.proxied.world.settle();
    CHECK(f.proxied.last().endpoint == "api.test:443 " + bad_address);
  }
  CHECK(f.proxied.network.connects.size() == 3);
  CHECK(f.proxied.seen.attempts == std::vector<std::string>{"cancelled", "cancelled"});
}

}  // namespace
}  // namespace holdfast::test
