// What holdfast adds to heads, takes from them and leaves alone, and the answers it makes itself.
#include "tests/support/suite.h"

using namespace holdfast::testing;

namespace {

/// What the upstream saw of a request with these fields.
Request forwarded(const Holdfast& holdfast, ScriptedUpstream& app, const Headers& headers,
                  std::string_view method = "GET") {
  CHECK(fetch(holdfast.address(), "/", headers, method).status == 200);
  return app.last_request();
}

}  // namespace

TEST_CASE("hop-by-hop fields and those that Connection names go") {
  ScriptedUpstream app(reply(
      200, "",
      {{"Connection", "X-Mine"}, {"X-Mine", "1"}, {"Keep-Alive", "timeout=5"}, {"X-Kept", "yes"}}));
  const Holdfast holdfast(Setup{.endpoints = {app.url()}});
  const Response response = holdfast.get("/", {{"Connection", "keep-alive, X-Secret , x-other"},
                                               {"X-Secret", "1"},
                                               {"X-Other", "1"},
                                               {"Keep-Alive", "timeout=5"},
                                               {"Proxy-Connection", "keep-alive"},
                                               {"TE", "trailers"},
                                               {"Upgrade", "h2c"},
                                               {"X-Kept", "yes"}});
  const Request seen = app.last_request();
  for (const std::string gone :
       {"X-Secret", "X-Other", "Keep-Alive", "Proxy-Connection", "TE", "Upgrade", "Connection"}) {
    CAPTURE(gone);
    CHECK_FALSE(seen.headers.has(gone));
  }
  CHECK(seen.headers.get("X-Kept") == "yes");
  CHECK_FALSE(response.headers.has("X-Mine"));
  CHECK_FALSE(response.headers.has("Keep-Alive"));
  CHECK(response.headers.get("X-Kept") == "yes");
}

TEST_CASE("other fields pass unchanged and in their order") {
  ScriptedUpstream app(reply(200, "",
                             {{"Set-Cookie", "a=1"},
                              {"X-B", "2"},
                              {"Set-Cookie", "c=3"},
                              {"WWW-Authenticate", "Basic realm=\"a, b\""},
                              {"Vary", "Accept"}}));
  const Holdfast holdfast(Setup{.endpoints = {app.url()}});
  const Response response = holdfast.get("/%2e%2e//a?q=%41&b", {{"X-A", "1"},
                                                                {"Authorization", "Bearer t"},
                                                                {"X-A", "2"},
                                                                {"X-Octets", "caf\xc3\xa9 \xff"}});
  const Request seen = app.last_request();
  CHECK(seen.target == "/%2e%2e//a?q=%41&b");
  CHECK(seen.headers.all("X-A") == std::vector<std::string>{"1", "2"});
  CHECK(seen.headers.get("Authorization") == "Bearer t");
  CHECK(seen.headers.get("X-Octets") == "caf\xc3\xa9 \xff");
  CHECK(response.headers.all("Set-Cookie") == std::vector<std::string>{"a=1", "c=3"});
  CHECK(response.headers.get("WWW-Authenticate") == "Basic realm=\"a, b\"");
  CHECK(response.headers.get("Vary") == "Accept");
}

TEST_CASE("Via is appended with the server's name in both directions") {
  ScriptedUpstream app(reply(200, "", {{"Via", "1.0 origin"}}));
  const Holdfast holdfast(Setup{.endpoints = {app.url()}, .server = "name = \"edge\""});
  const Response response = holdfast.get("/", {{"Via", "1.0 fred"}});
  CHECK(app.last_request().headers.get("Via") == "1.0 fred, 1.1 edge");
  CHECK(response.headers.get("Via") == "1.0 origin, 1.1 edge");
}

TEST_CASE("X-Forwarded fields of an untrusted client are replaced") {
  ScriptedUpstream app(reply(200));
  const Holdfast holdfast(Setup{.endpoints = {app.url()}});
  const Request seen = forwarded(holdfast, app,
                                 {{"Host", "shop.example"},
                                  {"X-Forwarded-For", "6.6.6.6"},
                                  {"X-Forwarded-Proto", "https"},
                                  {"X-Forwarded-Host", "evil"}});
  CHECK(seen.headers.get("X-Forwarded-For") == "127.0.0.1");
  CHECK(seen.headers.get("X-Forwarded-Proto") == "http");
  CHECK(seen.headers.get("X-Forwarded-Host") == "shop.example");
}

TEST_CASE("X-Forwarded fields of a trusted proxy are believed and appended to") {
  ScriptedUpstream app(reply(200));
  for (const std::string trusted : {"127.0.0.1", "127.0.0.0/8"}) {
    const Holdfast holdfast(
        Setup{.endpoints = {app.url()},
              .server = "trusted_proxies = [\"::1\", \"" + std::string(trusted) + "\"]"});
    const Request seen = forwarded(holdfast, app,
                                   {{"X-Forwarded-For", "6.6.6.6"},
                                    {"X-Forwarded-Proto", "https"},
                                    {"X-Forwarded-Host", "front"}});
    CHECK(seen.headers.get("X-Forwarded-For") == "6.6.6.6, 127.0.0.1");
    CHECK(seen.headers.get("X-Forwarded-Proto") == "https");
    CHECK(seen.headers.get("X-Forwarded-Host") == "front");
  }
}

TEST_CASE("X-Request-Id is kept when it is 1 to 128 visible characters") {
  ScriptedUpstream app(reply(200));
  const Holdfast holdfast(Setup{.endpoints = {app.url()}});
  for (const std::string& id :
       {std::string("a"), std::string("A-b_c.1~!"), std::string(128, 'x')}) {
    CHECK(forwarded(holdfast, app, {{"X-Request-Id", id}}).headers.all("X-Request-Id") ==
          std::vector{id});
  }
}

TEST_CASE("X-Request-Id is made as a UUIDv7 when it is absent or unfit") {
  ScriptedUpstream app(reply(200));
  const Holdfast holdfast(Setup{.endpoints = {app.url()}});
  const std::string uuid_v7 =
      "^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$";
  std::vector<Headers> unfit{{}, {{"X-Request-Id", ""}}, {{"X-Request-Id", "a b"}}};
  unfit.push_back({{"X-Request-Id", std::string(129, 'x')}});
  unfit.push_back({{"X-Request-Id", "caf\xc3\xa9"}});
  std::set<std::string> made;
  for (const Headers& headers : unfit) {
    const auto ids = forwarded(holdfast, app, headers).headers.all("X-Request-Id");
    REQUIRE(ids.size() == 1);
    CAPTURE(ids[0]);
    CHECK(matches(ids[0], uuid_v7));
    made.insert(ids[0]);
  }
  CHECK(made.size() == unfit.size());
}

TEST_CASE("traceparent is passed on and its trace id is logged") {
  ScriptedUpstream app(reply(200));
  const Holdfast holdfast(Setup{.endpoints = {app.url()}});
  const std::string trace = "4bf92f3577b34da6a3ce929d0e0e4736";
  const std::string parent = "00-" + trace + "-00f067aa0ba902b7-01";
  CHECK(forwarded(holdfast, app, {{"traceparent", parent}}).headers.get("traceparent") == parent);
  CHECK(holdfast.wait_access_log(1)["trace_id"] == trace);
}

TEST_CASE("Host is preserved for addresses and localhost, and replaced where the file says so") {
  ScriptedUpstream app(reply(200));
  const std::string port = app.address().substr(app.address().find(':'));
  const std::string local = "http://localhost" + port;
  const struct {
    std::string endpoint;
    std::string upstream;
    std::string route;
    std::string host;
  } cases[] = {
      {app.url(), "", "", "shop.example:81"},
      {local, "", "", "shop.example:81"},
      {local, "host_header = \"preserve\"", "", "shop.example:81"},
      {app.url(), "host_header = \"upstream\"", "", app.address()},
      {local, "host_header = \"upstream\"", "", "localhost" + port},
      {app.url(), "", "rewrite = { host = \"inner.example\" }", "inner.example"},
      {app.url(), "host_header = \"upstream\"", "rewrite = { host = \"inner.example\" }",
       "inner.example"},
  };
  for (const auto& one : cases) {
    CAPTURE(one.endpoint);
    CAPTURE(one.upstream);
    CAPTURE(one.route);
    const Holdfast holdfast(
        Setup{.endpoints = {one.endpoint}, .upstream = one.upstream, .route = one.route});
    const Request seen = forwarded(holdfast, app, {{"Host", "shop.example:81"}});
    CHECK(seen.headers.all("Host") == std::vector{one.host});
  }
}

TEST_CASE("an absolute-form target becomes origin-form and its authority is the Host") {
  ScriptedUpstream app(reply(200));
  const Holdfast holdfast(Setup{.endpoints = {app.url()}});
  RawClient client = holdfast.client();
  client.send("GET http://real.example:8080/p?q=1 HTTP/1.1\r\nHost: other.example\r\n\r\n");
  CHECK(client.read_response().status == 200);
  const Request seen = app.last_request();
  CHECK(seen.target == "/p?q=1");
  CHECK(seen.headers.get("Host") == "real.example:8080");
  CHECK(seen.headers.get("X-Forwarded-Host") == "real.example:8080");
  client.send("GET http://real.example HTTP/1.1\r\nHost: real.example\r\n\r\n");
  CHECK(client.read_response().status == 200);
  CHECK(app.last_request().target == "/");
}

TEST_CASE("Date is added where the upstream sent none, and kept where it did") {
  const std::string past = "Thu, 01 Jan 2015 00:00:00 GMT";
  ScriptedUpstream app(in_turn({reply(200), reply(200, "", {{"Date", past}})}));
  const Holdfast holdfast(Setup{.endpoints = {app.url()}});
  const std::string date = "^[A-Z][a-z]{2}, \\d{2} [A-Z][a-z]{2} \\d{4} \\d{2}:\\d{2}:\\d{2} GMT$";
  CHECK(matches(holdfast.get("/").headers.get("Date"), date));
  CHECK(holdfast.get("/").headers.all("Date") == std::vector{past});
}

TEST_CASE(
    "a response of the upstream passes without a word of holdfast's about caching or errors") {
  ScriptedUpstream app(reply(503, "sorry", {{"Cache-Control", "max-age=1, x-ext=1"}}));
  const Holdfast holdfast(Setup{.endpoints = {app.url()}, .route = "retry = { attempts = 1 }"});
  const Response response = holdfast.get("/");
  CHECK(response.status == 503);
  CHECK(response.body == "sorry");
  CHECK(response.headers.get("Cache-Control") == "max-age=1, x-ext=1");
  CHECK_FALSE(response.headers.has("Proxy-Status"));
}

TEST_CASE("errors that holdfast makes are problem+json, named after the error") {
  ScriptedUpstream app(send_and_close(""));
  const Holdfast holdfast(Setup{.endpoints = {app.url()},
                                .server = "name = \"edge\"",
                                .route = R"(match = { path_prefix = "/app" }
                                            retry = { attempts = 1 })"});
  const Response none = holdfast.get("/none", {{"X-Request-Id", "my-id"}});
  check_problem(none, 404, "no-route");
  CHECK(nlohmann::json::parse(none.body)["request_id"] == "my-id");
  const Response cut = holdfast.get("/app");
  check_problem(cut, 502, "connection-terminated", "connection_terminated");
  CHECK(cut.headers.get("Proxy-Status").starts_with("edge; error=connection_terminated"));
  app.close_connections();
  app.refuse();
  check_problem(holdfast.get("/app"), 502, "connection-refused", "connection_refused");
}

TEST_CASE("HEAD gets the head of an error and no body") {
  const Holdfast holdfast("[[route]]\nmatch = { path = \"/x\" }\nrespond = { status = 200 }\n");
  RawClient client = holdfast.client();
  const Response response = client.request("HEAD", "/none");
  CHECK(response.status == 404);
  CHECK(client.request("HEAD", "/x").status == 200);
}

TEST_CASE("a loop is the own name ten times in Via") {
  ScriptedUpstream app(reply(200));
  const Holdfast holdfast(Setup{.endpoints = {app.url()}});
  std::string via = "1.1 holdfast";
  for (int hops = 1; hops < 9; ++hops) via += ", 1.1 holdfast";
  CHECK(holdfast.get("/", {{"Via", via}}).status == 200);
  check_problem(holdfast.get("/", {{"Via", via}, {"Via", "1.1 holdfast"}}), 502,
                "proxy-loop-detected", "proxy_loop_detected");
  CHECK(app.request_count() == 1);
}

TEST_CASE("Max-Forwards: 0 is answered here, and more is counted down") {
  ScriptedUpstream app(reply(200));
  const Holdfast holdfast(Setup{.endpoints = {app.url()}});
  const Response local = fetch(holdfast.address(), "/", {{"Max-Forwards", "0"}}, "OPTIONS");
  CHECK(local.status / 100 == 2);
  CHECK(app.request_count() == 0);
  const Headers five{{"Max-Forwards", "5"}};
  CHECK(forwarded(holdfast, app, five, "OPTIONS").headers.get("Max-Forwards") == "4");
  CHECK_FALSE(forwarded(holdfast, app, {}, "OPTIONS").headers.has("Max-Forwards"));
}

TEST_CASE("TRACE and CONNECT are refused with 405, methods longer than 32 octets with 501") {
  ScriptedUpstream app(reply(200));
  const Holdfast holdfast(Setup{.endpoints = {app.url()}});
  check_problem(fetch(holdfast.address(), "/", {}, "TRACE"), 405, "method-not-allowed");
  RawClient client = holdfast.client();
  check_problem(client.request("CONNECT", "a.example:80"), 405, "method-not-allowed");
  CHECK(client.wait_for_close() == Fault::end);
  check_problem(fetch(holdfast.address(), "/", {}, std::string(33, 'A')), 501, "not-implemented");
  CHECK(app.request_count() == 0);
  CHECK(fetch(holdfast.address(), "/", {}, std::string(32, 'A')).status == 200);
}
