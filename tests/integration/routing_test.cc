// Routes: what matches, in which order, and what a route does with a request.
#include "tests/support/suite.h"

using namespace holdfast::testing;

namespace {

/// A route that answers with its own name.
std::string answering(const std::string& name, const std::string& match) {
  return "[[route]]\nname = \"" + name + "\"\nmatch = { " + match + " }\nrespond = { body = \"" +
         name + "\" }\n";
}

std::string taken(const Holdfast& holdfast, std::string_view target, const Headers& headers = {},
                  std::string_view method = "GET") {
  const Response response = fetch(holdfast.address(), target, headers, method);
  return response.status == 200 ? response.body : std::to_string(response.status);
}

}  // namespace

TEST_CASE("paths match exactly, by prefix at a slash, or by an expression") {
  const Holdfast holdfast(answering("exact", "path = \"/exact\"") +
                          answering("prefix", "path_prefix = \"/v1\"") +
                          answering("regex", "path_regex = \"[0-9]+$\""));
  const struct {
    std::string target;
    std::string route;
  } cases[] = {
      {"/exact", "exact"},   {"/exact?q=1", "exact"}, {"/exact/", "404"},  {"/Exact", "404"},
      {"/v1", "prefix"},     {"/v1/", "prefix"},      {"/v1/x", "prefix"}, {"/v1?x", "prefix"},
      {"/v1x", "404"},       {"/v2", "regex"},        {"/a/42", "regex"},  {"/a/42?q=x", "regex"},
      {"/a/42x?q=1", "404"}, {"/%76%31", "regex"},    {"/", "404"},        {"//v1", "regex"},
  };
  for (const auto& one : cases) {
    CAPTURE(one.target);
    CHECK(taken(holdfast, one.target) == one.route);
  }
}

TEST_CASE("hosts match without case and port; a wildcard stands for one or more labels") {
  const Holdfast holdfast(answering("pay", "host = \"pay.local\"") +
                          answering("wild", "host = \"*.shop.example\""));
  const struct {
    std::string host;
    std::string route;
  } cases[] = {
      {"pay.local", "pay"},           {"PAY.Local", "pay"},       {"pay.local:8080", "pay"},
      {"x.pay.local", "404"},         {"a.shop.example", "wild"}, {"a.b.shop.example", "wild"},
      {"A.SHOP.example:1", "wild"},   {"shop.example", "404"},    {"xshop.example", "404"},
      {"a.shop.example.evil", "404"},
  };
  for (const auto& one : cases) {
    CAPTURE(one.host);
    CHECK(taken(holdfast, "/", {{"Host", one.host}}) == one.route);
  }
}

TEST_CASE("methods and headers match too, all of them together") {
  const Holdfast holdfast(
      answering("post", "methods = [\"POST\", \"PUT\"]") +
      answering("gold", "headers = { \"X-Tier\" = \"gold\", \"X-Beta\" = \"1\" }"));
  CHECK(taken(holdfast, "/", {}, "POST") == "post");
  CHECK(taken(holdfast, "/", {}, "PUT") == "post");
  CHECK(taken(holdfast, "/") == "404");
  CHECK(taken(holdfast, "/", {{"x-tier", "gold"}, {"x-beta", "1"}}) == "gold");
  CHECK(taken(holdfast, "/", {{"X-Tier", "gold"}}) == "404");
  CHECK(taken(holdfast, "/", {{"X-Tier", "Gold"}, {"X-Beta", "1"}}) == "404");
}

TEST_CASE("a route may belong to one listener") {
  const std::string first = "127.0.0.1:" + std::to_string(free_port());
  const std::string second = "127.0.0.1:" + std::to_string(free_port());
  const Holdfast holdfast("[[listener]]\nname = \"one\"\nlisten = \"" + first +
                          "\"\n[[listener]]\nname = \"two\"\nlisten = \"" + second + "\"\n" +
                          answering("inner", "listener = \"two\"") + answering("any", ""));
  CHECK(fetch(first, "/").body == "any");
  CHECK(fetch(second, "/").body == "inner");
}

TEST_CASE("the first route that matches wins, in the file's order") {
  const Holdfast holdfast(answering("narrow", "path = \"/a\"") +
                          answering("wide", "path_prefix = \"/\"") +
                          answering("never", "path = \"/b\""));
  CHECK(taken(holdfast, "/a") == "narrow");
  CHECK(taken(holdfast, "/b") == "wide");
}

TEST_CASE("no route is a 404, methods included, and is counted under `none`") {
  const Holdfast holdfast(answering("get", "path = \"/x\", methods = [\"GET\"]"));
  check_problem(holdfast.get("/none"), 404, "no-route");
  check_problem(holdfast.post("/x", "body"), 404, "no-route");
  // A request is counted when it is over: a moment after its client has the answer.
  CHECK(holdfast.wait_metric("holdfast_requests_total", {{"route", "none"}, {"status", "404"}}, 2));
  CHECK(holdfast.wait_metric("holdfast_requests_total",
                             {{"route", "none"}, {"method", "POST"}, {"status", "404"}}, 1));
}

TEST_CASE("a local answer drains a request's body, or closes") {
  const Holdfast holdfast(answering("get", "path = \"/x\""));
  RawClient client = holdfast.client();
  const std::string canary = request_text("GET", "/x");
  CHECK(client.post("/none", canary).status == 404);
  client.send_if_open(canary);
  const Response next = client.read_response();
  CHECK((next.body == "get" || next.fault != Fault::none));
  CHECK(client.reader().unread().empty());
}

TEST_CASE("respond answers with status, headers and body") {
  const Holdfast holdfast(
      "[[route]]\nmatch = { path = \"/file\" }\nrespond = { status = 503, body_file = \"a.html\", "
      "headers = { \"Content-Type\" = \"text/html\", \"Retry-After\" = \"60\" } }\n"
      "[[route]]\nrespond = { status = 201, headers = { \"X-A\" = \"1\" }, body = \"hello\" }\n",
      {.files = {{"a.html", "<p>away</p>"}}});
  RawClient client = holdfast.client();
  const Response file = client.get("/file");
  CHECK(file.status == 503);
  CHECK(file.body == "<p>away</p>");
  CHECK(file.headers.get("Content-Type") == "text/html");
  CHECK(file.headers.get("Retry-After") == "60");
  const Response plain = client.get("/");
  CHECK(plain.status == 201);
  CHECK(plain.body == "hello");
  CHECK(plain.headers.get("X-A") == "1");
  const Response head = client.request("HEAD", "/");
  CHECK(head.headers.get("Content-Length") == "5");
}

TEST_CASE("rewrite strips a prefix, sets and removes headers") {
  ScriptedUpstream app(reply(200));
  const Holdfast holdfast(Setup{.endpoints = {app.url()}, .route = R"(
    match = { path_prefix = "/v1" }
    [route.rewrite]
    strip_prefix = "/v1"
    remove_headers = ["X-Old", "x-secret"]
    [route.rewrite.set_headers]
    "X-New" = "new"
    "X-Replaced" = "ours"
  )"});
  const struct {
    std::string target;
    std::string seen;
  } cases[] = {{"/v1/charges?q=1", "/charges?q=1"},
               {"/v1", "/"},
               {"/v1/", "/"},
               {"/v1?x", "/?x"},
               {"/v1/v1/a", "/v1/a"}};
  for (const auto& one : cases) {
    CAPTURE(one.target);
    holdfast.get(one.target,
                 {{"X-Old", "1"}, {"X-Secret", "2"}, {"X-Replaced", "theirs"}, {"X-Kept", "3"}});
    const Request seen = app.last_request();
    CHECK(seen.target == one.seen);
    CHECK_FALSE(seen.headers.has("X-Old"));
    CHECK_FALSE(seen.headers.has("X-Secret"));
    CHECK(seen.headers.get("X-New") == "new");
    CHECK(seen.headers.get("X-Replaced") == "ours");
    CHECK(seen.headers.get("X-Kept") == "3");
  }
}

TEST_CASE("an absolute-form target is matched by its own host") {
  const Holdfast holdfast(answering("real", "host = \"real.example\""));
  RawClient client = holdfast.client();
  client.send("GET http://real.example/ HTTP/1.1\r\nHost: other.example\r\n\r\n");
  CHECK(client.read_response().body == "real");
}

TEST_CASE("a thousand routes and a hundred upstreams load quickly and route right") {
  ScriptedUpstream app([](Exchange& exchange) { exchange.respond(200, exchange.request.target); });
  std::string text;
  for (int index = 0; index < 100; ++index) {
    text += "[upstream.app-" + std::to_string(index) + "]\nendpoints = [\"" + app.url() + "\"]\n";
  }
  for (int index = 0; index < 1000; ++index) {
    const std::string number = std::to_string(index);
    text += "[[route]]\nname = \"route-number-" + number + "\"\nmatch = { path_prefix = \"/r" +
            number + "\", host = \"*.example\" }\nupstream = \"app-" + std::to_string(index % 100) +
            "\"\nrewrite = { strip_prefix = \"/r" + number + "\" }\n";
  }
  const Stopwatch since;
  const Holdfast holdfast(text);
  if (!built_with_sanitizers) CHECK(since.elapsed() < 1s);
  RawClient client = holdfast.client();
  for (const int index : {0, 1, 99, 500, 999}) {
    const std::string path = "/p" + std::to_string(index);
    CHECK(client.get("/r" + std::to_string(index) + path, {{"Host", "a.example"}}).body == path);
  }
  CHECK(client.get("/r1000", {{"Host", "a.example"}}).status == 404);
  CHECK(holdfast.wait_metric("holdfast_requests_total", {{"route", "route-number-999"}}, 1));
}
