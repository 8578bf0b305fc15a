// The limits of [server], each with its status, and what becomes of the connection.
#include "tests/support/suite.h"

using namespace holdfast::testing;

namespace {

/// A server with these limits in front of an upstream that says 200.
struct Limited {
  explicit Limited(const std::string& server)
      : app(reply(200)), holdfast(Setup{.endpoints = {app.url()}, .server = server}) {}

  ScriptedUpstream app;
  Holdfast holdfast;
};

/// The answer to these bytes, after which the connection must end.
Response refused(const Holdfast& holdfast, std::string_view bytes) {
  RawClient client = holdfast.client();
  client.send_if_open(bytes);
  const Response response = client.read_response();
  CHECK(response.headers.get("Connection") == "close");
  CHECK(client.wait_for_close() == Fault::end);
  return response;
}

std::string with_fields(int count) {
  Headers headers;
  for (int index = 1; index < count; ++index) headers.add("X-" + std::to_string(index), "v");
  return request_text("GET", "/", headers);
}

}  // namespace

TEST_CASE("header_timeout: a head that takes too long is a 408") {
  Limited server("header_timeout = \"200ms\"");
  const Stopwatch since;
  check_problem(refused(server.holdfast, "GET / HTTP/1.1\r\nHost: a\r\n"), 408, "request-timeout",
                "http_request_error");
  CHECK(since.elapsed() >= 199ms);
}

TEST_CASE("header_timeout: a byte now and then does not help") {
  Limited server("header_timeout = \"300ms\"");
  RawClient client = server.holdfast.client();
  const Stopwatch since;
  while (since.elapsed() < 5s && client.wait_for_close(20ms) == Fault::timeout) {
    client.send_if_open("G");
  }
  CHECK(since.elapsed() >= 299ms);
  CHECK(since.elapsed() < 5s);
}

TEST_CASE("idle_timeout: a connection without a request is closed without a word") {
  Limited server("idle_timeout = \"200ms\"");
  RawClient silent = server.holdfast.client();
  const Stopwatch since;
  CHECK(silent.wait_for_close() == Fault::end);
  CHECK(since.elapsed() >= 199ms);
  RawClient used = server.holdfast.client();
  CHECK(used.get("/").status == 200);
  CHECK(used.wait_for_close() == Fault::end);
}

TEST_CASE("min_body_rate: a silent body is a 408 after its grace") {
  Limited server("min_body_rate = \"100KiB/s\"");
  RawClient client = server.holdfast.client();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\npart");
  const Stopwatch since;
  check_problem(client.read_response(), 408, "request-timeout", "http_request_error");
  CHECK(since.elapsed() >= 4900ms);
  CHECK(client.wait_for_close() == Fault::end);
  CHECK(eventually([&] { return server.app.open_connections() == 0; }));
}

TEST_CASE("max_target_bytes: a longer request line is a 414") {
  Limited server("max_target_bytes = \"1KiB\"");
  const std::string fits = "/" + std::string(1024 - std::string("GET / HTTP/1.1").size(), 'a');
  CHECK(server.holdfast.get(fits).status == 200);
  check_problem(refused(server.holdfast, request_text("GET", fits + "aaaa")), 414, "uri-too-long",
                "http_request_error");
}

TEST_CASE("by default a line of 8,000 octets fits and one of 70,000 does not") {
  Limited server("");
  CHECK(server.holdfast.get("/" + std::string(7985, 'a')).status == 200);
  check_problem(refused(server.holdfast, request_text("GET", "/" + std::string(70000, 'a'))), 414,
                "uri-too-long");
}

TEST_CASE("max_header_bytes: a longer head is a 431") {
  Limited server("max_header_bytes = \"2KiB\"");
  CHECK(server.holdfast.get("/", {{"X-A", std::string(1500, 'a')}}).status == 200);
  const std::string longer = request_text("GET", "/", {{"X-A", std::string(3000, 'a')}});
  check_problem(refused(server.holdfast, longer), 431, "headers-too-large", "http_request_error");
}

TEST_CASE("max_headers: more fields are a 431") {
  Limited server("max_headers = 10");
  RawClient client = server.holdfast.client();
  client.send(with_fields(10));
  CHECK(client.read_response().status == 200);
  check_problem(refused(server.holdfast, with_fields(11)), 431, "headers-too-large");
}

TEST_CASE("max_body_bytes: a larger body is a 413, at its head or when it grows") {
  Limited server("max_body_bytes = \"1KiB\"");
  const std::string fits(1024, 'x');
  CHECK(server.holdfast.post("/", fits).status == 200);
  check_problem(
      refused(server.holdfast, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1025\r\n\r\n"), 413,
      "content-too-large", "http_request_error");
  CHECK(server.app.request_count() == 1);
  const std::string chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  check_problem(refused(server.holdfast, chunked + chunk(fits) + chunk("x") + "0\r\n\r\n"), 413,
                "content-too-large");
  for (const Request& request : server.app.requests()) CHECK(request.body.size() <= 1024);
}

TEST_CASE("a refused request is counted and logged by its method, path and bytes") {
  Limited server("max_body_bytes = \"1KiB\"");
  struct Row {
    const char* bytes;
    int status;
    const char* method;
  };
  std::size_t lines = 0;
  for (const Row& row :
       {Row{"POST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 1025\r\n\r\n", 413, "POST"},
        Row{"PUT /a HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n", 417, "PUT"},
        Row{"GET /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "GET"}}) {
    CAPTURE(row.bytes);
    const Response response = refused(server.holdfast, row.bytes);
    CHECK(response.status == row.status);
    const auto line = server.holdfast.wait_access_log(++lines);
    CHECK(line["method"] == row.method);
    CHECK(line["path"] == "/a");
    CHECK(line["status"] == row.status);
    CHECK(line["bytes_out"] == response.body.size());
    CHECK(response.body.find(std::string(line["request_id"])) != std::string::npos);
    CHECK(server.holdfast.metric("holdfast_requests_total",
                                 {{"route", "none"},
                                  {"method", row.method},
                                  {"status", std::to_string(row.status)}}) == 1);
  }
}

TEST_CASE("a refused HEAD gets no body") {
  Limited server("");
  RawClient client = server.holdfast.client();
  client.send("HEAD /a HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n");
  const std::string text = client.read_to_end();
  CHECK(text.starts_with("HTTP/1.1 417 "));
  CHECK(text.ends_with("\r\n\r\n"));
  const auto line = server.holdfast.wait_access_log(1);
  CHECK(line["method"] == "HEAD");
  CHECK(line["bytes_out"] == 0);
}

TEST_CASE("a refused client can read the answer while it is still sending") {
  Limited server("max_body_bytes = \"1KiB\"");
  RawClient client = server.holdfast.client();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n");
  client.send_if_open(std::string(1000000, 'x'));
  CHECK(client.read_response().status == 413);
}

TEST_CASE("max_connections: at the limit accepting pauses, and goes on when one leaves") {
  Limited server("max_connections = 2");
  RawClient first = server.holdfast.client();
  RawClient second = server.holdfast.client();
  CHECK(first.get("/").status == 200);
  CHECK(second.get("/").status == 200);
  RawClient third = server.holdfast.client();
  third.send(request_text("GET", "/"));
  CHECK(third.wait_for_close(200ms) == Fault::timeout);
  first.close();
  CHECK(third.read_response().status == 200);
}

TEST_CASE("underscore_headers: dropped and counted, refused, or passed") {
  const Headers fields{{"X_Under", "1"}, {"X-Dash", "2"}};
  {
    Limited server("underscore_headers = \"drop\"");
    CHECK(server.holdfast.get("/", fields).status == 200);
    CHECK_FALSE(server.app.last_request().headers.has("X_Under"));
    CHECK(server.app.last_request().headers.has("X-Dash"));
    CHECK(server.holdfast.wait_metric("holdfast_dropped_headers_total", {}, 1));
  }
  {
    Limited server("underscore_headers = \"reject\"");
    check_problem(server.holdfast.get("/", fields), 400, "bad-request", "http_request_error");
    CHECK(server.app.request_count() == 0);
  }
  {
    Limited server("underscore_headers = \"pass\"");
    CHECK(server.holdfast.get("/", fields).status == 200);
    CHECK(server.app.last_request().headers.has("X_Under"));
  }
}

TEST_CASE("limits of the length of a method and of empty lines hold") {
  Limited server("");
  check_problem(refused(server.holdfast, request_text(std::string(5000, 'A'), "/")), 501,
                "not-implemented");
  RawClient client = server.holdfast.client();
  client.send("\r\n" + request_text("GET", "/"));
  CHECK(client.read_response().status == 200);
  check_problem(
      refused(server.holdfast, "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n" + request_text("GET", "/")),
      400, "bad-request");
}

TEST_CASE("many clients that send endless heads take bounded memory") {
  Limited server("max_header_bytes = \"64KiB\"");
  const std::size_t before = server.holdfast.process().resident_bytes();
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int index = 0; index < 50; ++index) {
    clients.push_back(std::make_unique<RawClient>(server.holdfast.address()));
    clients.back()->send_if_open("GET / HTTP/1.1\r\nHost: a\r\nX-A: " + std::string(100000, 'a'));
  }
  for (auto& client : clients) CHECK(client->read_response().status == 431);
  if (!built_with_sanitizers) {
    CHECK(server.holdfast.process().resident_bytes() < before + (16u << 20));
  }
}
