#include "holdfast/app/config_routes.h"

#include <doctest/doctest.h>

#include <string>

#include "tests/unit/app/config_support.h"

namespace holdfast::app {
namespace {

using PathKind = proxy::MatchConfig::PathKind;

proxy::RouteConfig route_with(const std::string& keys) {
  return load(with_route(keys)).config->routes[0];
}

}  // namespace

TEST_CASE("a route asks an upstream or answers by itself") {
  CHECK(refuses("[[route]]\n",
                "f.toml:1:1: error: a route needs one of \"upstream\" and \"respond\""));
  CHECK(refuses(with_route("respond = {}\n"),
                "a route takes one of \"upstream\" and \"respond\", not both"));
  CHECK(refuses("[[route]]\nupstream = \"x\"\n", "f.toml:2:12: error: there is no upstream \"x\""));
  for (const std::string key : {"rewrite", "timeout", "retry"}) {
    CHECK(refuses("[[route]]\nrespond = {}\n" + key + " = {}\n",
                  "\"" + key + "\" makes no sense beside"));
  }
  for (const std::string key : {"upgrade", "trailers", "fallback"}) {
    CHECK(refuses("[[route]]\nrespond = {}\n" + key + " = []\n",
                  "\"" + key + "\" makes no sense beside"));
  }
  CHECK(refuses("[[route]]\nrespond = { body = \"\", body_file = \"x\" }\n",
                "a response takes one of"));
}

TEST_CASE("a response made of configuration") {
  const LoadedConfig loaded = load(
      "[[route]]\nrespond = { status = 503, headers = { Retry-After = \"9\" }, body = \"down\" }\n"
      "[[route]]\nrespond = {}\n");
  const proxy::StaticResponse& response = *loaded.config->routes[0].respond;
  CHECK(response.status == 503);
  CHECK(response.headers == proxy::HeaderList{{"Retry-After", "9"}});
  CHECK(response.body == "down");
  CHECK(loaded.config->routes[0].upstream.empty());
  CHECK(loaded.config->routes[1].respond->status == 200);
}

TEST_CASE("a match is checked") {
  const auto match = [](const std::string& keys) {
    return with_route("match = { " + keys + " }\n");
  };
  CHECK(refuses(match("path = \"/a\", path_prefix = \"/b\""),
                "takes one of \"path\", \"path_prefix\" and"));
  CHECK(refuses(match("path = \"a\""), "\"path\" must be a path"));
  CHECK(refuses(match("path = \"/a?b\""), "\"path\" must be a path"));
  CHECK(refuses(match("path = \"/a b\""), "\"path\" must be a path"));
  CHECK(refuses(match("path_prefix = \"*\""), "\"path_prefix\" must be a path"));
  CHECK(refuses(match("path_regex = \"[\""),
                "f.toml:5:24: error: \"path_regex\" is no regular expression"));
  CHECK(refuses(match("host = \"*\""), "\"host\" must be a host"));
  CHECK(refuses(match("host = \"a.*.b\""), "\"host\" must be a host"));
  CHECK(refuses(match("host = \"http://a\""), "\"host\" must be a host"));
  CHECK(refuses(match("methods = [\"Get\"]"),
                "each item of \"methods\" must be a method in capitals"));
  CHECK(refuses(match("methods = [\"G T\"]"),
                "each item of \"methods\" must be a method in capitals"));
  CHECK(refuses(match("listener = \"listner-1\""), "did you mean \"listener-1\"?"));
  CHECK(refuses(match("hosts = [\"a\"]"), "did you mean \"host\"?"));
}

TEST_CASE("a match reaches its fields") {
  const proxy::MatchConfig match =
      route_with(
          R"(match = { listener = "listener-1", host = "*.Pay.Local:80", path = "/v1/charges", )"
          R"(methods = ["POST", "PROPFIND"], headers = { "X-Tier" = " gold " } })")
          .match;
  CHECK(match.listener == "listener-1");
  CHECK(match.host == "*.pay.local");
  CHECK(match.path_kind == PathKind::exact);
  CHECK(match.path == "/v1/charges");
  CHECK(match.methods == std::vector<std::string>{"POST", "PROPFIND"});
  CHECK(match.headers == proxy::HeaderList{{"X-Tier", "gold"}});
  CHECK(route_with("match.path = \"*\"\n").match.path == "*");
  CHECK(route_with("match.path_prefix = \"/v1\"\n").match.path_kind == PathKind::prefix);
  CHECK(route_with("match.path_regex = \"^/a$\"\n").match.path_kind == PathKind::regex);
  CHECK(route_with("match.path_regex = \"^/a$\"\n").match.path == "^/a$");
  CHECK(route_with("match.host = \"[::1]:80\"\n").match.host == "[::1]");
}

TEST_CASE("rewrite, upgrade and trailers") {
  const proxy::RouteConfig route = route_with(
      "rewrite = { strip_prefix = \"/v1\", host = \"Pay.Local:80\", set_headers = { A = \"b\" }, "
      "remove_headers = [\"X-Debug\"] }\nupgrade = [\"WebSocket\"]\ntrailers = [\"X-Sum\"]\n");
  CHECK(route.rewrite.strip_prefix == "/v1");
  CHECK(route.rewrite.host == "Pay.Local:80");
  CHECK(route.rewrite.set_headers == proxy::HeaderList{{"A", "b"}});
  CHECK(route.rewrite.remove_headers == std::vector<std::string>{"x-debug"});
  CHECK(route.upgrade == std::vector<std::string>{"websocket"});
  CHECK(route.trailers == std::vector<std::string>{"x-sum"});

  CHECK(refuses(with_route("rewrite.strip_prefix = \"v1\"\n"), "\"strip_prefix\" must be a path"));
  CHECK(refuses(with_route("rewrite.host = \"a/b\"\n"), "\"host\" must be a host"));
  CHECK(refuses(with_route("rewrite.remove_headers = [\"Host\"]\n"),
                "each item of \"remove_headers\""));
  CHECK(refuses(with_route("upgrade = [\"h2c\"]\n"), "each item of \"upgrade\""));
  for (const std::string field : {"Content-Length", "X-Forwarded-For", "X_Forwarded_Client_Cert"}) {
    CHECK(refuses(with_route("trailers = [\"" + field + "\"]\n"), "each item of \"trailers\""));
  }
}

TEST_CASE("a route cannot be called as metrics call the absence of one") {
  CHECK(refuses(with_route("name = \"none\"\n"),
                "f.toml:5:8: error: a route cannot be called \"none\""));
}

}  // namespace holdfast::app
