#include "holdfast/proxy/heads.h"

#include <doctest/doctest.h>

#include <memory>
#include <string>

#include "holdfast/http/parser.h"

namespace holdfast::proxy {
namespace {

using namespace std::chrono_literals;

http::ParserLimits passing_all_names() {
  http::ParserLimits limits;
  limits.underscore_headers = http::UnderscorePolicy::pass;
  return limits;
}

/// A request as the parser reads it; the head's views live as long as this.
struct Request {
  explicit Request(const std::string& bytes) : parser(passing_all_names()) {
    const auto step = parser.parse(bytes);
    REQUIRE(step);
    REQUIRE(step->event == http::ParseEvent::head);
  }
  const http::RequestHead& head() const { return parser.head(); }
  http::RequestParser parser;
};

struct Response {
  explicit Response(const std::string& bytes, http::Method method = http::Method::get,
                    bool upgrade = false)
      : parser(http::ParserLimits{}) {
    parser.begin(method, upgrade);
    const auto step = parser.parse(bytes);
    REQUIRE(step);
    REQUIRE(step->event == http::ParseEvent::head);
  }
  const http::ResponseHead& head() const { return parser.head(); }
  http::ResponseParser parser;
};

RequestEdits plain_edits() {
  RequestEdits edits;
  edits.server_name = "holdfast";
  edits.host = "up.test";
  edits.client_ip = "192.0.2.7";
  edits.request_id = "id-1";
  return edits;
}

std::string upstream_head(const std::string& bytes, const RequestEdits& edits = plain_edits()) {
  const Request request(bytes);
  std::string out;
  append_upstream_head(out, request.head(), edits);
  return out;
}

std::string get(const std::string& fields) {
  return "GET /p HTTP/1.1\r\nHost: a.test\r\n" + fields + "\r\n";
}

ResponseEdits answer_edits() {
  ResponseEdits edits;
  edits.server_name = "holdfast";
  edits.now = WallTime(std::chrono::sys_days{std::chrono::January / 2 / 2026});
  return edits;
}

std::string downstream_head(const std::string& bytes, const ResponseEdits& edits) {
  const Response response(bytes);
  std::string out;
  append_downstream_head(out, response.head(), edits);
  return out;
}

bool has(const std::string& head, const std::string& line) {
  return head.find("\r\n" + line + "\r\n") != std::string::npos;
}
bool names(const std::string& head, const std::string& name) {
  return head.find("\r\n" + name + ":") != std::string::npos;
}

// --------------------------------------------------------------------------------------- to the
// upstream

TEST_CASE("a plain request, byte for byte") {
  CHECK(upstream_head("GET /a/../b?c=%20 HTTP/1.1\r\nHost: a.test:80\r\nX-Odd:  two  words \r\n"
                      "accept: */*\r\n\r\n") ==
        "GET /a/../b?c=%20 HTTP/1.1\r\n"
        "Host: up.test\r\n"
        "X-Odd: two  words\r\n"
        "accept: */*\r\n"
        "Via: 1.1 holdfast\r\n"
        "X-Forwarded-For: 192.0.2.7\r\n"
        "X-Forwarded-Proto: http\r\n"
        "X-Forwarded-Host: a.test:80\r\n"
        "X-Request-Id: id-1\r\n"
        "\r\n");
}

TEST_CASE("what belongs to the client's hop does not pass") {
  for (const char* field :
       {"Connection: close", "Keep-Alive: timeout=5", "Proxy-Connection: close", "TE: trailers",
        "Upgrade: h2c", "HTTP2-Settings: x", "Proxy-Authorization: Basic x", "Expect: 100-continue",
        "X-Request-Id: theirs"}) {
    CAPTURE(field);
    const std::string head = upstream_head(get(std::string(field) + "\r\nX-End: to-end\r\n"));
    CHECK_FALSE(has(head, field));
    CHECK(has(head, "X-End: to-end"));
  }
}

TEST_CASE("fields that Connection names go, in any line and case; the others of their name too") {
  const std::string head = upstream_head(
      get("Connection: close, X-Hop\r\nconnection: \"q\", x-other\r\nX-HOP: 1\r\nx-hop: 2\r\n"
          "X-Other: 3\r\nX-Stays: 4\r\n"));
  CHECK_FALSE(names(head, "X-HOP"));
  CHECK_FALSE(names(head, "x-hop"));
  CHECK_FALSE(names(head, "X-Other"));
  CHECK(has(head, "X-Stays: 4"));
}

TEST_CASE("Via is one field: what was there, then ours with the version we were spoken to in") {
  CHECK(has(upstream_head(get("Via: 1.0 a\r\nvia: 1.1 b (x), 1.1 c\r\n")),
            "Via: 1.0 a, 1.1 b (x), 1.1 c, 1.1 holdfast"));
  CHECK(has(upstream_head("GET / HTTP/1.0\r\n\r\n"), "Via: 1.0 holdfast"));
}

TEST_CASE("X-Forwarded-*: replaced for anybody, appended to for a trusted peer") {
  const std::string bytes =
      get("X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-For: 10.0.0.2, 10.0.0.3\r\n"
          "X-Forwarded-Proto: https\r\nX-Forwarded-Host: public.test\r\n");
  RequestEdits edits = plain_edits();
  SUBCASE("anybody") {
    const std::string head = upstream_head(bytes, edits);
    CHECK(has(head, "X-Forwarded-For: 192.0.2.7"));
    CHECK(has(head, "X-Forwarded-Proto: http"));
    CHECK(has(head, "X-Forwarded-Host: a.test"));
  }
  SUBCASE("trusted") {
    edits.peer_trusted = true;
    const std::string head = upstream_head(bytes, edits);
    CHECK(has(head, "X-Forwarded-For: 10.0.0.1, 10.0.0.2, 10.0.0.3, 192.0.2.7"));
    CHECK(has(head, "X-Forwarded-Proto: https"));
    CHECK(has(head, "X-Forwarded-Host: public.test"));
  }
  SUBCASE("nor in a spelling that an app may take for it") {
    const std::string head = upstream_head(
        get("X_Forwarded_For: 10.0.0.1\r\nX-Forwarded_Proto: https\r\nx_forwarded-host: b.test\r\n"
            "X_Forwarded_Client_Cert: Hash=0\r\nX_Forwarded: stays\r\n"),
        edits);
    CHECK(head.find("10.0.0.1") == std::string::npos);
    CHECK(head.find("https") == std::string::npos);
    CHECK(head.find("b.test") == std::string::npos);
    CHECK(head.find("Hash") == std::string::npos);
    CHECK(has(head, "X_Forwarded: stays"));
  }
  SUBCASE("a unix socket has no address to add") {
    edits.client_ip = "";
    CHECK_FALSE(names(upstream_head(bytes, edits), "X-Forwarded-For"));
  }
  SUBCASE("trusted, with nothing there") {
    edits.peer_trusted = true;
    const std::string head = upstream_head(get(""), edits);
    CHECK(has(head, "X-Forwarded-For: 192.0.2.7"));
    CHECK(has(head, "X-Forwarded-Proto: http"));
  }
}

TEST_CASE("rewrite sets and removes, and its word is the last") {
  RewriteConfig rewrite;
  rewrite.set_headers = {{"X-Set", "ours"}, {"X-Forwarded-Proto", "https"}};
  rewrite.remove_headers = {"cookie", "x-forwarded-for"};
  RequestEdits edits = plain_edits();
  edits.rewrite = &rewrite;
  const std::string head =
      upstream_head(get("x-set: theirs\r\nCookie: a=b\r\nX-Keep: 1\r\n"), edits);
  CHECK(has(head, "X-Set: ours"));
  CHECK_FALSE(names(head, "x-set"));
  CHECK_FALSE(names(head, "Cookie"));
  CHECK(has(head, "X-Forwarded-Proto: https"));
  CHECK_FALSE(has(head, "X-Forwarded-Proto: http"));
  CHECK_FALSE(names(head, "X-Forwarded-For"));
  CHECK(has(head, "X-Keep: 1"));
}

TEST_CASE("strip_prefix at a segment's end only") {
  struct Row {
    const char* target;
    const char* prefix;
    const char* result;
  };
  for (const Row& row :
       {Row{"/v1/x", "/v1", "/x"}, Row{"/v1", "/v1", "/"}, Row{"/v1/", "/v1", "/"},
        Row{"/v1x", "/v1", "/v1x"}, Row{"/v1?a=b", "/v1", "/?a=b"}, Row{"/v1/x", "/v1/", "/x"},
        Row{"/v1//x", "/v1", "//x"}, Row{"/x/v1", "/v1", "/x/v1"}, Row{"/", "/", "/"},
        Row{"/x", "/", "/x"}, Row{"/x", "", "/x"}, Row{"*", "/v1", "*"},
        Row{"/V1/x", "/v1", "/V1/x"}, Row{"/v1/x?q=/v1", "/v1", "/x?q=/v1"}}) {
    CAPTURE(row.target);
    CAPTURE(row.prefix);
    const StrippedTarget stripped = strip_target(row.target, row.prefix);
    CHECK(std::string(stripped.slash).append(stripped.rest) == row.result);
  }
}

TEST_CASE("Max-Forwards: one less for OPTIONS, as it came for the rest") {
  const auto of = [](const char* method, const char* hops) {
    return upstream_head(std::string(method) + " / HTTP/1.1\r\nHost: a\r\nMax-Forwards: " + hops +
                         "\r\n\r\n");
  };
  CHECK(has(of("OPTIONS", "10"), "Max-Forwards: 9"));
  CHECK(has(of("OPTIONS", "1"), "Max-Forwards: 0"));
  CHECK(has(of("OPTIONS", "many"), "Max-Forwards: many"));
  CHECK(has(of("GET", "5"), "Max-Forwards: 5"));
}

TEST_CASE("the deadline header is ours to say, in whole milliseconds, at least one") {
  RequestEdits edits = plain_edits();
  edits.deadline_header = "X-Deadline";
  CHECK_FALSE(names(upstream_head(get("x-deadline: 9\r\n"), edits), "x-deadline"));
  edits.deadline = 1999us;
  CHECK(has(upstream_head(get("x-deadline: 9\r\n"), edits), "X-Deadline: 1"));
  edits.deadline = 10ns;
  CHECK(has(upstream_head(get(""), edits), "X-Deadline: 1"));
  edits.deadline = 2s;
  CHECK(has(upstream_head(get(""), edits), "X-Deadline: 2000"));
  RewriteConfig rewrite;
  edits.rewrite = &rewrite;
  rewrite.set_headers = {{"x-deadline", "77"}};
  CHECK(has(upstream_head(get("X-Deadline: 9\r\n"), edits), "x-deadline: 77"));
  CHECK_FALSE(names(upstream_head(get("X-Deadline: 9\r\n"), edits), "X-Deadline"));
  rewrite.set_headers.clear();
  rewrite.remove_headers = {"x-deadline"};
  CHECK_FALSE(names(upstream_head(get("X-Deadline: 9\r\n"), edits), "X-Deadline"));
}

TEST_CASE("what another holdfast says of its execution stands where ours says nothing") {
  const std::string answer =
      "HTTP/1.1 429 Slow\r\nIdempotency-Status: replayed\r\nIdempotent-Replayed: true\r\n"
      "Content-Length: 0\r\n\r\n";
  ResponseEdits edits = answer_edits();
  CHECK(has(downstream_head(answer, edits), "Idempotency-Status: replayed"));
  CHECK(has(downstream_head(answer, edits), "Idempotent-Replayed: true"));
  edits.idempotency_status = "released";
  const std::string head = downstream_head(answer, edits);
  CHECK(has(head, "Idempotency-Status: released"));
  CHECK_FALSE(has(head, "Idempotency-Status: replayed"));
  CHECK_FALSE(names(head, "Idempotent-Replayed"));
}

TEST_CASE("one canonical framing field, and the trailers that may follow") {
  const std::string chunked =
      "PUT / HTTP/1.1\r\nHost: a\r\ntransfer-encoding:  Chunked\r\nTrailer: x\r\n\r\n";
  const std::vector<std::string> trailers = {"x-sum", "x-more"};
  RequestEdits edits = plain_edits();
  edits.body = BodyMode::chunked;
  std::string head = upstream_head(chunked, edits);
  CHECK(has(head, "Transfer-Encoding: chunked"));
  CHECK_FALSE(names(head, "Trailer"));
  CHECK_FALSE(names(head, "transfer-encoding"));
  edits.trailers = trailers;
  CHECK(has(upstream_head(chunked, edits), "Trailer: x-sum, x-more"));
  edits.body = BodyMode::length;
  edits.body_length = 18446744073709551615u;
  head = upstream_head("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 007\r\n\r\n", edits);
  CHECK(has(head, "Content-Length: 18446744073709551615"));
  CHECK_FALSE(has(head, "Content-Length: 007"));
}

TEST_CASE("an upgrade is asked for in our own words") {
  RequestEdits edits = plain_edits();
  edits.upgrade = "websocket";
  const std::string head = upstream_head(
      get("Connection: keep-alive, Upgrade\r\nUpgrade: websocket, h2c\r\nSec-WebSocket-Key: k\r\n"),
      edits);
  CHECK(has(head, "Connection: upgrade"));
  CHECK(has(head, "Upgrade: websocket"));
  CHECK(has(head, "Sec-WebSocket-Key: k"));
}

// --------------------------------------------------------------------------------------- to the
// client

TEST_CASE("a plain response, byte for byte") {
  ResponseEdits edits = answer_edits();
  edits.body = BodyMode::length;
  edits.body_length = 5;
  CHECK(downstream_head("HTTP/1.1 299 Some Thing\r\nContent-Length: 5\r\nSet-Cookie: a=b\r\n"
                        "Set-Cookie: c=d\r\nKeep-Alive: timeout=5\r\nConnection: X-Hop\r\n"
                        "X-Hop: 1\r\nProxy-Authenticate: Basic\r\n\r\n",
                        edits) ==
        "HTTP/1.1 299 Some Thing\r\n"
        "Set-Cookie: a=b\r\n"
        "Set-Cookie: c=d\r\n"
        "Proxy-Authenticate: Basic\r\n"
        "Date: Fri, 02 Jan 2026 00:00:00 GMT\r\n"
        "Via: 1.1 holdfast\r\n"
        "Content-Length: 5\r\n"
        "\r\n");
}

TEST_CASE("a status line without a reason keeps its space; Date and Via of the origin stay") {
  const std::string head = downstream_head(
      "HTTP/1.0 200 \r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nVia: 1.1 a\r\n\r\n", answer_edits());
  CHECK(head ==
        "HTTP/1.1 200 \r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nVia: 1.1 a, 1.0 holdfast\r\n\r\n");
}

TEST_CASE("Proxy-Status: silent after one attempt, else behind what is there") {
  const std::string bytes = "HTTP/1.1 200 OK\r\nProxy-Status: inner; error=x\r\n\r\n";
  ResponseEdits edits = answer_edits();
  CHECK(has(downstream_head(bytes, edits), "Proxy-Status: inner; error=x"));
  edits.attempts = 2;
  CHECK(has(downstream_head(bytes, edits), "Proxy-Status: inner; error=x, holdfast; attempts=2"));
  edits.fallback_of = "received-status=503; fallback";
  CHECK(has(downstream_head(bytes, edits),
            "Proxy-Status: inner; error=x, holdfast; received-status=503; fallback; attempts=2"));
}

TEST_CASE("close, chunks, and a switch of protocols") {
  ResponseEdits edits = answer_edits();
  edits.close = true;
  edits.body = BodyMode::chunked;
  const std::string head = downstream_head("HTTP/1.1 200 OK\r\n\r\n", edits);
  CHECK(has(head, "Connection: close"));
  CHECK(has(head, "Transfer-Encoding: chunked"));
  edits = answer_edits();
  edits.switching = true;
  const Response response("HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
                          http::Method::get, true);
  std::string out;
  append_downstream_head(out, response.head(), edits);
  CHECK(has(out, "Connection: upgrade"));
  CHECK(has(out, "Upgrade: websocket"));
}

TEST_CASE("an informational response passes without what belongs to its hop") {
  const Response response(
      "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n");
  std::string out;
  append_informational_head(out, response.head());
  CHECK(out == "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
}

TEST_CASE("an answer of our own, byte for byte") {
  OwnResponse response;
  response.status = 503;
  response.content_type = "application/problem+json";
  response.body = "{}";
  response.proxy_status = "error=destination_unavailable";
  response.retry_after = 5;
  std::string out;
  append_own_head(out, response, "holdfast", true, answer_edits().now);
  CHECK(out ==
        "HTTP/1.1 503 Service Unavailable\r\n"
        "Content-Type: application/problem+json\r\n"
        "Cache-Control: no-store\r\n"
        "Retry-After: 5\r\n"
        "Proxy-Status: holdfast; error=destination_unavailable\r\n"
        "Date: Fri, 02 Jan 2026 00:00:00 GMT\r\n"
        "Connection: close\r\n"
        "Content-Length: 2\r\n"
        "\r\n");
}

TEST_CASE("a configured answer says its own Cache-Control; a 204 and a 304 have no length") {
  const HeaderList headers = {{"cache-control", "max-age=5"}, {"X-A", "b"}};
  for (const int status : {200, 204, 304}) {
    OwnResponse response;
    response.status = status;
    response.headers = headers;
    std::string out;
    append_own_head(out, response, "holdfast", false, answer_edits().now);
    CHECK_FALSE(names(out, "Cache-Control"));
    CHECK(has(out, "X-A: b"));
    CHECK(names(out, "Content-Length") == (status == 200));
    CHECK_FALSE(names(out, "Connection"));
  }
}

// ------------------------------------------------------------------------------------------- small
// words

TEST_CASE("times in Via: our own name as a received-by, nothing like it") {
  struct Row {
    const char* via;
    int times;
  };
  for (const Row& row :
       {Row{"1.1 holdfast", 1}, Row{"1.1 holdfast, 1.0 holdfast", 2}, Row{"HTTP/1.1 holdfast", 1},
        Row{"1.1 holdfast2", 0}, Row{"1.1 my.holdfast", 0}, Row{"1.1 other (holdfast)", 0},
        Row{"1.1 holdfast (a comment)", 1}, Row{"1.1\tholdfast", 1}, Row{"holdfast", 0},
        Row{"1.1 a,,1.1 holdfast,", 1}, Row{"", 0}}) {
    CAPTURE(row.via);
    http::Fields fields;
    fields.add("Via", row.via);
    fields.add("X-Via", "1.1 holdfast");
    CHECK(times_in_via(fields, "holdfast") == row.times);
  }
}

TEST_CASE("a request id is one to 128 visible characters") {
  CHECK(is_request_id("a"));
  CHECK(is_request_id("!~{}\"'"));
  CHECK(is_request_id(std::string(128, 'x')));
  CHECK_FALSE(is_request_id(""));
  CHECK_FALSE(is_request_id(std::string(129, 'x')));
  CHECK_FALSE(is_request_id("a b"));
  CHECK_FALSE(is_request_id("a\x7f"));
  CHECK_FALSE(is_request_id("a\xc3\xa9"));
}

TEST_CASE("the trace id of a valid traceparent") {
  const std::string id = "0af7651916cd43dd8448eb211c80319c";
  CHECK(trace_id_of("00-" + id + "-b7ad6b7169203331-01") == id);
  CHECK(trace_id_of("01-" + id + "-b7ad6b7169203331-01-more") == id);
  for (const std::string& bad :
       {std::string(), "00-" + id, "ff-" + id + "-b7ad6b7169203331-01",
        "00-" + std::string(32, '0') + "-b7ad6b7169203331-01",
        "00-" + std::string(32, 'G') + "-b7ad6b7169203331-01", "00_" + id + "-b7ad6b7169203331-01",
        "0x-" + id + "-b7ad6b7169203331-01", "00-" + id + "-0000000000000000-01",
        "00-" + id + "-b7ad6b716920333G-01", "00-" + id + "-b7ad6b7169203331-0x",
        "00-" + id + "-b7ad6b7169203331-01-more", "01-" + id + "-b7ad6b7169203331-01more"}) {
    CAPTURE(bad);
    CHECK(trace_id_of(bad).empty());
  }
}

}  // namespace
}  // namespace holdfast::proxy
