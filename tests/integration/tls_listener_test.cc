// TLS between clients and the real binary: certificates both ways, sessions, ends and cuts, slow
// and foreign clients, and certificates that change.
#include <algorithm>
#include <atomic>
#include <list>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/certificates.h"
#include "tests/support/suite.h"
#include "tests/support/tls_relay.h"

using namespace holdfast::testing;

namespace {

const std::string localhost = "DNS:localhost,IP:127.0.0.1";

std::string tls_table(const Certificate& identity, const std::string& more = "") {
  return "tls = { cert = \"" + identity.cert_file() + "\", key = \"" + identity.key_file() + "\"" +
         more + " }\n";
}

std::string listener(const std::string& name, const std::string& address, const std::string& tls) {
  return "[[listener]]\nname = \"" + name + "\"\nlisten = \"" + address + "\"\n" + tls;
}

/// holdfast with TLS at one address, and a relay for clients that speak none.
class Bench {
 public:
  explicit Bench(Setup setup = {}, const std::string& more_tls = "", bool with_relay = true)
      : app(reply(200, "hello")), address_("127.0.0.1:" + std::to_string(free_port())) {
    if (setup.endpoints.empty()) setup.endpoints = {app.url()};
    setup.more += listener("main", address_, tls_table(identity, more_tls));
    holdfast.emplace(setup);
    if (with_relay) relay.emplace(address_, TlsRelay::Options{authority.ca_file(), "localhost"});
  }

  std::string url(const std::string& path = "/") const {
    return "https://localhost:" + port() + path;
  }
  std::string port() const { return address_.substr(address_.find(':') + 1); }
  const std::string& address() const { return address_; }
  /// curl, with what it says of the transfer.
  CommandResult curl(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), {"/usr/bin/curl", "--silent", "--show-error", "--max-time",
                                         "10", "--cacert", authority.ca_file()});
    return run_command(arguments);
  }
  /// `openssl s_client`, given `input`.
  std::string s_client(const std::string& options, const std::string& input = "") const {
    const std::string command = "(printf '" + input + "'; sleep 0.3) | openssl s_client -connect " +
                                address_ + " -CAfile " + authority.ca_file() + " " + options +
                                " 2>&1";
    return run_command({"/bin/bash", "-c", command}).output;
  }
  double failed_handshakes() const {
    return holdfast->metric("holdfast_tls_handshakes_failed_total");
  }

  const Authority authority;
  const Certificate identity = authority.issue({.san = localhost});
  ScriptedUpstream app;
  std::optional<Holdfast> holdfast;
  std::optional<TlsRelay> relay;

 private:
  std::string address_;
};

/// As Bench, where clients need a certificate.
class MutualBench : public Bench {
 public:
  explicit MutualBench(Setup setup = {})
      : Bench(std::move(setup), ", client_ca = \"" + clients().ca_file() + "\"", false) {}

  static const Authority& clients() {
    static const Authority authority("the clients' authority");
    return authority;
  }
  CommandResult curl_as(const Certificate& client, std::vector<std::string> arguments) const {
    arguments.insert(arguments.end(), {"--cert", client.cert_file(), "--key", client.key_file()});
    return curl(std::move(arguments));
  }
};

Certificate client_certificate(const std::string& san = "URI:spiffe://test/alice,DNS:alice.test") {
  return MutualBench::clients().issue({.san = san, .common_name = "alice"});
}

/// What curl has written: lines are captured with their end.
std::string body_of(const CommandResult& result) {
  return result.output.substr(0, result.output.find_last_not_of('\n') + 1);
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("curl speaks TLS 1.2 and 1.3 to it, and nothing older; a connection serves many") {
  Bench bench;
  for (const std::string version : {"1.2", "1.3"}) {
    const CommandResult result =
        bench.curl({"--tls-max", version, "--tlsv" + version, bench.url(), bench.url("/again"),
                    "-w", " %{http_code} %{http_version} %{num_connects}\n"});
    CHECK(result.output == "hello 200 1.1 1\nhello 200 1.1 0\n");
  }
  CHECK(bench.curl({"--tls-max", "1.1", bench.url()}).exit_code != 0);
  const Request seen = bench.app.last_request();
  CHECK(seen.headers.get("X-Forwarded-Proto") == "https");
  CHECK(seen.headers.get("X-Forwarded-For") == "127.0.0.1");
  CHECK_FALSE(seen.headers.has("X-Forwarded-Client-Cert"));
}

TEST_CASE("HTTP/1 is the one protocol of ALPN, and a session can be taken up again") {
  Bench bench;
  CHECK(contains(bench.s_client("-alpn h2,http/1.1"), "ALPN protocol: http/1.1"));
  CHECK(contains(bench.s_client("-alpn h2"), "no application protocol"));
  for (const std::string version : {"-tls1_2", "-tls1_3"}) {
    const TemporaryFolder folder;
    const std::string file = folder.path() + "/session";
    const std::string ask = "GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n";
    CHECK(contains(bench.s_client(version + " -sess_out " + file, ask), "New, TLSv1."));
    CHECK(contains(bench.s_client(version + " -sess_in " + file, ask), "Reused, TLSv1."));
  }
  CHECK(contains(bench.s_client("-tls1_2 -cipher AES128-SHA"), "handshake failure"));
}

TEST_CASE("a reload that leaves the certificate alone ends no session") {
  Bench bench;
  const TemporaryFolder folder;
  const std::string file = folder.path() + "/session";
  const std::string ask = "GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n";
  CHECK(contains(bench.s_client("-sess_out " + file, ask), "New, TLSv1."));
  bench.holdfast->signal(SIGHUP);
  REQUIRE(bench.holdfast->wait_for_log("configuration reloaded"));
  CHECK(contains(bench.s_client("-sess_in " + file, ask), "Reused, TLSv1."));
}

TEST_CASE("Python and Node speak to it") {
  Bench bench;
  const std::string python =
      "import http.client, ssl; c = http.client.HTTPSConnection('localhost', " + bench.port() +
      ", context=ssl.create_default_context(cafile='" + bench.authority.ca_file() +
      "'))\n"
      "for _ in range(3):\n"
      "  c.request('POST', '/', b'x' * 100000); r = c.getresponse(); print(r.status, r.read())";
  const CommandResult from_python = run_command({"/usr/bin/python3", "-c", python});
  CHECK_MESSAGE(from_python.output == "200 b'hello'\n200 b'hello'\n200 b'hello'\n",
                from_python.error);
  const std::string node = "require('https').get({host: 'localhost', port: " + bench.port() +
                           ", ca: require('fs').readFileSync('" + bench.authority.ca_file() +
                           "')}, r => r.on('data', d => console.log(r.statusCode, String(d))))";
  const CommandResult from_node = run_command({"/usr/bin/env", "node", "-e", node});
  CHECK_MESSAGE(from_node.output == "200 hello\n", from_node.error);
}

TEST_CASE("a client without the right certificate is not let in, and counted") {
  MutualBench bench;
  const Certificate expired = MutualBench::clients().issue({.first_day = -9, .last_day = -1});
  const Certificate foreign = Authority("someone else").issue({});
  CHECK(bench.curl({bench.url()}).exit_code != 0);
  CHECK(bench.curl_as(expired, {bench.url()}).exit_code != 0);
  CHECK(bench.curl_as(foreign, {bench.url()}).exit_code != 0);
  const Certificate forged = Authority("the clients' authority").issue({});
  CHECK(bench.curl_as(forged, {bench.url()}).exit_code != 0);
  CHECK(bench.app.request_count() == 0);
  CHECK(bench.holdfast->metric("holdfast_tls_handshakes_failed_total",
                               {{"listener", "main"}, {"reason", "tls_certificate_error"}}) == 4);
  CHECK(bench.failed_handshakes() == 4);
  CHECK(body_of(bench.curl_as(client_certificate(), {bench.url()})) == "hello");
}

TEST_CASE("the client's certificate is passed on, and what the client says of it is not") {
  MutualBench bench;
  const Certificate alice = client_certificate();
  const std::string field = "X-Forwarded-Client-Cert";
  CHECK(body_of(bench.curl_as(alice, {bench.url(), "-H", field + ": Hash=0", "-H",
                                      "x-forwarded-CLIENT-cert: a"})) == "hello");
  const std::string told = bench.app.last_request().headers.get(field);
  CHECK(told.size() > 64);
  CHECK(told.starts_with("Hash="));
  CHECK(contains(told, ";Subject=\"CN=alice\";URI=spiffe://test/alice;DNS=alice.test"));
  CHECK_FALSE(contains(told, "Hash=0,"));

  SUBCASE("also where there is no TLS") {
    const Holdfast plain(Setup{.endpoints = {bench.app.url()}});
    CHECK(plain.get("/", {{field, "forged"}}).status == 200);
    CHECK_FALSE(bench.app.last_request().headers.has(field));
  }
  SUBCASE("a trusted proxy's stays, with ours behind it") {
    MutualBench trusting({.endpoints = {}, .server = "trusted_proxies = [\"127.0.0.0/8\"]"});
    CHECK(body_of(trusting.curl_as(alice, {trusting.url(), "-H", field + ": Hash=first"})) ==
          "hello");
    CHECK(trusting.app.last_request().headers.get(field).starts_with("Hash=first, Hash="));
  }
}

TEST_CASE("a resumed session has the client it began with") {
  MutualBench bench;
  const Certificate alice = client_certificate();
  const TemporaryFolder folder;
  const std::string as_alice = "-cert " + alice.cert_file() + " -key " + alice.key_file();
  const std::string ask = "GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n";
  for (const std::string version : {"-tls1_2", "-tls1_3"}) {
    const std::string file = folder.path() + "/session" + version;
    bench.s_client(version + " " + as_alice + " -sess_out " + file, ask);
    CHECK(contains(bench.s_client(version + " -sess_in " + file, ask), "Reused, TLSv1."));
    CHECK(contains(bench.app.last_request().headers.get("X-Forwarded-Client-Cert"), "CN=alice"));
  }
}

TEST_CASE("keys are told apart by the clients' certificates") {
  Setup setup;
  setup.route = "[route.idempotency]\nenabled = true\nscope = [\"client_cert\"]\n";
  setup.more = "[store]\nkind = \"memory\"\n";
  MutualBench bench(setup);
  int runs = 0;
  bench.app.answer([&](Exchange& exchange) { exchange.respond(201, std::to_string(++runs)); });
  const auto post_as = [&](const Certificate& client) {
    return body_of(
        bench.curl_as(client, {bench.url(), "-d", "order", "-H", "Idempotency-Key: one"}));
  };
  CHECK(post_as(client_certificate()) == "1");
  CHECK(post_as(client_certificate()) == "1");  // renewed: another certificate, the same client
  CHECK(post_as(client_certificate("URI:spiffe://test/bob")) == "2");
  CHECK(post_as(client_certificate("DNS:alice.test")) == "3");  // by its subject
}

TEST_CASE("a scope of certificates needs a listener that asks for them") {
  Setup setup;
  setup.endpoints = {"http://127.0.0.1:1"};
  setup.route = "[route.idempotency]\nenabled = true\nscope = [\"client_cert\"]\n";
  Holdfast holdfast(setup, {.wait_until_ready = false});
  holdfast.ended_as_expected();
  CHECK(holdfast.process().wait_for_exit() == 1);
  CHECK(
      contains(holdfast.process().standard_error().text(),
               "scope \"client_cert\" needs a \"client_ca\" in the \"tls\" of listener \"main\""));
}

TEST_CASE("what is no TLS, or does not go on, ends in time and disturbs nobody") {
  Bench bench({.endpoints = {}, .server = "header_timeout = \"300ms\"\nworkers = 1"});
  for (const std::string method : {"GET", "POST", "DELETE", "CONNECT", "X"}) {
    CAPTURE(method);
    RawClient plain(bench.address());
    plain.send(method + " / HTTP/1.1\r\nHost: a\r\n\r\n");
    const Response told = plain.read_response();
    CHECK(told.status == 400);
    CHECK(told.headers.get("Cache-Control") == "no-store");
    CHECK(told.body.find("TLS") != std::string::npos);
    CHECK(plain.wait_for_close() != Fault::timeout);
  }

  std::list<RawClient> idle;
  for (int n = 0; n < 1000; ++n) {
    idle.emplace_back(bench.address());
    if (n % 2 == 0) idle.back().send("\x16\x03\x01\x02");  // the first bytes of a handshake
  }
  CHECK(fetch(bench.relay->address(), "/").status == 200);
  for (RawClient& client : idle) CHECK(client.wait_for_close() != Fault::timeout);
  CHECK(bench.holdfast->wait_metric("holdfast_tls_handshakes_failed_total",
                                    {{"listener", "main"}, {"reason", "connection_timeout"}},
                                    1000));
  if (!built_with_sanitizers) {
    CHECK(bench.holdfast->process().resident_bytes() < std::size_t{64} * 1024 * 1024);
  }
  CHECK(fetch(bench.relay->address(), "/").status == 200);
}

TEST_CASE("an answer that is cut is seen to be cut, and one that ends is not") {
  Bench bench;
  bench.app.answer(send_and_close("HTTP/1.1 200 OK\r\n\r\nuntil the end"));
  const CommandResult whole = bench.curl({"--http1.0", bench.url()});
  CHECK_MESSAGE(body_of(whole) == "until the end", whole.error);
  bench.app.answer(send_and_reset("HTTP/1.1 200 OK\r\n\r\nuntil the"));
  const CommandResult cut = bench.curl({"--http1.0", bench.url()});
  CHECK(cut.exit_code != 0);
}

TEST_CASE("large bodies, pipelined requests and 100 (Continue) go through it as without it") {
  Bench bench;
  bench.app.answer(echo());
  const std::string large(3'000'000, 'x');
  const Response echoed = fetch(bench.relay->address(), "/", {}, "POST", large);
  CHECK(echoed.status == 200);
  CHECK((echoed.body == large));
  const TemporaryFolder folder;
  const std::string file = folder.write("large", large);
  const CommandResult posted =
      bench.curl({bench.url(), "-H", "Expect: 100-continue", "--data-binary", "@" + file});
  CHECK(body_of(posted) == large);
  RawClient client(bench.relay->address());
  client.send(
      "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n1"
      "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n2");
  CHECK(client.read_response().body == "1");
  CHECK(client.read_response().body == "2");
}

TEST_CASE("a drain ends idle connections with close_notify, and lets requests and handshakes end") {
  Bench bench;
  Gate gate;
  RawClient idle(bench.relay->address());
  CHECK(idle.get("/").status == 200);
  bench.app.answer(after(gate, reply(200, "late")));
  RawClient busy(bench.relay->address());
  busy.send(request_text("GET", "/"));
  CHECK(bench.app.wait_for_requests(2));
  bench.holdfast->signal(SIGTERM);
  CHECK(idle.wait_for_close() == Fault::end);  // a cut would be a reset, see TlsRelay
  gate.open();
  const Response last = busy.read_response();
  CHECK(last.body == "late");
  CHECK(last.headers.get("Connection") == "close");
  CHECK(busy.wait_for_close() == Fault::end);
  CHECK(bench.holdfast->process().wait_for_exit() == 0);
}

TEST_CASE("HAProxy is its client, with a certificate") {
  MutualBench bench;
  const Certificate alice = client_certificate();
  const TemporaryFolder folder;
  const int port = free_port();
  folder.write("client.pem", file_text(alice.cert_file()) + file_text(alice.key_file()));
  const std::string file = folder.write(
      "haproxy.cfg",
      "defaults\n  mode http\n  timeout connect 1s\n  timeout client 5s\n  timeout server 5s\n"
      "listen main\n  bind 127.0.0.1:" +
          std::to_string(port) + "\n  server one " + bench.address() +
          " ssl verify required ca-file " + bench.authority.ca_file() +
          " sni str(localhost) verifyhost localhost crt " + folder.path() + "/client.pem\n");
  ChildProcess haproxy({"/usr/sbin/haproxy", "-db", "-f", file});
  const std::string address = "127.0.0.1:" + std::to_string(port);
  CHECK(eventually([&] {
    try {
      return fetch(address, "/").body == "hello";
    } catch (const WireError&) {
      return false;
    }
  }));
  CHECK(contains(bench.app.last_request().headers.get("X-Forwarded-Client-Cert"), "CN=alice"));
}

namespace {

/// A certificate and its key in files that change under the same names.
class ChangingFiles {
 public:
  explicit ChangingFiles(const Certificate& first) { use(first); }

  void use(const Certificate& next) const {
    folder_.write("cert.pem", file_text(next.cert_file()));
    use_key(next);
  }
  void use_key(const Certificate& next) const {
    folder_.write("key.pem", file_text(next.key_file()));
  }
  std::string table() const {
    return "tls = { cert = \"" + folder_.path() + "/cert.pem\", key = \"" + folder_.path() +
           "/key.pem\" }\n";
  }

 private:
  TemporaryFolder folder_;
};

constexpr Milliseconds seen_within{20'000};  // it is looked for every five seconds

}  // namespace

TEST_CASE("a certificate that changes under load loses no request: 10,000 of them") {
  const Authority authority;
  const ChangingFiles files(authority.issue({.san = localhost}));
  ScriptedUpstream app(reply(200, "hello"));
  app.remember(100);
  const std::string address = "127.0.0.1:" + std::to_string(free_port());
  Setup setup{.endpoints = {app.url()}};
  setup.more = listener("main", address, files.table());
  Holdfast holdfast(setup);
  const TlsRelay relay(address, {authority.ca_file(), "localhost"});
  std::atomic<int> good = 0;
  std::atomic<int> bad = 0;
  constexpr int clients = 4;
  constexpr int each = 2500;
  std::vector<std::thread> threads;
  for (int n = 0; n < clients; ++n) {
    threads.emplace_back([&] {
      std::optional<RawClient> client;
      for (int request = 0; request < each; ++request) {
        try {
          if (!client || request % 20 == 0) client.emplace(relay.address());
          ++(client->get("/").body == "hello" ? good : bad);
        } catch (const WireError&) {
          ++bad;
          client.reset();
        }
      }
    });
  }
  int rotations = 0;
  while (good + bad < clients * each) {
    files.use(authority.issue({.san = localhost, .last_day = 2 + rotations}));
    holdfast.signal(SIGHUP);
    const int before = good + bad;
    if (!eventually([&] { return good + bad >= std::min(before + 1000, clients * each); })) break;
    ++rotations;
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(bad == 0);
  CHECK(good == clients * each);
  CHECK(rotations >= 5);
  CHECK(relay.failures() == 0);
}

TEST_CASE("changed files are used without a signal, bad ones are told and not used") {
  const Authority authority;
  const Certificate second = authority.issue({.san = localhost, .last_day = 5});
  const ChangingFiles files(authority.issue({.san = localhost}));
  ScriptedUpstream app(reply(200, "hello"));
  const std::string address = "127.0.0.1:" + std::to_string(free_port());
  const Labels main = {{"listener", "main"}};
  const auto setup_with = [&](const ChangingFiles& shown, const std::string& at) {
    Setup setup{.endpoints = {app.url()}};
    setup.more = listener("main", at, shown.table());
    return setup;
  };
  const auto end_of = [&](const Holdfast& one) {
    return one.metric("holdfast_tls_certificate_expiry_timestamp_seconds", main);
  };
  const double second_end = end_of(Holdfast(setup_with(ChangingFiles(second), "127.0.0.1:0")));
  Holdfast holdfast(setup_with(files, address));
  const TlsRelay relay(address, {authority.ca_file(), "localhost"});
  const auto end = [&] { return end_of(holdfast); };
  const double first_end = end();
  CHECK(first_end > 1e9);
  CHECK(second_end > first_end + 3 * 86400);  // four days, but they were made one after the other
  CHECK(holdfast.metric("holdfast_tls_certificate_stale", main) == 0);

  files.use_key(second);  // beside the first one's certificate
  CHECK(holdfast.wait_for_log("certificates refused, the old ones stay", seen_within));
  CHECK(holdfast.wait_metric("holdfast_tls_certificate_stale", main, 1));
  CHECK(end() == first_end);
  CHECK(fetch(relay.address(), "/").status == 200);

  files.use(second);
  CHECK(holdfast.wait_for_log("certificates renewed", seen_within));
  CHECK(holdfast.wait_metric("holdfast_tls_certificate_stale", main, 0));
  CHECK(end() == second_end);
  CHECK(fetch(relay.address(), "/").status == 200);
}

TEST_CASE("a reload gives a listener TLS, takes it away, and refuses a bad certificate") {
  const Authority authority;
  const Certificate good = authority.issue({.san = localhost});
  ScriptedUpstream app(reply(200, "hello"));
  const std::string address = "127.0.0.1:" + std::to_string(free_port());
  const auto with = [&](const std::string& tls) {
    Setup setup{.endpoints = {app.url()}};
    setup.more = listener("main", address, tls);
    return setup;
  };
  Holdfast holdfast(with(""));
  const TlsRelay relay(address, {authority.ca_file(), "localhost"});
  RawClient plain(address);
  CHECK(plain.get("/").status == 200);
  CHECK(holdfast.reload(with(tls_table(good))));
  CHECK(plain.get("/").status == 200);  // it goes on as it began
  CHECK(fetch(relay.address(), "/").status == 200);
  CHECK_FALSE(holdfast.reload(with("tls = { cert = \"/nowhere\", key = \"/nowhere\" }\n")));
  CHECK(fetch(relay.address(), "/").status == 200);
  CHECK(holdfast.reload(with("")));
  CHECK(fetch(address, "/").status == 200);
}

TEST_CASE("who came in before certificates were asked for is not taken for one who has shown one") {
  const Authority authority;
  const Certificate identity = authority.issue({.san = localhost});
  ScriptedUpstream app(reply(200, "hello"));
  const std::string address = "127.0.0.1:" + std::to_string(free_port());
  const auto with = [&](const std::string& name, const std::string& more) {
    Setup setup{.endpoints = {app.url()}};
    setup.route = "match = { listener = \"" + name + "\" }\n";
    setup.more = listener(name, address, tls_table(identity, more));
    return setup;
  };
  Holdfast holdfast(with("open", ""));
  const TlsRelay relay(address, {authority.ca_file(), "localhost"});
  RawClient early(relay.address());
  CHECK(early.get("/").status == 200);
  const std::string ask = ", client_ca = \"" + authority.ca_file() + "\"";
  CHECK(holdfast.reload(with("closed", ask)));
  CHECK(early.get("/").status == 404);
  CHECK(app.request_count() == 1);
}

TEST_CASE("a key that its client's certificate scopes needs one: who came in without has none") {
  const Authority authority;
  const Certificate identity = authority.issue({.san = localhost});
  ScriptedUpstream app(reply(201, "made"));
  const std::string address = "127.0.0.1:" + std::to_string(free_port());
  const auto with = [&](const std::string& more_tls, const std::string& route) {
    Setup setup{.endpoints = {app.url()}, .route = route};
    setup.more =
        "[store]\nkind = \"memory\"\n" + listener("main", address, tls_table(identity, more_tls));
    return setup;
  };
  const std::string keyed =
      "[route.idempotency]\nenabled = true\nscope = [\"client_cert\"]\nscope_missing = "
      "\"anonymous\"\n";
  Holdfast holdfast(with("", ""));
  const TlsRelay relay(address, {authority.ca_file(), "localhost"});
  RawClient early(relay.address());
  CHECK(early.post("/", "order", {{"Idempotency-Key", "one"}}).status == 201);
  CHECK(holdfast.reload(with(", client_ca = \"" + authority.ca_file() + "\"", keyed)));
  const Response refused = early.post("/", "order", {{"Idempotency-Key", "one"}});
  check_problem(refused, 400, "scope-missing");
  CHECK(nlohmann::json::parse(refused.body)["code"] == "scope-missing");
  CHECK(app.request_count() == 1);
  // Without a key it is a request as any other.
  CHECK(early.post("/", "order").status == 201);
  // And with a certificate the key counts.
  const Certificate alice = authority.issue({.san = "URI:spiffe://test/alice"});
  const TlsRelay as_alice(address, {authority.ca_file(), "localhost", &alice});
  for (int i = 0; i < 2; ++i) {
    CHECK(fetch(as_alice.address(), "/", {{"Idempotency-Key", "one"}}, "POST", "order").status ==
          201);
  }
  CHECK(app.request_count() == 3);
}
