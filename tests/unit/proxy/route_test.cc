#include "holdfast/proxy/route.h"

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <string>
#include <utility>
#include <vector>

namespace holdfast::proxy {
namespace {

using PathKind = MatchConfig::PathKind;

MatchConfig match_of(std::string host, PathKind kind = PathKind::any, std::string path = "") {
  MatchConfig match;
  match.host = std::move(host);
  match.path_kind = kind;
  match.path = std::move(path);
  return match;
}

Config config_of(const std::vector<MatchConfig>& matches) {
  Config config;
  for (const MatchConfig& match : matches) {
    config.routes.emplace_back();
    config.routes.back().match = match;
  }
  return config;
}

/// A request by its authority, path and method.
struct Request {
  std::string authority = "a.test";
  std::string path = "/";
  std::string method = "GET";
  std::string listener = "main";
  http::Fields fields;

  RouteTable::Input input() const {
    return {listener, authority, path, http::method_of(method), method, fields};
  }
};

int matched(const std::vector<MatchConfig>& matches, const Request& request) {
  const Config config = config_of(matches);
  return RouteTable(config).match(request.input());
}

bool takes(const MatchConfig& match, const Request& request) {
  return matched({match}, request) == 0;
}

/// What the table must agree with: the first route no condition of which fails.
int first_match(const RouteTable& table, std::size_t routes, const Request& request) {
  for (std::size_t i = 0; i < routes; ++i) {
    if (table.mismatch(static_cast<int>(i), request.input()).empty()) return static_cast<int>(i);
  }
  return -1;
}

Request random_request() {
  Request request;
  request.listener = *rc::gen::element<std::string>("main", "side");
  request.authority = *rc::gen::element<std::string>(
      "a.test", "A.TEST:80", "b.a.test", "c.b.a.test", "test", "xa.test", "[::1]:80", "");
  request.path = *rc::gen::element<std::string>("/", "/v1", "/v1/", "/v1/x", "/v1x", "/v1/x/y", "*",
                                                "//", "/V1", "");
  request.method = *rc::gen::element<std::string>("GET", "POST", "PURGE");
  if (*rc::gen::arbitrary<bool>()) request.fields.add("x-tier", "gold");
  if (*rc::gen::arbitrary<bool>()) request.fields.add("X-Tier", "silver");
  return request;
}

MatchConfig random_match() {
  MatchConfig match;
  match.listener = *rc::gen::element<std::string>("", "", "main");
  match.host = *rc::gen::element<std::string>("", "a.test", "*.a.test", "*.test", "[::1]");
  match.path_kind =
      *rc::gen::element(PathKind::any, PathKind::exact, PathKind::prefix, PathKind::regex);
  if (match.path_kind != PathKind::any) {
    match.path = *rc::gen::element<std::string>("/", "/v1", "/v1/", "/v1/x", "/v1/x/");
  }
  if (*rc::gen::arbitrary<bool>()) match.methods = {"GET", "PURGE"};
  if (*rc::gen::arbitrary<bool>()) match.headers = {{"X-TIER", "gold"}};
  return match;
}

}  // namespace

TEST_CASE("no route takes what none matches") {
  CHECK(matched({}, {}) == -1);
  CHECK(matched({match_of("b.test"), match_of("", PathKind::exact, "/x")}, {}) == -1);
}

TEST_CASE("a host is compared without case and port; a wildcard stands for one or more labels") {
  const MatchConfig exact = match_of("a.test");
  const MatchConfig wildcard = match_of("*.a.test");
  for (const char* authority : {"", "b.test", "a.test..", "xa.test", "a.testx", "b.a.test"}) {
    CAPTURE(authority);
    CHECK_FALSE(takes(exact, {.authority = authority, .fields = {}}));
  }
  for (const char* authority : {"a.test", "A.Test", "a.test:8080", "a.test.", "a.test.:80"}) {
    CAPTURE(authority);
    CHECK(takes(exact, {.authority = authority, .fields = {}}));
    CHECK_FALSE(takes(wildcard, {.authority = authority, .fields = {}}));
  }
  for (const char* authority : {"b.a.test", "c.B.A.test:1"}) {
    CAPTURE(authority);
    CHECK(takes(wildcard, {.authority = authority, .fields = {}}));
  }
  CHECK_FALSE(takes(wildcard, {.authority = ".a.test", .fields = {}}));
  CHECK(takes(match_of("[::1]"), {.authority = "[::1]:80", .fields = {}}));
}

TEST_CASE("a prefix ends at a slash") {
  struct Example {
    std::string_view prefix;
    std::string_view path;
    bool taken;
  };
  const Example examples[] = {
      {"/v1", "/v1", true},    {"/v1", "/v1/", true},     {"/v1", "/v1/x", true},
      {"/v1", "/v1x", false},  {"/v1", "/v", false},      {"/v1", "/V1", false},
      {"/v1", "//v1", false},  {"/v1/", "/v1", false},    {"/v1/", "/v1/", true},
      {"/v1/", "/v1/x", true}, {"/", "/", true},          {"/", "/x", true},
      {"/", "*", false},       {"/v1", "/v1%2fx", false},
  };
  for (const Example& example : examples) {
    CAPTURE(example.prefix);
    CAPTURE(example.path);
    const MatchConfig match = match_of("", PathKind::prefix, std::string(example.prefix));
    CHECK(takes(match, {.path = std::string(example.path), .fields = {}}) == example.taken);
  }
}

TEST_CASE("an exact path and a pattern see the bytes as they came") {
  CHECK(takes(match_of("", PathKind::exact, "/a"), {.path = "/a", .fields = {}}));
  for (const char* path : {"/a/", "/A", "/%61", "//a", "/b/../a"}) {
    CAPTURE(path);
    CHECK_FALSE(takes(match_of("", PathKind::exact, "/a"), {.path = path, .fields = {}}));
  }
  CHECK(takes(match_of("", PathKind::regex, "v[0-9]+"), {.path = "/x/v12/y", .fields = {}}));
  CHECK_FALSE(takes(match_of("", PathKind::regex, "^v[0-9]+"), {.path = "/v12", .fields = {}}));
  CHECK(takes(match_of("", PathKind::regex, "(a*)*b$"),
              {.path = "/" + std::string(16000, 'a') + "b", .fields = {}}));
}

TEST_CASE("methods, headers and the listener must fit too") {
  MatchConfig match;
  match.listener = "main";
  match.methods = {"POST", "PURGE"};
  match.headers = {{"X-Tier", "gold"}, {"X-B", ""}};
  Request request{.method = "PURGE", .fields = {}};
  request.fields.add("x-tier", "silver");
  request.fields.add("X-TIER", "gold");
  CHECK_FALSE(takes(match, request));
  request.fields.add("x-b", "");
  CHECK(takes(match, request));
  request.method = "purge";
  CHECK_FALSE(takes(match, request));
  request.method = "POST";
  request.listener = "other";
  CHECK_FALSE(takes(match, request));
}

TEST_CASE("the first condition that fails is named") {
  MatchConfig match = match_of("a.test", PathKind::exact, "/x");
  match.listener = "main";
  match.methods = {"POST"};
  match.headers = {{"X-Tier", "gold"}};
  const Config config = config_of({match});
  const RouteTable table(config);
  Request request{.authority = "b", .listener = "side", .fields = {}};
  CHECK(table.mismatch(0, request.input()) == "listener");
  request.listener = "main";
  CHECK(table.mismatch(0, request.input()) == "host");
  request.authority = "a.test";
  CHECK(table.mismatch(0, request.input()) == "path");
  request.path = "/x";
  CHECK(table.mismatch(0, request.input()) == "method");
  request.method = "POST";
  CHECK(table.mismatch(0, request.input()) == "header X-Tier");
  request.fields.add("X-Tier", "gold");
  CHECK(table.mismatch(0, request.input()) == "");
}

TEST_CASE("the first route in the file's order wins over a narrower one") {
  const std::vector<MatchConfig> matches = {
      match_of("", PathKind::prefix, "/a"), match_of("a.test", PathKind::exact, "/a/b"),
      match_of("", PathKind::regex, "^/c"), match_of("a.test", PathKind::exact, "/c"),
      match_of("")};
  CHECK(matched(matches, {.path = "/a/b", .fields = {}}) == 0);
  CHECK(matched(matches, {.path = "/c", .fields = {}}) == 2);
  CHECK(matched(matches, {.path = "/d", .fields = {}}) == 4);
}

TEST_CASE("the index gives the answer of asking every route in order") {
  const bool holds = rc::check([] {
    const auto matches = *rc::gen::container<std::vector<MatchConfig>>(rc::gen::exec(random_match));
    const Config config = config_of(matches);
    const RouteTable table(config);
    for (int i = 0; i < 20; ++i) {
      const Request request = random_request();
      RC_ASSERT(table.match(request.input()) == first_match(table, matches.size(), request));
    }
  });
  CHECK(holds);
}

TEST_CASE("the host of an authority") {
  CHECK(host_of("") == "");
  CHECK(host_of("A.test") == "A.test");
  CHECK(host_of("a.test:80") == "a.test");
  CHECK(host_of("a.test.") == "a.test");
  CHECK(host_of("a.test.:80") == "a.test");
  CHECK(host_of("a.test..") == "a.test.");
  CHECK(host_of(".") == ".");
  CHECK(host_of("[::1]:80") == "[::1]");
  CHECK(host_of("[::1]") == "[::1]");
}

}  // namespace holdfast::proxy
