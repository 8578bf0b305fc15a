#include "holdfast/app/config_sections.h"

#include <doctest/doctest.h>

#include <string>

#include "tests/unit/app/config_support.h"

namespace holdfast::app {
namespace {

std::string upstream_with(const std::string& keys) {
  return "[upstream.app]\n" + keys + "\n[[route]]\nupstream = \"app\"\n";
}

}  // namespace

TEST_CASE("an upstream needs endpoints that are some") {
  CHECK(refuses(upstream_with(""), "f.toml:1:1: error: upstream \"app\" has no \"endpoints\""));
  CHECK(refuses(upstream_with("endpoints = []"),
                "f.toml:2:13: error: an upstream needs an endpoint"));
  CHECK(refuses(upstream_with("endpoints = \"http://h\""), "must be an array of endpoints"));
  CHECK(
      refuses(upstream_with("endpoints = [1]"), "f.toml:2:14: error: each item of \"endpoints\""));
  CHECK(refuses(upstream_with("endpoints = [{ weight = 1 }]"), "an endpoint needs a \"url\""));
  CHECK(refuses(upstream_with("endpoints = [{ url = \"http://h\", weight = 0 }]"),
                "\"weight\" must be"));
  CHECK(refuses(upstream_with("endpoints = [{ url = \"http://h\", wieght = 2 }]"),
                "did you mean \"weight\"?"));
  CHECK(refuses(upstream_with("endpoints = [\"http://h/path\"]"),
                "each item of \"endpoints\" must be"));
  CHECK(refuses(upstream_with("endpoints = [\"unix:relative.sock\"]"),
                "each item of \"endpoints\" must be"));
  CHECK(refuses(upstream_with("endpoints = [\"http://u:p@h\"]"), "holds no user and no password"));

  const LoadedConfig loaded =
      load(upstream_with("endpoints = [\"http://h:1\", { url = \"unix:/a\", weight = 3 }]"));
  const auto& endpoints = loaded.config->upstreams.at("app").endpoints;
  REQUIRE(endpoints.size() == 2);
  CHECK(endpoints[0].url == "http://h:1");
  CHECK(endpoints[0].weight == 1);
  CHECK(endpoints[1].endpoint.path == "/a");
  CHECK(endpoints[1].weight == 3);
}

TEST_CASE("a forward listener: its mode, what it allows, and wildcards that only it may use") {
  const std::string forward = "[[listener]]\nname = \"proxy\"\nmode = \"forward\"\n";
  const std::string reverse = "[[listener]]\nlisten = \"127.0.0.1:1\"\n";
  const std::string wildcard = upstream_with("endpoints = [\"http://*.internal\"]");
  CHECK(load(forward + wildcard).config->upstreams.at("app").dynamic);
  CHECK(refuses(wildcard, "upstream \"app\" has a wildcard endpoint, but listener \"listener-1\""));
  CHECK(
      refuses(forward + reverse + wildcard, "but listener \"listener-2\" is not in forward mode"));
  load(forward + reverse + wildcard + "match = { listener = \"proxy\" }\n");
  CHECK(refuses(reverse + "allow = [\"a:80\"]\n" + wildcard, "\"allow\" needs mode"));
  for (const std::string bad : {"a/b", "http://a", "*", "*.", "u@a:80", "a:0", "*.1.2.3.4"}) {
    CAPTURE(bad);
    CHECK(refuses(forward + "allow = [\"" + bad + "\"]\n", "each item of \"allow\" must be"));
  }
  CHECK(refuses(forward + upstream_with("endpoints = [{ url = \"http://*.x\", weight = 2 }]"),
                "a weight makes no sense"));
  CHECK(refuses(forward + upstream_with("endpoints = [\"http://*.x\", \"unix:/a\"]"),
                "a unix socket makes no sense"));
  CHECK(refuses(forward + wildcard + "[[route.fallback]]\non = [\"open\"]\nupstream = \"app\"\n",
                "it is no fallback"));
  CHECK(refuses(forward + "allow = [\"a:80\"]\n[[route]]\nname = \"allow:proxy\"\n" +
                    "respond = { status = 200 }\n",
                "is what the listener's \"allow\" is called"));

  const LoadedConfig loaded = load("[defaults.timeout]\ntotal = \"3s\"\n" + forward +
                                   "allow = [\"*.internal:80\", \"api.test\"]\n");
  const proxy::Config& config = *loaded.config;
  CHECK(config.upstreams.at("allow:proxy").endpoints.size() == 3);  // api.test at 80 and 443
  REQUIRE(config.routes.size() == 2);
  CHECK(config.routes[0].match.host == "*.internal");
  CHECK(config.routes[0].match.listener == "proxy");
  CHECK(config.routes[0].timeout.total == std::chrono::seconds(3));
}

TEST_CASE("the breaker's longest pause follows a longer first pause, unless it says otherwise") {
  const std::string endpoints = "endpoints = [\"http://h\"]\n";
  const auto breaker = [&](const std::string& keys) {
    return load(upstream_with(endpoints + "breaker = { " + keys + " }"))
        .config->upstreams.at("app")
        .breaker;
  };
  CHECK(breaker("open_for = \"2m\"").open_max == std::chrono::minutes(2));
  CHECK(breaker("open_for = \"2s\"").open_max == std::chrono::seconds(60));
  CHECK(refuses(upstream_with(endpoints + "breaker = { open_for = \"2s\", open_max = \"1s\" }"),
                "\"open_max\" must be at least open_for (2s), not \"1s\""));
  CHECK(refuses("[defaults.breaker]\nenabled = true\n", "unknown key \"breaker\" in [defaults]"));
}

TEST_CASE("an upstream's keys reach their fields") {
  const LoadedConfig loaded = load(upstream_with(
      "endpoints = [\"http://h\"]\nbalance = \"round_robin\"\ndns_refresh = \"1s\"\n"
      "host_header = \"preserve\"\npool = { max_connections = 2 }\nbreaker = { enabled = false }"));
  const proxy::UpstreamConfig& upstream = loaded.config->upstreams.at("app");
  CHECK(upstream.name == "app");
  CHECK(upstream.balance == policy::BalanceKind::round_robin);
  CHECK(upstream.dns_refresh == std::chrono::seconds(1));
  CHECK(upstream.host_header == proxy::HostHeader::preserve);
  CHECK(upstream.pool.max_connections == 2);
  CHECK_FALSE(upstream.breaker.enabled);
}

TEST_CASE("the admin listener can be off, and its hosts are compared in lower case without port") {
  CHECK_FALSE(load("[admin]\nlisten = \"off\"\n").config->admin.listen.has_value());
  CHECK(load("[admin]\nhosts = []\n").config->admin.listen->text == "127.0.0.1:8471");
  CHECK(load("[admin]\nhosts = [\"Admin.Local:8471\"]\n").config->admin.hosts[0] == "admin.local");
  CHECK(refuses("[admin]\nlisten = \"of\"\n", "f.toml:2:10: error: \"listen\" must be an address"));
  CHECK(refuses("[admin]\nlisten = 8471\n", "f.toml:2:10: error: \"listen\" must be an address"));
  CHECK(refuses("[admin]\nhosts = [\"a/b\"]\n", "each item of \"hosts\""));
}

TEST_CASE("tables that should be arrays, and arrays that should be tables") {
  CHECK(refuses("[listener]\nlisten = \"127.0.0.1:1\"\n",
                "\"listener\" must be an array of tables ([[listener]])"));
  CHECK(refuses("[route]\nupstream = \"a\"\n", "\"route\" must be an array of tables ([[route]])"));
  CHECK(refuses("[[upstream]]\nname = \"a\"\n", "\"upstream\" must be a table, not an array"));
  CHECK(refuses("[[server]]\n", "\"server\" must be a table, not an array"));
  CHECK(refuses("upstream.app = 1\n", "\"app\" must be a table, not 1"));
}

TEST_CASE("names are visible and not endless") {
  CHECK(is_name("charge"));
  CHECK(is_name("POST /charge"));
  CHECK(is_name("größe"));
  CHECK(is_name(std::string(128, 'x')));
  CHECK_FALSE(is_name(""));
  CHECK_FALSE(is_name(" a"));
  CHECK_FALSE(is_name("a "));
  CHECK_FALSE(is_name("a\nb"));
  CHECK_FALSE(is_name(std::string(129, 'x')));
  CHECK(refuses("[upstream.\"\"]\nendpoints = [\"http://h\"]\n", "an upstream needs a name"));
}

TEST_CASE("an authority is a host with or without a port") {
  for (const std::string text :
       {"a", "pay.local", "pay.local:80", "127.0.0.1", "[::1]", "[::1]:80"}) {
    CAPTURE(text);
    CHECK(is_authority(text));
  }
  for (const std::string text : {"", "a/", "a/b", "a b", "u@h", "::1", "a:b", "*.x", "a\r\nb"}) {
    CAPTURE(text);
    CHECK_FALSE(is_authority(text));
  }
}

TEST_CASE("headers that belong to framing cannot be set") {
  for (const std::string name : {"Host", "Content-Length", "transfer-encoding", "Connection", "TE",
                                 "Upgrade", "Keep-Alive", "Trailer", "Proxy-Connection"}) {
    CAPTURE(name);
    CHECK(is_framing_header(name));
    CHECK(refuses(with_route("rewrite.set_headers = { " + name + " = \"1\" }\n"),
                  "is set by holdfast itself"));
  }
  CHECK_FALSE(is_framing_header("X-Tier"));
  CHECK_FALSE(is_framing_header("Authorization"));
  CHECK(refuses(with_route("rewrite.set_headers = { \"X Y\" = \"1\" }\n"),
                "\"X Y\" is no header's name"));
  CHECK(refuses(with_route("rewrite.set_headers = { X = \"a\\r\\nY: b\" }\n"),
                "f.toml:5:29: error: the value of"));
  CHECK(refuses(with_route("rewrite.set_headers = { X = 1 }\n"), "\"X\" must be a string, not 1"));
  CHECK(refuses(with_route("rewrite.set_headers = [\"X: 1\"]\n"), "must be a table of headers"));
}

}  // namespace holdfast::app
