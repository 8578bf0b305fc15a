// Forward mode as real clients use it: curl, Python and Node, with their environment changed and
// nothing else. Names are those of an /etc/hosts of the test's own.
#include "tests/support/certificates.h"
#include "tests/support/forward_setup.h"
#include "tests/support/tls_front.h"

using namespace holdfast::testing;

namespace {

/// Says what came: the method and how much of a body.
void tell(Exchange& exchange) {
  exchange.respond(
      200, exchange.request.method + " " + std::to_string(exchange.request.body.size()) + "\n");
}

const Authority& authority() {
  static const Authority made;
  return made;
}
const Certificate& identity() {
  static const Certificate made = authority().issue({.san = "DNS:app.internal"});
  return made;
}

/// Of the proxy, where that speaks TLS itself.
const Certificate& own() {
  static const Certificate made = authority().issue({.san = "DNS:localhost"});
  return made;
}

/// holdfast as the proxy of an app, and one peer of .internal that speaks HTTP, or TLS by a front.
class Bench {
 public:
  explicit Bench(bool proxy_speaks_tls = false) : front_(app.address(), identity()) {
    const std::string tls = proxy_speaks_tls ? "tls = { cert = \"" + own().cert_file() +
                                                   "\", key = \"" + own().key_file() + "\" }\n"
                                             : "";
    const Forward forward(wildcard(port_of(app.address())),
                          tls + "allow = [\"*.internal:" + port_of(front_.address()) + "\"]");
    holdfast_.emplace(forward.text);
    proxy_ =
        (proxy_speaks_tls ? "https://localhost:" : "http://localhost:") + port_of(forward.address);
  }

  std::string http(const std::string& host = "app.internal") const {
    return "http://" + host + ":" + port_of(app.address()) + "/x";
  }
  std::string https(const std::string& host = "app.internal") const {
    return "https://" + host + ":" + port_of(front_.address()) + "/x";
  }
  const TlsFront& front() const { return front_; }

  CommandResult run(const std::vector<std::string>& command) const {
    return run_command(command, {{"http_proxy", proxy_},
                                 {"HTTP_PROXY", proxy_},
                                 {"https_proxy", proxy_},
                                 {"HTTPS_PROXY", proxy_},
                                 {"no_proxy", ""},
                                 {"NO_PROXY", ""},
                                 {"CURL_CA_BUNDLE", authority().ca_file()},
                                 {"REQUESTS_CA_BUNDLE", authority().ca_file()},
                                 {"AUTHORITY", authority().ca_file()},
                                 {"NODE_PATH", "/usr/share/nodejs"}});
  }
  CommandResult python(std::vector<std::string> calls) const {
    calls.insert(calls.begin(), {"/usr/bin/python3", HOLDFAST_PEERS "/call.py"});
    return run(calls);
  }
  CommandResult node(std::vector<std::string> calls) const {
    calls.insert(calls.begin(), {"/usr/bin/env", "node", HOLDFAST_PEERS "/call.js"});
    return run(calls);
  }
  double requests(const std::string& method, const std::string& status) const {
    return holdfast_->metric("holdfast_requests_total", {{"method", method}, {"status", status}});
  }

  ScriptedUpstream app{tell};

 private:
  TlsFront front_;
  std::optional<Holdfast> holdfast_;
  std::string proxy_;
};

void check_output(const CommandResult& result, const std::string& expected) {
  CHECK_MESSAGE(result.output == expected, result.error);
  CHECK(result.exit_code == 0);
}

}  // namespace

TEST_CASE("curl: by a whole target, by a tunnel, and TLS through a tunnel") {
  if (no_machine()) return;
  const Bench bench;
  const auto curl = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"/usr/bin/curl", "--silent", "--show-error"});
    return bench.run(arguments);
  };
  check_output(curl({bench.http()}), "GET 0\n");
  check_output(curl({bench.http(), "--data", "12345"}), "POST 5\n");
  check_output(curl({"--proxytunnel", bench.http()}), "GET 0\n");
  check_output(curl({bench.https(), bench.https()}), "GET 0\nGET 0\n");
  check_output(curl({bench.https(), "--data", "12345"}), "POST 5\n");
  CHECK(bench.front().connections() == 2);
  const CommandResult other = curl({bench.https("other.internal")});
  CHECK(other.exit_code == 60);  // its certificate is another's: holdfast is not between them
  const CommandResult refused = curl({bench.https("outside.test")});
  CHECK(refused.exit_code != 0);
  CHECK_MESSAGE(refused.error.find("403") != refused.error.npos, refused.error);
}

TEST_CASE("Python's urllib, and Node's http with a whole target") {
  if (no_machine()) return;
  const Bench bench;
  check_output(bench.run({"/usr/bin/python3", "-c",
                          "import urllib.request; print(urllib.request.urlopen('" + bench.http() +
                              "').read().decode(), end='')"}),
               "GET 0\n");
  check_output(bench.run({"/usr/bin/env", "node", "-e",
                          "const u = new URL('" + bench.http() +
                              "'), p = new URL(process.env.HTTP_PROXY); require('http').get({host: "
                              "p.hostname, port: p.port, path: u.href, headers: {Host: u.host}}, "
                              "r => r.pipe(process.stdout))"}),
               "GET 0\n");
}

TEST_CASE("Python's requests: http by whole targets, https by tunnels") {
  if (no_machine()) return;
  const Bench bench;
  check_output(bench.python({"GET", bench.http(), "POST", bench.http(), "GET", bench.http()}),
               "200 GET 0\n\n200 POST 100000\n\n200 GET 0\n\n");
  CHECK(bench.requests("CONNECT", "200") == 0);
  REQUIRE(bench.app.request_count() > 0);
  CHECK(bench.app.last_request().headers.get("Host").starts_with("app.internal:"));
  check_output(bench.python({"GET", bench.https(), "POST", bench.https()}),
               "200 GET 0\n\n200 POST 100000\n\n");
  CHECK(bench.front().connections() == 1);
  CHECK(bench.front().asked_name() == "app.internal");
}

TEST_CASE("Node's fetch by undici's proxy agent: tunnels for both schemes") {
  if (no_machine()) return;
  const Bench bench;
  check_output(bench.node({"GET", bench.http(), "POST", bench.http(), "GET", bench.https(), "POST",
                           bench.https()}),
               "200 GET 0\n\n200 POST 100000\n\n200 GET 0\n\n200 POST 100000\n\n");
  CHECK(bench.front().asked_name() == "app.internal");
  REQUIRE(bench.app.request_count() > 0);
  CHECK(bench.app.last_request().headers.get("Host").starts_with("app.internal:"));
}

TEST_CASE("what no route covers is refused to them, with a problem where there can be one") {
  if (no_machine()) return;
  const Bench bench;
  const CommandResult python =
      bench.python({"GET", bench.http("outside.test"), "POST", bench.http("outside.test"), "GET",
                    bench.https("outside.test"), "GET", bench.http()});
  CAPTURE(python.output);
  CHECK(matches(python.output, "^404 .*urn:problem-type:holdfast:no-route.*\n404 .*no-route"));
  CHECK(matches(python.output, "\nrefused: .*403 Forbidden"));
  CHECK(python.output.ends_with("\n200 GET 0\n\n"));
  const CommandResult node = bench.node(
      {"GET", bench.http("outside.test"), "GET", bench.https("outside.test"), "GET", bench.http()});
  CHECK_MESSAGE(matches(node.output, "^refused: .*\nrefused: .*\n200 GET 0\n\n$"), node.output);
  CHECK(bench.requests("CONNECT", "403") == 3);
  CHECK(bench.app.request_count() == 2);
}

TEST_CASE("a proxy that speaks TLS itself: whole targets within it, and TLS within TLS") {
  if (no_machine()) return;
  const Bench bench(true);
  const std::string all = "200 GET 0\n\n200 POST 100000\n\n200 GET 0\n\n200 POST 100000\n\n";
  const std::vector<std::string> calls = {"GET", bench.http(),  "POST", bench.http(),
                                          "GET", bench.https(), "POST", bench.https()};
  check_output(bench.python(calls), all);
  check_output(bench.node(calls), all);
  check_output(bench.run({"/usr/bin/curl", "--silent", "--show-error", "--proxy-cacert",
                          authority().ca_file(), bench.http(), bench.https()}),
               "GET 0\nGET 0\n");
  CHECK(bench.front().asked_name() == "app.internal");
}
