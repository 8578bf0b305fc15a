#include "holdfast/app/explain.h"

#include <doctest/doctest.h>

#include <string>

#include "tests/unit/app/config_support.h"

namespace holdfast::app {
namespace {

const std::string document = R"([[listener]]
name = "main"
[[listener]]
name = "second"
listen = "127.0.0.1:9000"
[defaults]
timeout = { total = "3s" }
idempotency = { ttl = "48h" }
[upstream.app]
endpoints = ["http://127.0.0.1:3000"]
breaker = { min_requests = 5 }
[[route]]
name = "gold"
match = { host = "pay.local", path_prefix = "/v1", headers = { "X-Tier" = "gold" } }
upstream = "app"
retry.backoff.base = "5ms"
[[route.fallback]]
body = "sorry"
[[route]]
name = "second-listener"
match = { listener = "second" }
respond = { status = 204 }
[[route]]
name = "rest"
match = { methods = ["GET"] }
upstream = "app"
)";

std::string explained(const ExplainRequest& request) {
  const auto text = explain(load(document), "f.toml", request);
  REQUIRE(text.has_value());
  return *text;
}

bool contains(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return true;
  MESSAGE(text);
  return false;
}

/// True if a line says `key = value` and was set where `origin` says.
bool says(const std::string& text, const std::string& value, const std::string& origin) {
  const std::size_t at = text.find("\n" + value + " ");
  if (at != std::string::npos) {
    const std::string line = text.substr(at + 1, text.find('\n', at + 1) - at - 1);
    if (line.ends_with("  # " + origin)) return true;
  }
  MESSAGE(text);
  return false;
}

}  // namespace

TEST_CASE("a request that is none is refused") {
  const LoadedConfig loaded = load(document);
  const auto fails = [&](const ExplainRequest& request) {
    return !explain(loaded, "f", request).has_value();
  };
  CHECK(fails({"G T", "/", {}, ""}));
  CHECK(fails({"GET", "", {}, ""}));
  CHECK(fails({"GET", "path", {}, ""}));
  CHECK(fails({"GET", "ftp://host/", {}, ""}));
  CHECK(fails({"GET", "http://", {}, ""}));
  CHECK(fails({"GET", "/", {"no colon"}, ""}));
  CHECK(fails({"GET", "/", {"a b: c"}, ""}));
  CHECK(fails({"GET", "/", {}, "third"}));
}

TEST_CASE("every value comes with the line that set it") {
  const std::string text =
      explained({"POST", "http://PAY.local:8470/v1/charges?x=1", {"X-Tier:  gold"}, ""});
  CHECK(contains(text, "# route \"gold\" takes it\n"));
  CHECK(says(text, "route = \"gold\"", "f.toml:13"));
  CHECK(says(text, "upstream = \"app\"", "f.toml:15"));
  CHECK(says(text, "timeout.total = \"3s\"", "f.toml:7"));
  CHECK(says(text, "timeout.connect = \"1s\"", "default"));
  CHECK(says(text, "idempotency.ttl = \"48h\"", "f.toml:8"));
  CHECK(says(text, "idempotency.namespace = \"gold\"", "default"));
  CHECK(says(text, "retry.backoff.base = \"5ms\"", "f.toml:16"));
  CHECK(says(text, "retry.backoff.max = \"1s\"", "default"));
  CHECK(says(text, "breaker.min_requests = 5", "f.toml:11"));
  CHECK(says(text, "breaker.window = \"10s\"", "default"));
  CHECK(says(text, "fallback[0].status = 200", "default"));
  CHECK(says(text, "fallback[0].body = \"sorry\"", "f.toml:18"));
}

TEST_CASE("how the upstream is spoken to over TLS is told where it is") {
  const std::string secure =
      "[upstream.app]\nendpoints = [\"https://10.0.0.5\"]\ntls = { server_name = \"pay.test\" }\n"
      "[[route]]\nupstream = \"app\"\n";
  const auto text = explain(load(secure), "f.toml", {"GET", "/", {}, ""});
  REQUIRE(text);
  CHECK(says(*text, "tls.server_name = \"pay.test\"", "f.toml:3"));
  CHECK(says(*text, "tls.verify = true", "default"));
  CHECK(says(*text, "outlier.consecutive_failures = 5", "default"));
  const auto plain = explained({"GET", "http://pay.local/v1/charges", {"X-Tier: gold"}, ""});
  CHECK(plain.find("tls.") == std::string::npos);
}

TEST_CASE("the routes before say why they do not take it") {
  const std::string text = explained({"GET", "/v1/x", {"Host: pay.local"}, ""});
  CHECK(contains(text,
                 "at listener \"main\"\n"
                 "# route \"gold\" does not take it: header X-Tier\n"
                 "# route \"second-listener\" does not take it: listener\n"
                 "# route \"rest\" takes it\n"));
  CHECK(says(text, "fallback = []", "default"));
}

TEST_CASE("no route takes it") {
  CHECK(contains(explained({"DELETE", "/", {}, ""}),
                 "# route \"rest\" does not take it: method\n"
                 "# no route takes it: 404 no-route\n"));
}

TEST_CASE("the listener is the one named, or the one whose port the URL has") {
  CHECK(contains(explained({"GET", "http://127.0.0.1:9000", {}, ""}),
                 "# route \"second-listener\" takes it"));
  CHECK(contains(explained({"GET", "/", {}, "second"}), "respond.status = 204"));
}

// -- at a forward proxy

namespace {

const std::string forward_document = R"([[listener]]
name = "main"
[[listener]]
name = "proxy"
listen = "127.0.0.1:9000"
mode = "forward"
allow = ["*.partner.test:8443"]
[defaults]
timeout = { total = "7s" }
[upstream.internal]
endpoints = ["http://*.internal", "https://*.secure.internal"]
[upstream.fixed]
endpoints = ["http://127.0.0.1:3000"]
[[route]]
name = "internal"
match = { listener = "proxy", host = "*.internal" }
upstream = "internal"
timeout = { connect = "2s" }
[[route]]
name = "fixed"
match = { host = "pay.test" }
upstream = "fixed"
[[route]]
name = "here"
match = { host = "here.test" }
respond = { status = 204 }
)";

std::string forwarded(const std::string& method, const std::string& url) {
  const auto text = explain(load(forward_document), "f.toml", {method, url, {}, "proxy"});
  REQUIRE_MESSAGE(text.has_value(), text.error());
  return *text;
}

}  // namespace

TEST_CASE("what a forward proxy refuses is told with its answer") {
  const std::string refused = "# the listener does not take it: ";
  CHECK(contains(forwarded("GET", "/path"), refused + "400 bad-request: a forward proxy is asked"));
  CHECK(
      contains(forwarded("GET", "https://app.internal/"), refused + "400 bad-request: for https"));
  CHECK(contains(forwarded("GET", "http://outside.test/"), "# no route takes it: 404 no-route\n"));
  const std::string nowhere = "# nothing covers this host and port: 403 destination-not-allowed\n";
  CHECK(contains(forwarded("GET", "http://app.internal:22/"), nowhere));
  CHECK(contains(forwarded("GET", "http://a.partner.test:80/"), nowhere));
  for (const std::string authority : {"app.internal:22", "outside.test:443", "a.partner.test:443",
                                      "here.test:80", "pay.test:80", "127.0.0.1:80"}) {
    CAPTURE(authority);
    const std::string text = forwarded("CONNECT", authority);
    CHECK(contains(text, nowhere));
    CHECK(text.find("\nroute = ") == std::string::npos);
  }
  const LoadedConfig loaded = load(forward_document);
  for (const std::string url : {"app.internal", "http://app.internal:80", "/", "app.internal:0",
                                "user@app.internal:80", ":80", ""}) {
    CAPTURE(url);
    CHECK_FALSE(explain(loaded, "f", {"CONNECT", url, {}, ""}));
  }
  CHECK_FALSE(explain(loaded, "f", {"GET", "http://user@app.internal/", {}, "proxy"}));
  const auto reverse = explain(loaded, "f", {"CONNECT", "app.internal:80", {}, "main"});
  REQUIRE(reverse);
  CHECK(contains(*reverse, refused + "405 method-not-allowed"));
}

TEST_CASE("a tunnel has no way through a route that answers by itself") {
  for (const std::string path : {"", ", path_prefix = \"/\""}) {
    const LoadedConfig loaded = load(
        "[[listener]]\nname = \"proxy\"\nmode = \"forward\"\nallow = [\"*.internal:80\"]\n"
        "[[route]]\nmatch = { host = \"secret.internal\"" +
        path + " }\nrespond = { status = 403 }\n");
    const auto text = explain(loaded, "f", {"CONNECT", "secret.internal:80", {}, "proxy"});
    REQUIRE(text);
    CHECK(contains(*text, "403 destination-not-allowed\n"));
    const auto other = explain(loaded, "f", {"CONNECT", "app.internal:80", {}, "proxy"});
    REQUIRE(other);
    CHECK(contains(*other, "# it goes to app.internal:80\n"));
  }
}

TEST_CASE("where a forward proxy's request goes, and by which route") {
  const std::string plain = forwarded("GET", "http://App.internal/x?y");
  CHECK(contains(plain, "# route \"internal\" takes it\n# it goes to app.internal:80\n"));
  CHECK(says(plain, "timeout.connect = \"2s\"", "f.toml:18"));
  CHECK(says(plain, "timeout.total = \"7s\"", "f.toml:9"));
  CHECK(contains(forwarded("GET", "http://pay.test:1234/"), "# route \"fixed\" takes it\n"));
  CHECK(forwarded("GET", "http://pay.test/").find("it goes to") == std::string::npos);
  const std::string allowed = forwarded("GET", "http://a.partner.test:8443/");
  CHECK(contains(allowed, "# route \"allow:proxy\" takes it\n# it goes to a.partner.test:8443\n"));
  CHECK(says(allowed, "timeout.total = \"7s\"", "f.toml:9"));
  CHECK(says(allowed, "timeout.connect = \"1s\"", "default"));
  CHECK(contains(forwarded("CONNECT", "app.internal:80"),
                 "# route \"internal\" takes it\n# it goes to app.internal:80\n"));
  CHECK(
      contains(forwarded("CONNECT", "a.partner.test:8443"), "# it goes to a.partner.test:8443\n"));
}

TEST_CASE("a request goes over TLS where an https endpoint covers it; a tunnel carries its own") {
  CHECK(contains(forwarded("GET", "http://a.secure.internal:443/"),
                 "# it goes to a.secure.internal:443 over TLS\n"));
  CHECK(contains(forwarded("CONNECT", "a.secure.internal:443"),
                 "# it goes to a.secure.internal:443\n"));
}

TEST_CASE("a CONNECT comes in at the first listener that takes one") {
  const auto text = explain(load(forward_document), "f", {"CONNECT", "app.internal:80", {}, ""});
  REQUIRE(text);
  CHECK(contains(*text, "# CONNECT app.internal:80 at listener \"proxy\"\n"));
}

TEST_CASE("allow covers another port of a host that a route takes, for a tunnel alone") {
  std::string allowing = forward_document;
  allowing.replace(allowing.find("*.partner.test:8443"), 19, "*.internal:8443");
  const LoadedConfig loaded = load(allowing);
  const auto tunnel = explain(loaded, "f", {"CONNECT", "app.internal:8443", {}, "proxy"});
  REQUIRE(tunnel);
  CHECK(contains(*tunnel,
                 "# route \"internal\" takes it\n"
                 "# the listener's \"allow\" covers this host and port\n"
                 "# it goes to app.internal:8443\n"
                 "route = \"allow:proxy\""));
  const auto plain = explain(loaded, "f", {"GET", "http://app.internal:8443/", {}, "proxy"});
  REQUIRE(plain);
  CHECK(contains(*plain, "403 destination-not-allowed\n"));
}

}  // namespace holdfast::app
