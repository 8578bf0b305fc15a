// How bytes are read: a table of crooked and straight messages against the binary. wire_cases.jsonl
// has for each what is sent, what may come of it (`expect`, `accept_also`) and what must or must
// not be seen.
#include <fstream>

#include "tests/support/suite.h"

using namespace holdfast::testing;
using nlohmann::json;

namespace {

std::string replace_all(std::string text, std::string_view from, std::string_view to) {
  for (auto at = text.find(from); at != text.npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

/// Expands {rep:N:TEXT}; TEXT has no braces.
std::string expand_repetitions(std::string text) {
  constexpr std::string_view mark = "{rep:";
  for (auto at = text.find(mark); at != text.npos; at = text.find(mark, at)) {
    const auto colon = text.find(':', at + mark.size());
    const auto end = text.find('}', colon);
    const std::string piece = text.substr(colon + 1, end - colon - 1);
    std::string expanded;
    for (int left = std::stoi(text.substr(at + mark.size())); left > 0; --left) expanded += piece;
    text.replace(at, end - at + 1, expanded);
  }
  return text;
}

/// Expands \r \n \t \\ \xHH.
std::string unescape(std::string_view text) {
  std::string bytes;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '\\') {
      bytes += text[at];
      continue;
    }
    switch (text[++at]) {
      case 'r':
        bytes += '\r';
        break;
      case 'n':
        bytes += '\n';
        break;
      case 't':
        bytes += '\t';
        break;
      case 'x':
        bytes += static_cast<char>(std::stoi(std::string(text.substr(at + 1, 2)), nullptr, 16));
        at += 2;
        break;
      default:
        bytes += text[at];
    }
  }
  return bytes;
}

std::string bytes_of(const json& text, const std::string& port) {
  return unescape(replace_all(expand_repetitions(text), "{port}", port));
}

/// What the upstream does in a case.
Handler script(const json& one, const std::string& port) {
  if (!one.contains("upstream_response_bytes")) return reply(200, "ok");
  const std::string bytes = bytes_of(one["upstream_response_bytes"], port);
  const std::string then = one.value("then", "keep");
  if (then == "fin") return send_and_close(bytes);
  if (then == "rst") return send_and_reset(bytes);
  return send_raw(bytes);
}

/// What came of a case, in the table's words.
std::string outcome(const Response& response) {
  if (!response.complete) return "close";
  const bool own = response.headers.get("Content-Type") == "application/problem+json";
  if (!own) return "forward-normalized";
  return response.status >= 500 ? "5xx" : "reject-4xx";
}

void check_patterns(const json& one, const char* key, const std::string& bytes, bool expected,
                    const std::string& flags = "") {
  for (const std::string pattern : one.value(key, json::array())) {
    CAPTURE(pattern);
    CAPTURE(bytes);
    CHECK(matches(bytes, flags + pattern) == expected);
  }
}

void end_sending(RawClient& client, const std::string& how) {
  if (how == "fin") client.half_close();
  if (how == "rst") client.reset();
}

bool is_complete(const Request& request) {
  return request.complete;
}

void check_upstream(const json& one, const std::string& got, const std::vector<Request>& seen) {
  // The count belongs to the first of the outcomes that are allowed.
  const bool counted = one.contains("upstream_count") && got == one["expect"].get<std::string>();
  if (counted) CHECK(seen.size() == one["upstream_count"]);
  if (got == "reject-4xx") CHECK(std::none_of(seen.begin(), seen.end(), is_complete));
  std::string forwarded;
  for (const Request& request : seen) {
    forwarded += request.raw_head + request.body;
    CHECK(request.headers.get("Via").find("holdfast") != std::string::npos);
    CHECK_FALSE(request.target.starts_with("/canary"));
  }
  if (one.contains("upstream_complete")) {
    CHECK(std::count_if(seen.begin(), seen.end(), is_complete) == one["upstream_complete"]);
  }
  check_patterns(one, "fwd_must", forwarded, true, "(?i)");
  check_patterns(one, "fwd_must_not", forwarded, false, "(?i)");
}

}  // namespace

TEST_CASE("every case of the table comes out as it should, and the next client is served") {
  ScriptedUpstream app(reply(200));
  const Holdfast holdfast(Setup{.endpoints = {app.url()},
                                .route = "retry = { attempts = 1 }\ntimeout = { idle = \"300ms\" }",
                                .more = "[upstream.app.breaker]\nenabled = false\n"});
  const std::string port = holdfast.address().substr(holdfast.address().find(':') + 1);
  std::ifstream table(HOLDFAST_TEST_DATA "/wire_cases.jsonl");
  REQUIRE(table.is_open());
  int cases = 0;
  for (std::string line; std::getline(table, line); ++cases) {
    const json one = json::parse(line);
    CAPTURE(one["id"].get<std::string>());
    CAPTURE(one["description"].get<std::string>());
    app.answer(script(one, port));
    const std::size_t before = app.request_count();

    const Stopwatch since;
    RawClient client = holdfast.client();
    client.send_if_open(bytes_of(one["request_bytes"], port));
    end_sending(client, one.value("end", ""));
    const bool is_head = one["request_bytes"].get<std::string>().starts_with("HEAD");
    Response response;
    if (one.value("end", "") != "rst") response = client.read_response(is_head ? "HEAD" : "GET");
    const std::string got = outcome(response);
    CAPTURE(response.raw_head);
    std::vector<std::string> allowed = one.value("accept_also", std::vector<std::string>{});
    allowed.push_back(one["expect"]);
    CHECK_MESSAGE(std::find(allowed.begin(), allowed.end(), got) != allowed.end(), got);
    if (one.value("must_close", false)) {
      client.read_to_end();
      CHECK(client.wait_for_close() != Fault::timeout);
    }
    check_patterns(one, "cli_must", client.reader().received(), true);
    check_patterns(one, "cli_must_not", client.reader().received(), false);

    app.answer(reply(200));
    client.reset();
    CHECK(holdfast.get("/good").status == 200);
    std::vector<Request> seen = app.requests();
    seen.erase(seen.begin(), seen.begin() + static_cast<std::ptrdiff_t>(before));
    std::erase_if(seen, [](const Request& request) { return request.target == "/good"; });
    check_upstream(one, got, seen);
    CHECK(app.garbage().empty());
    CHECK(since.elapsed() < 5s);
  }
  CHECK(cases > 50);
}

TEST_CASE("the verdict is the same however the bytes are cut") {
  ScriptedUpstream app(echo());
  const Holdfast holdfast(Setup{.endpoints = {app.url()}});
  const struct {
    std::string bytes;
    int status;
  } cases[] = {
      {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\nbody\r\n0\r\n\r\n",
       200},
      {request_text("PUT", "/", {{"X-A", "1"}}, "body"), 200},
      {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a\nX-A: 1\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400},
  };
  for (const auto& one : cases) {
    CAPTURE(one.bytes);
    RawClient whole = holdfast.client();
    whole.send(one.bytes);
    CHECK(whole.read_response().status == one.status);
    RawClient bytewise = holdfast.client();
    for (const char& byte : one.bytes) bytewise.send_if_open(std::string_view(&byte, 1));
    CHECK(bytewise.read_response().status == one.status);
  }
}

TEST_CASE("nothing after a framing error is answered or forwarded") {
  ScriptedUpstream app(reply(200));
  const Holdfast holdfast(Setup{.endpoints = {app.url()}});
  RawClient client = holdfast.client();
  client.send(
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
      "0\r\n\r\n" +
      request_text("GET", "/canary"));
  const Response response = client.read_response();
  check_problem(response, 400, "bad-request", "http_request_error");
  CHECK(response.headers.get("Connection") == "close");
  CHECK(client.read_to_end().empty());
  CHECK(app.connection_count() == 0);
}
