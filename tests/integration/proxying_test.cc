// How messages go through: connections, bodies, interim responses, addresses of every kind.
#include "tests/support/suite.h"

using namespace holdfast::testing;

namespace {

Handler until_close(const std::string& body) {
  return send_and_close("HTTP/1.1 200 OK\r\n\r\n" + body);
}

Handler chunked(const std::string& body, const std::string& trailers = "") {
  return send_raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(body) + "0\r\n" +
                  trailers + "\r\n");
}

const std::string chunked_post =
    "POST / HTTP/1.1\r\nHost: test.local\r\nTransfer-Encoding: chunked\r\n\r\n";

}  // namespace

TEST_CASE("requests on one client connection use one upstream connection") {
  ScriptedUpstream app(echo());
  const Holdfast holdfast(Setup{.endpoints = {app.url()}});
  RawClient client = holdfast.client();
  for (const std::string body : {"one", "two", "three"}) CHECK(client.post("/", body).body == body);
  CHECK(app.connection_count() == 1);
}

TEST_CASE("pipelined requests are answered in their order") {
  Gate gate;
  ScriptedUpstream app([&](Exchange& exchange) {
    if (exchange.request.target == "/slow") exchange.hold(gate);
    exchange.respond(200, exchange.request.target);
  });
  const Holdfast holdfast(Setup{.endpoints = {app.url()}});
  RawClient client = holdfast.client();
  client.send(request_text("GET", "/slow") + request_text("GET", "/fast") +
              request_text("POST", "/last", {}, "body"));
  REQUIRE(app.wait_for_requests(1));
  gate.open();
  CHECK(client.read_response().body == "/slow");
  CHECK(client.read_response().body == "/fast");
  CHECK(client.read_response().body == "/last");
}

TEST_CASE("a pipelined request after Connection: close is not answered") {
  ScriptedUpstream app(reply(200, "x"));
  const Holdfast holdfast(Setup{.endpoints = {app.url()}});
  RawClient client = holdfast.client();
  client.send(request_text("GET", "/one", {{"Connection", "close"}}) + request_text("GET", "/two"));
  const Response response = client.read_response();
  CHECK(response.status == 200);
  CHECK(response.headers.get("Connection") == "close");
  CHECK(client.read_to_end().empty());
  CHECK(app.request_count() == 1);
}

TEST_CASE("request bodies arrive byte for byte, by length and by chunks") {
  ScriptedUpstream app(echo());
  const Holdfast holdfast(Setup{.endpoints = {app.url()}});
  RawClient client = holdfast.client();
  std::string body;
  for (int byte = 0; byte < 70000; ++byte) body += static_cast<char>(byte * 7 % 256);
  CHECK(client.post("/", body).body == body);
  client.send(chunked_post + chunk(body.substr(0, 1)) + chunk(body.substr(1)) + "0\r\n\r\n");
  CHECK(client.read_response().body == body);
  client.send(chunked_post + "0\r\n\r\n");
  CHECK(client.read_response().body.empty());
  CHECK(client.get("/").status == 200);
}

TEST_CASE("response bodies of every framing arrive, and the client's connection stays") {
  ScriptedUpstream app(in_turn({reply(200, "length"), chunked("chunks"), until_close("until close"),
                                until_close(""), chunked(""), reply(200, "")}));
  const Holdfast holdfast(Setup{.endpoints = {app.url()}});
  RawClient client = holdfast.client();
  for (const std::string body : {"length", "chunks", "until close", "", "", ""}) {
    const Response response = client.get("/");
    CAPTURE(response.reason);
    CHECK(response.complete);
    CHECK(response.body == body);
    CHECK_FALSE(response.headers.has("Connection"));
  }
}

TEST_CASE("an HTTP/1.0 client gets the plain body and the end of the connection") {
  ScriptedUpstream app(in_turn({reply(200, "body"), chunked("body"), until_close("body")}));
  const Holdfast holdfast(Setup{.endpoints = {app.url()}});
  for (int framing = 0; framing < 3; ++framing) {
    RawClient client = holdfast.client();
    client.send("GET / HTTP/1.0\r\nHost: test.local\r\nConnection: keep-alive\r\n\r\n");
    Fault fault = Fault::none;
    const std::string answer = client.read_to_end(&fault);
    CAPTURE(answer);
    CHECK(answer.ends_with("\r\n\r\nbody"));
    CHECK(answer.find("Transfer-Encoding") == answer.npos);
    CHECK(fault == Fault::end);
  }
  CHECK(app.last_request().version == "HTTP/1.1");
}

TEST_CASE("an HTTP/1.0 request may lack Host: the endpoint's is sent") {
  ScriptedUpstream app(reply(200));
  const Holdfast holdfast(Setup{.endpoints = {app.url()}});
  RawClient client = holdfast.client();
  client.send("GET / HTTP/1.0\r\n\r\n");
  CHECK(client.read_response().status == 200);
  CHECK(app.last_request().headers.get("Host") == app.address());
}

TEST_CASE("request trailers are dropped unless the route names them") {
  ScriptedUpstream app(echo());
  const Holdfast holdfast(Setup{.endpoints = {app.url()}, .route = R"(
    match = { path = "/with" }
    trailers = ["X-Checksum"]
    [[route]]
    upstream = "app")"});
  RawClient client = holdfast.client();
  for (const bool allowed : {true, false}) {
    std::string head = chunked_post;
    if (allowed) head.replace(head.find("/ "), 1, "/with");
    client.send(head + chunk("body") + "0\r\nX-Checksum: 42\r\nX-Other: 1\r\n\r\n");
    CHECK(client.read_response().body == "body");
    const Request seen = app.last_request();
    CHECK(seen.trailers.get("X-Checksum") == (allowed ? "42" : ""));
    CHECK_FALSE(seen.trailers.has("X-Other"));
    CHECK_FALSE(seen.headers.has("X-Checksum"));
  }
}

TEST_CASE("a trailer that Connection names is of this hop alone, both ways (RFC 9110 §7.6.1)") {
  ScriptedUpstream app([](Exchange& exchange) {
    exchange.send("HTTP/1.1 200 OK\r\nConnection: x-hop\r\nTransfer-Encoding: chunked\r\n\r\n" +
                  chunk("body") + "0\r\nX-Hop: 1\r\nX-End: 2\r\n\r\n");
  });
  const Holdfast holdfast(
      Setup{.endpoints = {app.url()}, .route = "trailers = [\"X-Hop\", \"X-End\"]"});
  RawClient client = holdfast.client();
  std::string head = chunked_post;
  head.insert(head.size() - 2, "Connection: X-HOP\r\n");
  client.send(head + chunk("body") + "0\r\nX-Hop: 1\r\nX-End: 2\r\n\r\n");
  const Response response = client.read_response();
  for (const Headers& trailers : {app.last_request().trailers, response.trailers}) {
    CHECK_FALSE(trailers.has("X-Hop"));
    CHECK(trailers.get("X-End") == "2");
  }
}

TEST_CASE("response trailers that no route names are dropped and the body stays whole") {
  ScriptedUpstream app(chunked("body", "X-Checksum: 42\r\n"));
  const Holdfast holdfast(Setup{.endpoints = {app.url()}});
  const Response response = holdfast.get("/");
  CHECK(response.complete);
  CHECK(response.body == "body");
  CHECK_FALSE(response.trailers.has("X-Checksum"));
  CHECK_FALSE(response.headers.has("X-Checksum"));
}

TEST_CASE("interim responses are passed on, but not to HTTP/1.0") {
  ScriptedUpstream app(send_raw("HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n" +
                                response_text(200, "body")));
  const Holdfast holdfast(Setup{.endpoints = {app.url()}});
  const Response response = holdfast.get("/");
  CHECK(response.body == "body");
  REQUIRE(response.interim.size() == 1);
  CHECK(response.interim[0].status == 103);
  CHECK(response.interim[0].headers.get("Link") == "</style.css>");
  RawClient old = holdfast.client();
  old.send("GET / HTTP/1.0\r\nHost: test.local\r\n\r\n");
  CHECK(old.read_to_end().starts_with("HTTP/1.1 200 "));
}

TEST_CASE("sixteen interim responses are passed on, a seventeenth is an error of the upstream") {
  const std::string interim = "HTTP/1.1 103 Early Hints\r\n\r\n";
  ScriptedUpstream app([&](Exchange& exchange) {
    const int count = std::stoi(exchange.request.target.substr(1));
    for (int sent = 0; sent < count; ++sent) exchange.send(interim);
    exchange.respond(200, "body");
  });
  const Holdfast holdfast(Setup{.endpoints = {app.url()}, .route = "retry = { attempts = 1 }"});
  CHECK(holdfast.get("/16").interim.size() == 16);
  const Response flood = holdfast.get("/17");
  CHECK(flood.status != 200);
  if (flood.complete) check_problem(flood, 502, "http-protocol-error", "http_protocol_error");
}

TEST_CASE("interim responses of one attempt are passed on, not those of the next") {
  const std::string hint = "HTTP/1.1 103 Early Hints\r\nX-Attempt: ";
  const auto attempt = [&](const std::string& number, int status) {
    return send_raw(hint + number + "\r\n\r\n" + hint + number + "\r\n\r\n" +
                    response_text(status, "body"));
  };
  ScriptedUpstream app(in_turn({reply(503), attempt("2", 503), attempt("3", 200)}));
  const Holdfast holdfast(Setup{.endpoints = {app.url()}});
  RawClient client = holdfast.client();
  const Response response = client.get("/");
  CHECK(response.status == 200);
  REQUIRE(response.interim.size() == 2);
  for (const auto& interim : response.interim) CHECK(interim.headers.get("X-Attempt") == "2");
  // The next request begins anew.
  CHECK(client.get("/").interim.size() == 2);
}

TEST_CASE("answers without a body do not wait for one") {
  ScriptedUpstream app([](Exchange& exchange) {
    const std::string status = exchange.request.target.substr(1);
    exchange.send("HTTP/1.1 " + status + " Scripted\r\n" +
                  (status == "204" ? "" : "Content-Length: 50\r\n") + "\r\n");
  });
  const Holdfast holdfast(Setup{.endpoints = {app.url()}});
  RawClient client = holdfast.client();
  const Response head = client.request("HEAD", "/200");
  CHECK(head.complete);
  CHECK(head.headers.get("Content-Length") == "50");
  CHECK(client.get("/204").complete);
  CHECK_FALSE(client.get("/204").headers.has("Content-Length"));
  CHECK(client.get("/304").complete);
  CHECK(app.connection_count() == 1);
}

TEST_CASE("holdfast answers Expect: 100-continue itself, then forwards") {
  ScriptedUpstream app(echo());
  const Holdfast holdfast(Setup{.endpoints = {app.url()}});
  RawClient client = holdfast.client();
  client.send(
      "POST / HTTP/1.1\r\nHost: test.local\r\nExpect: 100-continue\r\n"
      "Content-Length: 4\r\n\r\n");
  CHECK(client.reader().read_line() == "HTTP/1.1 100 Continue");
  while (!client.reader().read_line().empty()) {
  }
  client.send("body");
  const Response response = client.read_response();
  CHECK(response.body == "body");
  CHECK(response.interim.empty());
  CHECK_FALSE(app.last_request().headers.has("Expect"));
}

TEST_CASE("another expectation is refused with 417, and HTTP/1.0 has none") {
  ScriptedUpstream app(echo());
  const Holdfast holdfast(Setup{.endpoints = {app.url()}});
  check_problem(holdfast.post("/", "body", {{"Expect", "200-maybe"}}), 417, "expectation-failed");
  RawClient old = holdfast.client();
  old.send("POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx");
  CHECK(old.read_to_end().starts_with("HTTP/1.1 200 "));
  CHECK(app.request_count() == 1);
}

TEST_CASE("a request that is refused is not asked for its body") {
  const Holdfast holdfast("[[route]]\nrespond = { status = 403 }\nmatch = { path = \"/here\" }\n");
  RawClient client = holdfast.client();
  client.send(
      "POST /none HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
      "Content-Length: 4\r\n\r\n");
  const Response response = client.read_response();
  CHECK(response.status == 404);
  CHECK(response.interim.empty());
}

TEST_CASE("a listener may be IPv6 or a unix socket, and so may an upstream") {
  const TemporaryFolder folder;
  ScriptedUpstream unix_app(reply(200, "unix"), BodyReading::first, "unix:" + folder.path() + "/u");
  const std::string port = std::to_string(free_port());
  const std::string unix_listener = "unix:" + folder.path() + "/l";
  std::string text = "[[listener]]\nlisten = \"127.0.0.1:" + port +
                     "\"\n[[listener]]\nlisten = \"" + unix_listener + "\"\n";
  if (has_ipv6()) text += "[[listener]]\nlisten = \"[::1]:" + port + "\"\n";
  text += "[server]\nworkers = 2\n[upstream.app]\nendpoints = [\"" + unix_app.url() + "\"]\n";
  const Holdfast holdfast(text + "[[route]]\nupstream = \"app\"\n");
  CHECK(holdfast.get("/").body == "unix");
  for (int connection = 0; connection < 4; ++connection) {
    CHECK(fetch(unix_listener, "/").body == "unix");
  }
  if (!has_ipv6()) return;
  CHECK(fetch("[::1]:" + port, "/").body == "unix");
  CHECK(unix_app.last_request().headers.get("X-Forwarded-For").find("::1") != std::string::npos);
}

TEST_CASE("an upstream may listen on IPv6") {
  if (!has_ipv6()) return;
  ScriptedUpstream app(reply(200, "six"), BodyReading::first, "[::1]:0");
  const Holdfast holdfast(Setup{.endpoints = {app.url()}});
  CHECK(holdfast.get("/").body == "six");
}

TEST_CASE("host names are resolved; a name that does not exist is a dns_error") {
  ScriptedUpstream app(reply(200, "named"));
  const std::string port = app.address().substr(app.address().find(':'));
  const Holdfast holdfast(
      "[upstream.app]\nendpoints = [\"http://localhost" + port +
          "\"]\n[upstream.nowhere]\nendpoints = [\"http://no-such-host.invalid\"]\n"
          "[[route]]\nmatch = { path = \"/nowhere\" }\nupstream = \"nowhere\"\n"
          "timeout = { connect = \"10s\" }\nretry = { attempts = 1 }\n"
          "[[route]]\nupstream = \"app\"\n",
      {.environment = {{"RES_OPTIONS", "timeout:1 attempts:1"}}});
  CHECK(holdfast.get("/").body == "named");
  check_problem(holdfast.get("/nowhere"), 502, "dns-error", "dns_error");
}

TEST_CASE("an answer that is no HTTP is a 502 and its connection is not used again") {
  ScriptedUpstream app(in_turn({send_raw("SSH-2.0-OpenSSH_9.2\r\n\r\n"), reply(200)}));
  const Holdfast holdfast(Setup{.endpoints = {app.url()}, .route = "retry = { attempts = 1 }"});
  check_problem(holdfast.get("/"), 502, "http-protocol-error", "http_protocol_error");
  CHECK(holdfast.get("/").status == 200);
  CHECK(app.connection_count() == 2);
}

TEST_CASE("bytes after a response end the upstream connection and reach nobody") {
  ScriptedUpstream app(in_turn(
      {send_raw(response_text(200, "one") + response_text(200, "POISON")), reply(200, "two")}));
  const Holdfast holdfast(Setup{.endpoints = {app.url()}});
  RawClient client = holdfast.client();
  CHECK(client.get("/").body == "one");
  CHECK(client.get("/").body == "two");
  CHECK(app.connection_count() == 2);
}

TEST_CASE("a client that goes away ends its attempt") {
  ScriptedUpstream app(never_answer());
  const Holdfast holdfast(Setup{.endpoints = {app.url()}});
  RawClient client = holdfast.client();
  client.send(request_text("GET", "/"));
  REQUIRE(app.wait_for_requests(1));
  const Stopwatch since;
  client.reset();
  CHECK(eventually([&] { return app.open_connections() == 0; }));
  CHECK(since.elapsed() < 10s);  // not the end of `total`
  CHECK(app.request_count() == 1);
}

TEST_CASE("a client that has only ended its own sending is still answered") {
  Gate gate;
  ScriptedUpstream app(after(gate, reply(200, "answer")));
  const Holdfast holdfast(Setup{.endpoints = {app.url()}});
  RawClient client = holdfast.client();
  client.send(request_text("GET", "/"));
  client.half_close();
  REQUIRE(app.wait_for_requests(1));
  gate.open();
  CHECK(client.read_response().body == "answer");
  CHECK(client.wait_for_close() == Fault::end);
}

TEST_CASE("an early answer ends an upload without losing the answer") {
  ScriptedUpstream app(reply(403, "enough"), BodyReading::by_handler);
  const Holdfast holdfast(Setup{.endpoints = {app.url()}});
  RawClient client = holdfast.client();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nfirst");
  const Response response = client.read_response();
  CHECK(response.status == 403);
  CHECK(response.body == "enough");
  CHECK(response.headers.get("Connection") == "close");
}
