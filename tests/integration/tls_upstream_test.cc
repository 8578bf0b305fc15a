// TLS to the upstream: whom holdfast trusts, what it says of a handshake that fails, and that all
// the rest is as without TLS.
#include <atomic>
#include <thread>

#include "tests/support/certificates.h"
#include "tests/support/keyed_setup.h"
#include "tests/support/nginx.h"
#include "tests/support/suite.h"
#include "tests/support/tls_front.h"

using namespace holdfast::testing;

namespace {

const CertificateWish local{.san = "IP:127.0.0.1,DNS:localhost"};

const Authority& authority() {
  static const Authority made;
  return made;
}
const Certificate& good() {
  static const Certificate made = authority().issue(local);
  return made;
}

/// Keys of the upstream's table: `ca` and others.
std::string trusting(const std::string& more = "") {
  return "tls = { ca = \"" + authority().ca_file() + "\"" + more + " }\n";
}
/// A route that tries once to `url`, so that what is said is of one attempt.
Setup once(const std::string& url, const std::string& tls = trusting()) {
  return {.endpoints = {url}, .upstream = tls, .route = "retry = { attempts = 1 }"};
}
Setup often(const std::vector<std::string>& urls, const std::string& tls = trusting()) {
  return {.endpoints = urls, .upstream = tls + "balance = \"round_robin\"\n"};
}

void check_refused(const Holdfast& holdfast, int status, const std::string& error) {
  const Response response = holdfast.post("/charge", "money");
  CHECK(response.status == status);
  CHECK(proxy_status(response, "error") == error);
  CHECK(holdfast.metric("http_client_requests_total", {{"status", error}}) == 1);
  CHECK(holdfast.wait_access_log(1)["error"] == error);
}

// -- real servers

TEST_CASE("nginx, both versions: verified, asked for by name, its sessions taken up") {
  for (const std::string version : {"TLSv1.2", "TLSv1.3"}) {
    CAPTURE(version);
    const Nginx nginx(good(), "ssl_protocols " + version + ";");
    // Every request has a connection of its own.
    Setup setup = once("https://localhost:" + std::to_string(nginx.port()));
    setup.upstream += "pool = { max_requests = 1 }\n";
    const Holdfast holdfast(setup);
    CHECK(holdfast.get("/").body == "1 " + version + " . NONE localhost");
    for (int i = 0; i < 4; ++i) {
      CHECK(holdfast.get("/").body == "1 " + version + " r NONE localhost");
      CHECK(holdfast.post("/", "body").body == "1 " + version + " r NONE localhost");
    }
  }
}

TEST_CASE("nginx asks for a certificate: it is shown, and who has none is told") {
  const Certificate client = authority().issue({.san = "DNS:holdfast"});
  const Nginx nginx(good(),
                    "ssl_protocols TLSv1.3;\nssl_verify_client on;\nssl_client_certificate " +
                        authority().ca_file() + ";");
  const std::string shown =
      ", cert = \"" + client.cert_file() + "\", key = \"" + client.key_file() + "\"";
  CHECK(Holdfast(once(nginx.url(), trusting(shown))).get("/").body == "1 TLSv1.3 . SUCCESS ");
  // nginx says so by HTTP.
  CHECK(Holdfast(once(nginx.url())).get("/").status == 400);
}

TEST_CASE("HAProxy, which would rather speak HTTP/2, speaks what was offered") {
  const TemporaryFolder folder;
  const std::string port = std::to_string(free_port());
  folder.write("both.pem", file_text(good().cert_file()) + file_text(good().key_file()));
  const std::string file = folder.write(
      "haproxy.cfg",
      "defaults\nmode http\ntimeout connect 5s\ntimeout client 50s\ntimeout server 50s\n"
      "frontend f\nbind 127.0.0.1:" +
          port + " ssl crt " + folder.path() +
          "/both.pem alpn h2,http/1.1\n"
          "http-request return status 200 content-type text/plain lf-string "
          "\"%[ssl_fc_alpn] %[ssl_fc_is_resumed] %HV\"\n");
  ChildProcess haproxy({"/usr/sbin/haproxy", "-db", "-f", file});
  const auto listens = [&] {
    try {
      Socket::connect("127.0.0.1:" + port);
      return true;
    } catch (const WireError&) {
      return false;
    }
  };
  REQUIRE(eventually(listens));
  Setup setup = once("https://127.0.0.1:" + port);
  setup.upstream += "pool = { max_requests = 1 }\n";
  const Holdfast holdfast(setup);
  CHECK(holdfast.get("/").body == "http/1.1 0 HTTP/1.1");
  CHECK(holdfast.get("/").body == "http/1.1 1 HTTP/1.1");
}

std::vector<std::string> s_server(const std::string& port) {
  return {"/usr/bin/openssl",
          "s_server",
          "-accept",
          "127.0.0.1:" + port,
          "-cert",
          good().cert_file(),
          "-key",
          good().key_file(),
          "-www"};
}

TEST_CASE("openssl s_server, which speaks HTTP/2 only") {
  const std::string port = std::to_string(free_port());
  std::vector<std::string> command = s_server(port);
  command.insert(command.end(), {"-alpn", "h2"});
  ChildProcess server(command);
  REQUIRE(server.standard_output().wait_for("ACCEPT"));
  check_refused(Holdfast(once("https://127.0.0.1:" + port)), 502, "tls_alert_received");
}

TEST_CASE("openssl s_server, whose answer ends with its connection") {
  const std::string port = std::to_string(free_port());
  ChildProcess server(s_server(port));
  REQUIRE(server.standard_output().wait_for("ACCEPT"));
  const Holdfast holdfast(once("https://127.0.0.1:" + port));
  const Response response = holdfast.get("/");
  CHECK(response.status == 200);
  CHECK(response.complete);
  CHECK(response.body.find("</HTML>") != std::string::npos);
}

// -- whom it trusts

TEST_CASE("a certificate that is not as it must be is refused, and nothing was sent") {
  const Authority other("another authority");
  const Certificate cases[] = {
      authority().issue({.san = local.san, .first_day = -3, .last_day = -1}),  // expired
      authority().issue({.san = local.san, .first_day = 1, .last_day = 3}),    // not yet valid
      authority().issue({.san = "IP:127.0.0.2,DNS:elsewhere.test"}),           // another's name
      authority().issue({.san = "", .common_name = "127.0.0.1"}),              // none
      other.issue(local),                                                      // of nobody we know
      Authority::self_signed(local),
  };
  for (const Certificate& each : cases) {
    CAPTURE(&each - &cases[0]);
    ScriptedUpstream app(reply(200));
    TlsFront front(app.address(), each);
    check_refused(Holdfast(once(front.url())), 502, "tls_certificate_error");
    CHECK(app.request_count() == 0);
    CHECK(app.connection_count() == 0);
    // Where nobody is asked, anybody is taken.
    CHECK(Holdfast(once(front.url(), "tls = { verify = false }\n")).get("/").status == 200);
  }
}

TEST_CASE("without a tls table the machine's authorities count, and ours is none of them") {
  ScriptedUpstream app(reply(200));
  TlsFront front(app.address(), good());
  check_refused(Holdfast(once(front.url(), "")), 502, "tls_certificate_error");
  // OpenSSL's own way to say where they are.
  const Holdfast told(once(front.url(), ""),
                      {.environment = {{"SSL_CERT_FILE", authority().ca_file()}}});
  CHECK(told.get("/").status == 200);
}

TEST_CASE("server_name is what is asked for and checked, instead of the endpoint's host") {
  const Certificate named = authority().issue({.san = "DNS:pay.internal"});
  ScriptedUpstream app(reply(200));
  TlsFront front(app.address(), named);
  const Holdfast holdfast(once(front.url(), trusting(", server_name = \"pay.internal\"")));
  CHECK(holdfast.get("/").status == 200);
  CHECK(front.asked_name() == "pay.internal");
  // Who is asked is the endpoint all the same.
  CHECK(app.last_request().headers.get("Host") == front.address());
}

TEST_CASE("a chain counts in any order, and must be whole") {
  const Authority middle("an authority between", authority());
  const Certificate leaf = middle.issue(local);
  const TemporaryFolder folder;
  const auto text = [](const std::string& file) { return file_text(file); };
  const std::string straight =
      folder.write("straight.pem",
                   text(leaf.cert_file()) + text(middle.ca_file()) + text(authority().ca_file()));
  const std::string crooked = folder.write(
      "crooked.pem", text(leaf.cert_file()) + text(authority().ca_file()) + text(middle.ca_file()));
  ScriptedUpstream app(reply(200));
  for (const std::string& chain : {straight, crooked}) {
    TlsFront front(app.address(), leaf, {.chain = chain});
    CHECK(Holdfast(once(front.url())).get("/").status == 200);
  }
  TlsFront front(app.address(), leaf);
  check_refused(Holdfast(once(front.url())), 502, "tls_certificate_error");
}

// -- handshakes that fail

TEST_CASE("a server that speaks nothing newer than TLS 1.1 is refused") {
  ScriptedUpstream app(reply(200));
  TlsFront front(app.address(), good(), {.oldest = TLS1_1_VERSION, .newest = TLS1_1_VERSION});
  check_refused(Holdfast(once(front.url())), 502, "tls_alert_received");
  CHECK(app.connection_count() == 0);
}

TEST_CASE("a server that says nothing in the handshake has the time to connect, and no more") {
  ListeningSocket silent("127.0.0.1:0");
  Setup setup = once("https://" + silent.address());
  setup.route += "\ntimeout = { connect = \"300ms\" }";
  const Holdfast holdfast(setup);
  const Stopwatch watch;
  check_refused(holdfast, 504, "connection_timeout");
  CHECK(watch.elapsed() >= 300ms);
  CHECK(watch.elapsed() < 10s);
}

TEST_CASE("a server that speaks plain HTTP, or hangs up, is no server of TLS") {
  ScriptedUpstream plain(reply(200));
  plain.greet("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
  check_refused(Holdfast(once("https://" + plain.address())), 502, "tls_protocol_error");

  for (const bool by_reset : {false, true}) {
    ListeningSocket listener("127.0.0.1:0");
    const Holdfast holdfast(once("https://" + listener.address()));
    std::thread hanging_up([&] {
      auto client = listener.accept(patience);
      if (!client) return;
      client->receive(1);
      if (by_reset) client->reset();
    });
    check_refused(holdfast, 502, "tls_protocol_error");
    hanging_up.join();
  }
}

TEST_CASE("a POST goes elsewhere when the handshake fails: no byte of it was sent") {
  const Certificate expired =
      authority().issue({.san = local.san, .first_day = -3, .last_day = -1});
  ScriptedUpstream app(reply(200, "done"));
  TlsFront bad(app.address(), expired);
  TlsFront fine(app.address(), good());
  const Holdfast holdfast(often({bad.url(), fine.url()}));
  int second = 0;
  for (int i = 0; i < 4; ++i) {
    const Response response = holdfast.post("/charge", "money");
    CHECK(response.status == 200);
    CHECK(response.body == "done");
    const std::string attempts = proxy_status(response, "attempts");
    CHECK((attempts == "" || attempts == "2"));
    if (attempts == "2") ++second;
  }
  CHECK(second > 0);
  CHECK(app.request_count() == 4);
}

TEST_CASE("who needs our certificate and gets none says so in the handshake, with TLS 1.2") {
  ScriptedUpstream app(reply(200));
  TlsFront front(app.address(), good(),
                 {.client_ca = authority().root(), .newest = TLS1_2_VERSION});
  check_refused(Holdfast(once(front.url())), 502, "tls_alert_received");
}

// With TLS 1.3 our handshake is over before the server has looked at our certificate: what it says
// then comes behind the request's first byte, and nobody knows what became of that.
TEST_CASE("with TLS 1.3 a refused certificate is a broken connection: a POST is not sent again") {
  ScriptedUpstream app(reply(200));
  TlsFront front(app.address(), good(), {.client_ca = authority().root()});
  const Holdfast holdfast(often({front.url()}));
  const Response charged = holdfast.post("/charge", "money");
  CHECK(charged.status == 502);
  CHECK(proxy_status(charged, "error") == "connection_terminated");
  CHECK_FALSE(has_proxy_status(charged, "attempts"));
  CHECK(charged.body.find("certificate required") != std::string::npos);
  CHECK(front.connections() == 1);
  // What may be sent again is.
  CHECK(proxy_status(holdfast.get("/"), "attempts") == "3");
  CHECK(front.connections() == 4);
  CHECK(app.connection_count() == 0);
}

// -- the same as without TLS

TEST_CASE("a connection is used again, and one that the server has closed is not") {
  ScriptedUpstream app(reply(200, "ok"));
  TlsFront front(app.address(), good());
  const Holdfast holdfast(often({front.url()}));
  for (int i = 0; i < 5; ++i) CHECK(holdfast.post("/", "x").status == 200);
  CHECK(front.connections() == 1);
  app.close_connections();
  CHECK(holdfast.wait_metric("holdfast_upstream_connections", {{"state", "idle"}}, 0));
  for (int i = 0; i < 5; ++i) CHECK(holdfast.post("/", "x").status == 200);
  CHECK(front.connections() == 2);
  CHECK(front.resumed() == 1);
  CHECK(app.request_count() == 10);
}

TEST_CASE("a body that lasts to the end of its connection must end with close_notify") {
  const std::string head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
  ScriptedUpstream app(send_and_close(head + "all of it"));
  TlsFront polite(app.address(), good());
  const Response whole = Holdfast(once(polite.url())).get("/");
  CHECK(whole.complete);
  CHECK(whole.body == "all of it");

  TlsFront abrupt(app.address(), good(), {.says_goodbye = false});
  const Response cut = Holdfast(once(abrupt.url())).get("/");
  CHECK(cut.status == 200);
  CHECK_FALSE(cut.complete);
}

TEST_CASE("an answer whose length is known needs no close_notify") {
  ScriptedUpstream app(send_and_close("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
  TlsFront abrupt(app.address(), good(), {.says_goodbye = false});
  const Response response = Holdfast(once(abrupt.url())).get("/");
  CHECK(response.complete);
  CHECK(response.body == "ok");
}

TEST_CASE("large bodies go through both ways, unchanged") {
  ScriptedUpstream app(echo());
  TlsFront front(app.address(), good());
  const Holdfast holdfast(often({front.url()}));
  std::string body;
  for (int i = 0; body.size() < 3'000'000; ++i) body += std::to_string(i) + ",";
  const Response response = holdfast.post("/", body);
  CHECK(response.complete);
  CHECK(response.body == body);
}

TEST_CASE("a tunnel through TLS carries bytes both ways, and each side may end first") {
  ScriptedUpstream app([](Exchange& exchange) {
    exchange.send(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        "hello");
    const std::string all = exchange.reader().read_to_end();
    exchange.send("after your end: " + all);
    exchange.close();
  });
  TlsFront front(app.address(), good());
  Setup setup = once(front.url());
  setup.route += "\nupgrade = [\"websocket\"]";
  const Holdfast holdfast(setup);
  RawClient client = holdfast.client();
  client.send(request_text("GET", "/", {{"Connection", "Upgrade"}, {"Upgrade", "websocket"}}));
  REQUIRE(client.read_response().status == 101);
  CHECK(client.reader().read_exactly(5) == "hello");
  client.send("bytes");
  client.half_close();
  CHECK(client.read_to_end() == "after your end: bytes");
}

TEST_CASE("a keyed request over TLS runs once, on a connection of its own") {
  ScriptedUpstream app(reply(201, "charged"));
  TlsFront front(app.address(), good());
  Setup setup = KeyedSetup("memory").to(app);
  setup.endpoints = {front.url()};
  setup.upstream = trusting();
  const Holdfast holdfast(setup);
  for (int i = 0; i < 3; ++i) {
    const Response response = holdfast.post("/charge", "money", with_key("k1"));
    CHECK(response.status == 201);
    CHECK(response.body == "charged");
  }
  CHECK(holdfast.post("/charge", "money", with_key("k2")).status == 201);
  CHECK(app.request_count() == 2);
  CHECK(front.handshakes() == 2);
  CHECK(front.resumed() == 1);
}

// -- changes while it runs

TEST_CASE("a reload that leaves the upstream's tls alone ends no session") {
  ScriptedUpstream app(reply(200));
  TlsFront front(app.address(), good());
  Setup setup = once(front.url());
  setup.upstream += "pool = { max_requests = 1 }\n";
  Holdfast holdfast(setup);
  CHECK(holdfast.get("/").status == 200);
  CHECK(holdfast.reload(setup));
  CHECK(holdfast.get("/").status == 200);
  CHECK(front.handshakes() == 2);
  CHECK(front.resumed() == 1);
}

TEST_CASE("connections that were made under other rules serve no request under new ones") {
  const Authority other("another authority");
  ScriptedUpstream app(reply(200));
  TlsFront front(app.address(), good());
  const Setup careless = once(front.url(), "tls = { verify = false }\n");
  Holdfast holdfast(careless);
  CHECK(holdfast.get("/").status == 200);
  CHECK(holdfast.reload(once(front.url(), "tls = { ca = \"" + other.ca_file() + "\" }\n")));
  CHECK(proxy_status(holdfast.get("/"), "error") == "tls_certificate_error");
  CHECK(holdfast.reload(once(front.url())));
  CHECK(holdfast.get("/").status == 200);
  const std::size_t connections = front.connections();
  CHECK(holdfast.reload(once(front.url())));  // the same again: the connection stays
  CHECK(holdfast.get("/").status == 200);
  CHECK(front.connections() == connections);
  CHECK(holdfast.reload(once("http://" + app.address(), "")));
  CHECK(holdfast.get("/").status == 200);
}

TEST_CASE("a file that cannot be used is refused by a reload, and the old one stays") {
  ScriptedUpstream app(reply(200));
  TlsFront front(app.address(), good());
  Holdfast holdfast(once(front.url()));
  CHECK_FALSE(holdfast.reload(once(front.url(), "tls = { ca = \"nowhere.pem\" }\n")));
  CHECK(holdfast.wait_for_log("cannot use ca"));
  CHECK(holdfast.get("/").status == 200);
}

TEST_CASE("changed files are used without a signal, bad ones are told and not used") {
  const TemporaryFolder folder;
  const Certificate client = authority().issue({.san = "DNS:holdfast"});
  const std::string ca = folder.write("ca.pem", file_text(Authority("a stranger").ca_file()));
  ScriptedUpstream app(reply(200));
  TlsFront front(app.address(), good());
  const Holdfast holdfast(once(front.url(), "tls = { ca = \"" + ca + "\", cert = \"" +
                                                client.cert_file() + "\", key = \"" +
                                                client.key_file() + "\" }\n"));
  const auto stale = [&] {
    return holdfast.metric("holdfast_tls_certificate_stale", {{"upstream", "app"}});
  };
  CHECK(holdfast.metric("holdfast_tls_certificate_expiry_timestamp_seconds",
                        {{"upstream", "app"}}) > 0);
  CHECK(proxy_status(holdfast.get("/"), "error") == "tls_certificate_error");
  folder.write("ca.pem", file_text(authority().ca_file()));
  CHECK(eventually([&] { return holdfast.get("/").status == 200; }));
  folder.write("ca.pem", "nothing of the kind");
  CHECK(eventually([&] { return stale() == 1; }));
  CHECK(holdfast.wait_for_log("certificates refused, the old ones stay"));
  CHECK(holdfast.get("/").status == 200);
}

TEST_CASE("the server's certificate is rotated under load: none of 10,000 requests fails") {
  constexpr int clients = 4;
  const int requests = built_with_sanitizers ? 500 : 2500;
  constexpr int rotations = 5;
  Nginx nginx(good());
  Setup setup = often({nginx.url()});
  setup.upstream += "pool = { max_requests = 25 }\n";
  const Holdfast holdfast(setup);
  std::atomic<int> done{0};
  std::atomic<int> failed{0};
  std::atomic<int> newest{0};
  const auto ask = [&] {
    RawClient client = holdfast.client();
    for (int i = 0; i < requests; ++i) {
      // No POST: one that meets a connection which nginx closes just then may not be repeated.
      const Response response = client.get("/");
      if (response.status != 200) ++failed;
      const int generation = std::atoi(response.body.c_str());
      if (generation > newest) newest = generation;
      ++done;
    }
  };
  std::vector<std::thread> asking;
  for (int i = 0; i < clients; ++i) asking.emplace_back(ask);
  for (int i = 1; i <= rotations; ++i) {
    CHECK(eventually([&] { return done >= i * clients * requests / (rotations + 1); }));
    nginx.rotate(authority().issue(local));
  }
  for (std::thread& each : asking) each.join();
  CHECK(done == clients * requests);
  CHECK(failed == 0);
  CHECK(newest > 2);
}

}  // namespace
