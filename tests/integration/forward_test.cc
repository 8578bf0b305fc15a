// Forward mode: what an app gets that has HTTP_PROXY set and nothing else changed. Names are those
// of an /etc/hosts of the test's own.
#include "tests/support/forward_setup.h"
#include "tests/support/keyed_setup.h"

using namespace holdfast::testing;

namespace {

Response ask(const Holdfast& holdfast, std::string_view uri, const Headers& headers = {}) {
  return fetch(holdfast.address(), uri, headers);
}

}  // namespace

TEST_CASE("an absolute target goes to the host it names, with the Host of the target") {
  if (no_machine()) return;
  ScriptedUpstream app(reply(200, "app"));
  const std::string port = port_of(app.address());
  const Holdfast holdfast(Forward(wildcard(port)).text);
  CHECK(ask(holdfast, "http://app.internal:" + port + "/path?q=1").body == "app");
  CHECK(app.last_request().target == "/path?q=1");
  CHECK(app.last_request().headers.get("Host") == "app.internal:" + port);
  CHECK(ask(holdfast, "http://deep.app.internal:" + port + "/").body == "app");
  // What Host says counts for nothing beside the target (RFC 9112 §3.2.2).
  CHECK(ask(holdfast, "http://other.internal:" + port + "/", {{"Host", "outside.test"}}).body ==
        "app");
  CHECK(app.last_request().headers.get("Host") == "other.internal:" + port);
  // Case is nothing in a name; what is meant for the proxy is not passed on.
  CHECK(ask(holdfast, "http://APP.Internal:" + port + "/",
            {{"Proxy-Connection", "keep-alive"}, {"Proxy-Authorization", "Basic eDp5"}})
            .body == "app");
  CHECK_FALSE(app.last_request().headers.has("Proxy-Connection"));
  CHECK_FALSE(app.last_request().headers.has("Proxy-Authorization"));
  CHECK(holdfast.metric("http_client_requests_total", {{"host", "internal"}, {"status", "200"}}) ==
        4);
}

TEST_CASE("it is no open proxy: what no route covers and no allow names is not gone to") {
  if (no_machine()) return;
  ScriptedUpstream app(reply(200, "app"));
  const std::string port = port_of(app.address());
  const Holdfast holdfast(Forward(wildcard(port)).text);
  for (const std::string& uri : std::vector<std::string>{
           "http://outside.test:" + port + "/", "http://127.0.0.1:" + port + "/",
           "http://internal:" + port + "/", "http://app.internal.outside.test:" + port + "/",
           "http://[::1]:" + port + "/", "http://" + holdfast.admin_address() + "/metrics"}) {
    CAPTURE(uri);
    check_problem(ask(holdfast, uri), 404, "no-route");
  }
  for (const std::string& other :
       std::vector<std::string>{"", ":22", ":" + port_of(holdfast.admin_address()),
                                ":" + port_of(holdfast.address()), ".:" + port}) {
    check_problem(ask(holdfast, "http://app.internal" + other + "/"), 403,
                  "destination-not-allowed");
  }
  check_problem(ask(holdfast, "http://user:secret@app.internal:" + port + "/"), 400, "bad-request");
  check_problem(ask(holdfast, "https://app.internal:" + port + "/"), 400, "bad-request");
  check_problem(ask(holdfast, "/path"), 400, "bad-request");
  check_problem(fetch(holdfast.address(), "*", {}, "OPTIONS"), 400, "bad-request");
  CHECK(app.request_count() == 0);
}

TEST_CASE("allow names what may be asked for beside the routes") {
  if (no_machine()) return;
  ScriptedUpstream app(reply(200, "app"));
  const std::string port = port_of(app.address());
  const Holdfast holdfast(
      Forward("", "allow = [\"*.internal:" + port + "\", \"127.0.0.1:" + port + "\"]").text);
  CHECK(ask(holdfast, "http://app.internal:" + port + "/").body == "app");
  CHECK(ask(holdfast, "http://127.0.0.1:" + port + "/").body == "app");
  check_problem(ask(holdfast, "http://outside.test:" + port + "/"), 404, "no-route");
  check_problem(ask(holdfast, "http://app.internal/"), 403, "destination-not-allowed");
  RawClient client = holdfast.client();
  CHECK(tunnel_to(client, "app.internal:" + port).status == 200);
  CHECK(holdfast.metric("http_client_requests_total",
                        {{"host", "allow:proxy"}, {"method", "GET"}}) == 2);
}

TEST_CASE("a route to a fixed upstream takes its host, wherever that is") {
  ScriptedUpstream app(reply(200, "app"));
  const Holdfast holdfast(
      Forward("[upstream.pay]\nendpoints = [\"" + app.url() +
              "\"]\n[[route]]\nmatch = { host = \"pay.local\" }\nupstream = \"pay\"\n")
          .text);
  CHECK(ask(holdfast, "http://pay.local/charge").body == "app");
  CHECK(app.last_request().headers.get("Host") == "pay.local");
  // A tunnel goes to what it names, and the upstream is not called that.
  RawClient client = holdfast.client();
  check_problem(tunnel_to(client, "pay.local:80"), 403, "destination-not-allowed");
  RawClient by_address = holdfast.client();
  check_problem(tunnel_to(by_address, app.address()), 403, "destination-not-allowed");
}

TEST_CASE("each destination has a breaker of its own, and retries") {
  if (no_machine()) return;
  ScriptedUpstream app([](Exchange& exchange) {
    const bool bad = exchange.request.headers.get("Host").starts_with("app.");
    exchange.respond(bad ? 500 : 200);
  });
  const std::string port = port_of(app.address());
  const Holdfast holdfast(
      Forward(wildcard(port) + "[upstream.internal.breaker]\nconsecutive_failures = 2\n").text);
  for (int i = 0; i < 2; ++i) {
    CHECK(ask(holdfast, "http://app.internal:" + port + "/").status == 500);
  }
  const Response refused = ask(holdfast, "http://app.internal:" + port + "/");
  check_problem(refused, 503, "destination-unavailable", "destination_unavailable");
  CHECK(ask(holdfast, "http://other.internal:" + port + "/").status == 200);
  app.answer(in_turn({reply(503), reply(200, "second")}));
  CHECK(ask(holdfast, "http://other.internal:" + port + "/").body == "second");
  CHECK(holdfast.metric("holdfast_retries_total", {{"route", "internal"}}) == 1);
}

TEST_CASE("a reload forgets no destination: its breaker stays open, its connections are used") {
  if (no_machine()) return;
  ScriptedUpstream app([](Exchange& exchange) {
    const bool bad = exchange.request.headers.get("Host").starts_with("app.");
    exchange.respond(bad ? 500 : 200);
  });
  const std::string port = port_of(app.address());
  const Forward forward(wildcard(port, "retry = { attempts = 1 }") +
                        "[upstream.internal.breaker]\nconsecutive_failures = 1\n"
                        "open_for = \"1h\"\n[server]\nworkers = 1\n");
  Holdfast holdfast(forward.text);
  CHECK(ask(holdfast, "http://app.internal:" + port + "/").status == 500);
  CHECK(ask(holdfast, "http://other.internal:" + port + "/").status == 200);
  const auto put_back = [&] {  // an answer comes before its connection is put back
    const Labels idle = {{"upstream", "internal"}, {"state", "idle"}};
    return holdfast.wait_metric("holdfast_upstream_connections", idle, 2);
  };
  CHECK(put_back());
  const std::size_t connections = app.connection_count();
  for (int i = 0; i < 3; ++i) {
    REQUIRE(holdfast.reload(forward.text + "# " + std::to_string(i) + "\n"));
    const Response refused = ask(holdfast, "http://app.internal:" + port + "/");
    check_problem(refused, 503, "destination-unavailable", "destination_unavailable");
    CHECK(ask(holdfast, "http://other.internal:" + port + "/").status == 200);
    CHECK(put_back());
  }
  CHECK(app.connection_count() == connections);
}

TEST_CASE("a keyed POST runs once, and one key at two hosts is two keys") {
  if (no_machine()) return;
  ScriptedUpstream app(reply(201, "made"));
  const std::string port = port_of(app.address());
  const Holdfast holdfast(Forward(wildcard(port, "[route.idempotency]\nenabled = true\n") +
                                  "[store]\nkind = \"memory\"\n")
                              .text);
  const auto post = [&](const std::string& host) {
    return fetch(holdfast.address(), "http://" + host + ":" + port + "/charge", with_key("k"),
                 "POST", "body");
  };
  CHECK(post("app.internal").status == 201);
  CHECK(post("app.internal").status == 201);
  CHECK(app.request_count() == 1);
  CHECK(post("other.internal").status == 201);
  CHECK(app.request_count() == 2);
}

TEST_CASE("a tunnel carries bytes both ways, early ones too, and a half-close") {
  if (no_machine()) return;
  ListeningSocket peer("127.0.0.1:0");
  const std::string authority = "app.internal:" + port_of(peer.address());
  const Holdfast holdfast(Forward(wildcard(port_of(peer.address()))).text);
  RawClient client = holdfast.client();
  const Response opened = tunnel_to(client, authority, "early ");
  CHECK(opened.status == 200);
  CHECK(opened.complete);
  std::optional<Socket> far = peer.accept(patience);
  REQUIRE(far);
  WireReader reader(*far);
  CHECK(reader.read_exactly(6) == "early ");
  client.send("more");
  CHECK(reader.read_exactly(4) == "more");
  far->send("back");
  CHECK(client.reader().read_exactly(4) == "back");
  client.half_close();
  CHECK(far->receive(1).empty());
  far->send("last");
  far->close();
  CHECK(client.read_to_end() == "last");
  const nlohmann::json line = holdfast.wait_access_log(1);
  CHECK(line["method"] == "CONNECT");
  CHECK(line["status"] == 200);
  CHECK(line["upstream"] == "internal");
  CHECK(line["bytes_in"] == 10);
  CHECK(holdfast.metric("http_client_requests_total",
                        {{"host", "internal"}, {"method", "CONNECT"}, {"status", "200"}}) == 1);
}

TEST_CASE("a tunnel to a port that allow names beside the route of its host") {
  if (no_machine()) return;
  ScriptedUpstream app(reply(200, "app"));
  ScriptedUpstream other(reply(200, "other"));
  const std::string port = port_of(app.address());
  const std::string allowed = port_of(other.address());
  const Holdfast holdfast(Forward(wildcard(port), "allow = [\"*.internal:" + allowed + "\"]").text);
  RawClient client = holdfast.client();
  CHECK(tunnel_to(client, "app.internal:" + allowed).status == 200);
  client.send(request_text("GET", "/"));
  CHECK(client.read_response().body == "other");
}

TEST_CASE("what a route answers by itself is no way for a tunnel, whatever else covers it") {
  if (no_machine()) return;
  ScriptedUpstream app(reply(200, "app"));
  const std::string port = port_of(app.address());
  for (const std::string path : {"", ", path_prefix = \"/\""}) {
    CAPTURE(path);
    const std::string closed = "[[route]]\nmatch = { host = \"secret.internal\"" + path +
                               " }\nrespond = { status = 403 }\n";
    const Holdfast holdfast(
        Forward(closed + wildcard(port), "allow = [\"*.internal:" + port + "\"]").text);
    RawClient client = holdfast.client();
    check_problem(tunnel_to(client, "secret.internal:" + port), 403, "destination-not-allowed");
    CHECK(client.wait_for_close() == Fault::end);
    RawClient other = holdfast.client();
    CHECK(tunnel_to(other, "app.internal:" + port).status == 200);
  }
  CHECK(app.request_count() == 0);
}

TEST_CASE("a tunnel that is refused: 403, and nothing behind it is a request") {
  if (no_machine()) return;
  ScriptedUpstream app(reply(200, "app"));
  const std::string port = port_of(app.address());
  const Holdfast holdfast(Forward(wildcard(port)).text);
  const std::string smuggled =
      "GET http://app.internal:" + port + "/ HTTP/1.1\r\nHost: app.internal\r\n\r\n";
  for (const std::string& authority : std::vector<std::string>{
           std::string("app.internal:22"), "outside.test:" + port, "127.0.0.1:" + port,
           holdfast.admin_address(), holdfast.address(), "[::1]:" + port, "internal:" + port}) {
    CAPTURE(authority);
    RawClient client = holdfast.client();
    const Response refused = tunnel_to(client, authority, smuggled);
    check_problem(refused, 403, "destination-not-allowed");
    CHECK(client.wait_for_close() == Fault::end);
  }
  for (const std::string& bad :
       std::vector<std::string>{"app.internal", "/", "http://app.internal:" + port + "/",
                                "user@app.internal:" + port, "app.internal:0", ":" + port}) {
    CAPTURE(bad);
    RawClient client = holdfast.client();
    check_problem(tunnel_to(client, bad, smuggled), 400, "bad-request");
    CHECK(client.wait_for_close() == Fault::end);
  }
  RawClient with_body = holdfast.client();
  with_body.send("CONNECT app.internal:" + port +
                 " HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
  check_problem(with_body.read_response(), 400, "bad-request");
  CHECK(app.request_count() == 0);
}

TEST_CASE("a tunnel whose destination fails: a problem, and its breaker") {
  if (no_machine()) return;
  const std::string closed = std::to_string(free_port());
  const BlackHole hole;
  const std::string silent = port_of(hole.address());
  const auto upstream = [](const std::string& name, const std::string& host,
                           const std::string& port) {
    return "[upstream." + name + "]\nendpoints = [\"http://" + host + ":" + port +
           "\"]\n[upstream." + name + ".breaker]\nconsecutive_failures = 1\n[[route]]\n" +
           "match = { host = \"" + host + "\" }\nupstream = \"" + name +
           "\"\ntimeout = { connect = \"200ms\" }\nretry = { attempts = 1 }\n";
  };
  const Holdfast holdfast(Forward(upstream("closed", "app.internal", closed) +
                                  upstream("silent", "other.internal", silent) +
                                  upstream("missing", "missing.internal", "80"))
                              .text);
  const auto connect = [&](const std::string& authority) {
    RawClient client = holdfast.client();
    return tunnel_to(client, authority);
  };
  check_problem(connect("app.internal:" + closed), 502, "connection-refused", "connection_refused");
  check_problem(connect("app.internal:" + closed), 503, "destination-unavailable");
  check_problem(connect("other.internal:" + silent), 504, "connection-timeout",
                "connection_timeout");
  const Response missing = connect("missing.internal:80");
  CHECK((missing.status == 502 || missing.status == 504));  // nobody answers for names here
}

TEST_CASE("a reverse listener beside it takes no CONNECT, and absolute targets as before") {
  if (no_machine()) return;
  ScriptedUpstream app(reply(200, "app"));
  const std::string reverse = "127.0.0.1:" + std::to_string(free_port());
  Forward forward("[[listener]]\nname = \"reverse\"\nlisten = \"" + reverse +
                  "\"\n[upstream.app]\n" + "endpoints = [\"" + app.url() +
                  "\"]\n[[route]]\nupstream = \"app\"\n");
  const Holdfast holdfast(forward.text);
  RawClient client(reverse);
  check_problem(tunnel_to(client, "app.internal:80"), 405, "method-not-allowed");
  CHECK(fetch(reverse, "http://anything.test/").body == "app");
  CHECK(fetch(reverse, "/path").body == "app");
}

TEST_CASE("a request that comes round to its own listener ends") {
  const std::string own = "127.0.0.1:" + std::to_string(free_port());
  const Holdfast holdfast("[[listener]]\nname = \"proxy\"\nlisten = \"" + own +
                          "\"\nmode = \"forward\"\nallow = [\"" + own + "\"]\n");
  // What holdfast sends to an origin has a path for its target, which no forward proxy takes.
  const Response response = ask(holdfast, "http://" + own + "/");
  CHECK(response.status == 400);
}

TEST_CASE("destinations are bounded, and those that are not used make room") {
  if (no_machine()) return;
  ScriptedUpstream app(reply(200, "app"));
  const std::string port = port_of(app.address());
  const Holdfast holdfast(Forward(wildcard(port,
                                           "timeout = { connect = \"100ms\" }\n"
                                           "retry = { attempts = 1 }"))
                              .text);
  for (int i = 0; i < 300; ++i) {
    RawClient client = holdfast.client();
    client.send("GET http://n" + std::to_string(i) + ".internal:" + port +
                "/ HTTP/1.1\r\nHost: a\r\n\r\n");
    CHECK(client.read_response().status >= 502);
  }
  CHECK(ask(holdfast, "http://app.internal:" + port + "/").body == "app");
}

TEST_CASE("an operator sees where requests go, and cannot take out what they choose") {
  if (no_machine()) return;
  ScriptedUpstream app([](Exchange& exchange) {
    exchange.respond(exchange.request.headers.get("Host").starts_with("app.") ? 500 : 200);
  });
  const std::string port = port_of(app.address());
  Holdfast holdfast(Forward(wildcard(port, "retry = { attempts = 1 }") +
                            "[upstream.internal.breaker]\nconsecutive_failures = 1\n")
                        .text);
  CHECK(ask(holdfast, "http://app.internal:" + port + "/").status == 500);
  CHECK(ask(holdfast, "http://other.internal:" + port + "/").status == 200);
  nlohmann::json upstream;
  const auto idle_at_other = [&] {
    upstream = nlohmann::json::parse(holdfast.admin("/upstreams").body)["upstreams"][0];
    return upstream["destinations"][1]["connections"]["idle"] == 1;
  };
  CHECK(eventually(idle_at_other));  // the answer comes before its connection is put back
  REQUIRE(upstream["destinations"].size() == 2);
  const nlohmann::json& refused = upstream["destinations"][0];
  CHECK(refused["destination"] == "app.internal:" + port);
  CHECK(refused["breaker"] == "open");
  const std::string endpoint = refused["endpoints"][0]["endpoint"];
  CHECK(endpoint == "app.internal:" + port + " 127.0.0.1:" + port);
  CHECK(upstream["destinations"][1]["breaker"] == "closed");
  CHECK(holdfast.metric("holdfast_upstream_destinations",
                        {{"upstream", "internal"}, {"state", "open"}}) == 1);
  CHECK(holdfast.admin("/metrics").body.find("app.internal") == std::string::npos);
  for (const std::string& one : {endpoint, "*.internal:" + port}) {
    const Response response = fetch(holdfast.admin_address(), "/upstreams/drain",
                                    {{"Host", "localhost"}, {"X-Holdfast-Admin", "1"}}, "POST",
                                    R"({"upstream":"internal","endpoint":")" + one + "\"}");
    check_problem(response, 409, "chosen-by-requests");
  }
}
