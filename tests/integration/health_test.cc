// Active checks of endpoints that speak TLS, or that are unix sockets: what takes one out, what is
// said of it, and what brings it back.
#include <atomic>

#include "tests/support/certificates.h"
#include "tests/support/endpoint_states.h"
#include "tests/support/suite.h"
#include "tests/support/tls_front.h"

using namespace holdfast::testing;

namespace {

const std::string local = "IP:127.0.0.1,DNS:localhost";

const Authority& authority() {
  static const Authority made;
  return made;
}
const Certificate& good() {
  static const Certificate made = authority().issue({.san = local});
  return made;
}
const Certificate& expired() {
  static const Certificate made =
      authority().issue({.san = local, .first_day = -3, .last_day = -1});
  return made;
}

/// What is asked by a check and what is not; one may fail while the other goes on.
class App {
 public:
  explicit App(const std::string& name, std::string_view address = "127.0.0.1:0")
      : server([this, name](Exchange& exchange) { answer(exchange, name); }, BodyReading::first,
               address) {}

  std::atomic<int> health{200};
  std::atomic<int> checks{0};
  std::atomic<int> requests{0};
  ScriptedUpstream server;

 private:
  void answer(Exchange& exchange, const std::string& name) {
    const bool check = exchange.request.target == "/up";
    ++(check ? checks : requests);
    exchange.respond(check ? health.load() : 200, name);
  }
};

Setup checked(const std::vector<std::string>& urls, const std::string& more_tls = "",
              const std::string& health = "") {
  Setup setup{.endpoints = urls};
  setup.upstream = "balance = \"round_robin\"\n";
  if (urls.front().starts_with("https://")) {
    setup.upstream += "tls = { ca = \"" + authority().ca_file() + "\"" + more_tls + " }\n";
  }
  setup.more =
      "[upstream.app.outlier]\npanic_below = 0.0\n[upstream.app.health]\npath = \"/up\"\n"
      "interval = \"50ms\"\n" +
      health;
  return setup;
}

void check_unhealthy(const Holdfast& holdfast, const std::string& address, const std::string& why) {
  const std::string told = "checks fail, the last: " + why;
  CHECK(wait_state(holdfast, address, "unhealthy"));
  CHECK(endpoint_of(holdfast, address)["why"] == told);
  const auto line = holdfast.wait_for_log("\"why\":\"" + told + "\"");
  REQUIRE(line);
  CHECK(nlohmann::json::parse(*line)["message"] == "endpoint unhealthy");
}

}  // namespace

TEST_CASE("an endpoint whose certificate is wrong is out of service until it has a right one") {
  const Certificate elsewhere = authority().issue({.san = "DNS:elsewhere.test"});
  const Certificate foreign = Authority("another authority").issue({.san = local});
  for (const Certificate* wrong : {&expired(), &elsewhere, &foreign}) {
    App one("one");
    App two("two");
    TlsFront first(one.server.address(), good());
    TlsFront second(two.server.address(), *wrong);
    const Holdfast holdfast(checked({first.url(), second.url()}));
    check_unhealthy(holdfast, second.address(), "tls_certificate_error");
    CHECK(wait_endpoints(holdfast, "healthy", 1));
    for (int i = 0; i < 10; ++i) CHECK(holdfast.get("/").body == "one");
    CHECK(two.checks == 0);
    CHECK(two.requests == 0);
    second.use(good());
    CHECK(wait_state(holdfast, second.address(), "healthy"));
    CHECK(two.checks >= 2);
    CHECK(eventually([&] { return holdfast.get("/").body == "two"; }));
  }
}

TEST_CASE("a check is a whole handshake: who has sessions and a bad certificate is found out") {
  App app("app");
  TlsFront front(app.server.address(), good());
  Setup setup = checked({front.url()});
  setup.upstream += "pool = { max_requests = 1 }\n";
  const Holdfast holdfast(setup);
  CHECK(eventually([&] { return app.checks >= 3; }));
  CHECK(front.resumed() == 0);
  for (int i = 0; i < 3; ++i) CHECK(holdfast.get("/").body == "app");
  CHECK(front.resumed() == 2);
  front.use(expired());
  check_unhealthy(holdfast, front.address(), "tls_certificate_error");
  CHECK(holdfast.get("/").status == 503);
}

TEST_CASE("checks show our certificate, and ask for the name that counts") {
  const Certificate client = authority().issue({.san = "DNS:holdfast"});
  const Certificate named = authority().issue({.san = "DNS:pay.internal"});
  App app("app");
  TlsFront front(app.server.address(), named,
                 {.client_ca = authority().root(), .newest = TLS1_2_VERSION});
  const std::string name = ", server_name = \"pay.internal\"";
  const std::string shown =
      ", cert = \"" + client.cert_file() + "\", key = \"" + client.key_file() + "\"";
  Holdfast holdfast(checked({front.url()}, name));
  check_unhealthy(holdfast, front.address(), "tls_alert_received");
  CHECK(app.checks == 0);
  // A reload that mends it is checked at once, by what it says.
  CHECK(holdfast.reload(checked({front.url()}, name + shown)));
  CHECK(wait_state(holdfast, front.address(), "healthy"));
  CHECK(front.asked_name() == "pay.internal");
  CHECK(app.server.last_request().headers.get("Host") == front.address());
  CHECK(app.server.last_request().headers.get("Connection") == "close");
  CHECK(holdfast.get("/").body == "app");
  CHECK(holdfast.reload(checked({front.url()}, shown)));
  check_unhealthy(holdfast, front.address(), "tls_certificate_error");
}

TEST_CASE("one that says nothing in the handshake, or no TLS, is unhealthy by its name") {
  ListeningSocket silent("127.0.0.1:0");
  const Holdfast slow(checked({"https://" + silent.address()}, "", "timeout = \"200ms\"\n"));
  check_unhealthy(slow, silent.address(), "connection_timeout");
  ScriptedUpstream plain(reply(200));
  plain.greet("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
  const Holdfast crooked(checked({"https://" + plain.address()}));
  check_unhealthy(crooked, plain.address(), "tls_protocol_error");
}

TEST_CASE("an endpoint at a unix socket: a bad answer, no answer, no file, and back") {
  const TemporaryFolder folder;
  const std::string path = "unix:" + folder.path() + "/app";
  App good_one("tcp");
  App app("unix", path);
  const Holdfast holdfast(checked({path, good_one.server.url()}));
  CHECK(eventually([&] { return app.checks >= 2; }));
  CHECK(app.server.last_request().headers.get("Host") == "localhost");
  CHECK(wait_endpoints(holdfast, "healthy", 2));
  app.health = 503;
  check_unhealthy(holdfast, path, "503");
  const int before = app.requests;
  for (int i = 0; i < 10; ++i) CHECK(holdfast.get("/").body == "tcp");
  CHECK(app.requests == before);
  app.health = 204;
  CHECK(wait_state(holdfast, path, "healthy"));
  CHECK(eventually([&] { return holdfast.get("/").body == "unix"; }));
  app.server.refuse();
  CHECK(wait_state(holdfast, path, "unhealthy"));
  CHECK(endpoint_of(holdfast, path)["why"] == "checks fail, the last: connection_refused");
  for (int i = 0; i < 10; ++i) CHECK(holdfast.get("/").body == "tcp");
  app.server.accept_again();
  CHECK(wait_state(holdfast, path, "healthy"));
  CHECK(holdfast.metric("holdfast_upstream_health_checks_total",
                        {{"upstream", "app"}, {"result", "failed"}}) >= 6);
}
