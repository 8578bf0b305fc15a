// Fallbacks: static, from a file, from another upstream, in their order.
#include "tests/support/suite.h"

using namespace holdfast::testing;

namespace {

Setup falling_back(const ScriptedUpstream& app, const std::string& fallbacks,
                   const std::string& more = "") {
  return {
      .endpoints = {app.url()}, .route = "retry = { attempts = 1 }\n" + fallbacks, .more = more};
}

std::string backup_table(const ScriptedUpstream& backup) {
  return "[upstream.backup]\nendpoints = [\"" + backup.url() + "\"]\n";
}

const std::string static_fallback =
    "[[route.fallback]]\nstatus = 200\nheaders = { \"Content-Type\" = \"application/json\" }\n"
    "body = '{\"recommendations\":[]}'\n";
const std::string upstream_fallback = "[[route.fallback]]\nupstream = \"backup\"\n";

}  // namespace

TEST_CASE("a static fallback answers with its status, headers and body, and says why") {
  ScriptedUpstream app(send_and_reset(""));
  const Holdfast holdfast(falling_back(app, static_fallback));
  const Response response = holdfast.get("/");
  CHECK(response.status == 200);
  CHECK(response.headers.get("Content-Type") == "application/json");
  CHECK(response.body == "{\"recommendations\":[]}");
  CHECK(proxy_status(response, "error") == "connection_terminated");
  CHECK(has_proxy_status(response, "fallback"));
  CHECK(holdfast.metric("holdfast_fallbacks_total", {{"route", "main"}, {"reason", "reset"}}) == 1);
  const auto log = holdfast.wait_access_log(1);
  CHECK(log["status"] == 200);
  CHECK(log["error"] == "connection_terminated");
  CHECK_FALSE(log["fallback"].is_null());
}

TEST_CASE("`on` says which failures lead to it") {
  const struct {
    std::string on;
    Handler answer;
    int status;
  } cases[] = {
      {"5xx", reply(500), 299},         {"5xx", reply(404), 404},
      {"503", reply(503), 299},         {"503", reply(500), 500},
      {"4xx", reply(404), 299},         {"timeout", never_answer(), 299},
      {"reset", never_answer(), 504},   {"reset", send_and_close(""), 299},
      {"5xx", send_and_close(""), 502},
  };
  for (const auto& one : cases) {
    CAPTURE(one.on);
    CAPTURE(one.status);
    ScriptedUpstream app(one.answer);
    Setup setup =
        falling_back(app, "timeout = { total = \"100ms\" }\n[[route.fallback]]\non = [\"" +
                              std::string(one.on) + "\"]\nstatus = 299\nbody = \"\"\n");
    const Holdfast holdfast(setup);
    CHECK(holdfast.get("/").status == one.status);
  }
}

TEST_CASE("by default it follows an open breaker and a refused connection") {
  ScriptedUpstream app(reply(200));
  app.refuse();
  const Holdfast holdfast(
      falling_back(app, static_fallback, "[upstream.app.breaker]\nconsecutive_failures = 1\n"));
  CHECK(proxy_status(holdfast.get("/"), "error") == "connection_refused");
  const Response open = holdfast.get("/");
  CHECK(open.status == 200);
  CHECK(proxy_status(open, "error") == "destination_unavailable");
  CHECK(holdfast.metric("holdfast_fallbacks_total", {{"reason", "open"}}) == 1);
}

TEST_CASE("it comes after the retries") {
  ScriptedUpstream app(reply(503));
  Setup setup = falling_back(app, static_fallback);
  setup.route.replace(setup.route.find("1 }"), 1, "3");
  const Holdfast holdfast(setup);
  const Response response = holdfast.get("/");
  CHECK(response.status == 200);
  CHECK(proxy_status(response, "attempts") == "3");
  CHECK(app.request_count() == 3);
}

TEST_CASE("a body from a file starts at the configuration's folder") {
  ScriptedUpstream app(reply(500));
  const Holdfast holdfast(
      falling_back(app, "[[route.fallback]]\nstatus = 503\nbody_file = \"sorry.html\"\n"),
      {.files = {{"sorry.html", "<h1>sorry</h1>"}}});
  const Response response = holdfast.get("/");
  CHECK(response.status == 503);
  CHECK(response.body == "<h1>sorry</h1>");
}

TEST_CASE("fallbacks are tried in order, the first whose condition holds answers") {
  ScriptedUpstream app(reply(500));
  const Holdfast holdfast(
      falling_back(app,
                   "[[route.fallback]]\non = [\"timeout\"]\nstatus = 201\nbody = \"\"\n"
                   "[[route.fallback]]\non = [\"500\"]\nstatus = 202\nbody = "
                   "\"\"\n[[route.fallback]]\nstatus = 203\nbody = \"\"\n"));
  CHECK(holdfast.get("/").status == 202);
}

TEST_CASE("another upstream gets the request as it came") {
  ScriptedUpstream app(send_and_reset(""));
  ScriptedUpstream backup(echo());
  const Holdfast holdfast(falling_back(app, upstream_fallback, backup_table(backup)));
  const Response response = fetch(holdfast.address(), "/p?q=1", {{"X-A", "1"}}, "PUT", "body");
  CHECK(response.status == 200);
  CHECK(response.body == "body");
  CHECK(proxy_status(response, "error") == "connection_terminated");
  CHECK(has_proxy_status(response, "fallback"));
  CHECK(backup.last_request().target == "/p?q=1");
  CHECK(backup.last_request().headers.get("X-A") == "1");
}

TEST_CASE("when the other upstream fails too, the next fallback is tried") {
  ScriptedUpstream app(send_and_reset(""));
  ScriptedUpstream backup(send_and_reset(""));
  const Holdfast holdfast(
      falling_back(app, upstream_fallback + static_fallback, backup_table(backup)));
  CHECK(holdfast.get("/").body == "{\"recommendations\":[]}");
  CHECK(backup.request_count() >= 1);
}

TEST_CASE("a POST that was sent is not sent to another upstream") {
  ScriptedUpstream app(send_and_reset(""));
  ScriptedUpstream backup(echo());
  const Holdfast holdfast(
      falling_back(app, upstream_fallback + static_fallback, backup_table(backup)));
  CHECK(holdfast.post("/", "x").body == "{\"recommendations\":[]}");
  CHECK(backup.request_count() == 0);
}

TEST_CASE("a POST that was never sent goes to the other upstream") {
  ScriptedUpstream app(reply(200));
  app.refuse();
  ScriptedUpstream backup(echo());
  const Holdfast holdfast(
      falling_back(app, upstream_fallback + static_fallback, backup_table(backup)));
  CHECK(holdfast.post("/", "body").body == "body");
}

TEST_CASE("a body that was not kept whole does not go to another upstream") {
  ScriptedUpstream app(reply(500));
  ScriptedUpstream backup(echo());
  Setup setup = falling_back(app, upstream_fallback + static_fallback, backup_table(backup));
  setup.route.replace(setup.route.find("1 }"), 1, "1, body_limit = \"1KiB\"");
  const Holdfast holdfast(setup);
  const std::string kept(1024, 'x');
  CHECK(fetch(holdfast.address(), "/", {}, "PUT", kept).body == kept);
  CHECK(fetch(holdfast.address(), "/", {}, "PUT", kept + "y").body == "{\"recommendations\":[]}");
  CHECK(backup.request_count() == 1);
}

TEST_CASE("a failure in the middle of a body has no fallback") {
  ScriptedUpstream app(send_and_reset("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart"));
  const Holdfast holdfast(falling_back(app, static_fallback));
  const Response response = holdfast.get("/");
  CHECK_FALSE(response.complete);
  CHECK(response.body.find("recommendations") == std::string::npos);
}

TEST_CASE("a client's own mistake has no fallback") {
  ScriptedUpstream app(reply(200));
  const Holdfast holdfast(falling_back(app, static_fallback));
  CHECK(holdfast.get("/", {{"Expect", "nonsense"}}).status == 417);
}
