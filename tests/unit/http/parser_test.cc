#include "holdfast/http/parser.h"

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "tests/unit/http/parser_driver.h"

namespace holdfast::http {
namespace {

using test::Transcript;
using Kind = Framing::Kind;

/// A parser that has read `head`, which must be one whole head.
struct ReadRequest {
  explicit ReadRequest(std::string_view head, const ParserLimits& limits = {}) : parser(limits) {
    const auto step = parser.parse(head);
    REQUIRE(step.has_value());
    REQUIRE(step->event == ParseEvent::head);
    REQUIRE(step->consumed == head.size());
  }

  const RequestHead* operator->() const { return &parser.head(); }

  RequestParser parser;
};

std::string problem_of(std::string_view bytes, const ParserLimits& limits = {}) {
  return test::read_requests(bytes, test::one_write, limits).refusal;
}

Result<ResponseHead, Error> response_head(std::string_view bytes, Method method = Method::get) {
  ResponseParser parser(ParserLimits{});
  parser.begin(method, false);
  const auto step = parser.parse(bytes);
  if (!step) return unexpected(step.error());
  REQUIRE(step->event == ParseEvent::head);
  ResponseHead head = parser.head();
  head.fields.clear();  // they point into the parser
  return head;
}

}  // namespace

TEST_CASE("the llhttp that was built is strict") {
  CHECK(parser_is_strict());
}

TEST_CASE("CONNECT is read where tunnels are wanted, with a host, a port and no body") {
  ParserLimits limits;
  limits.tunnels = true;
  const ReadRequest request("CONNECT a.test:443 HTTP/1.1\r\nHost: b.test\r\n\r\n", limits);
  CHECK(request->method == Method::connect);
  CHECK(request->authority == "a.test:443");
  CHECK(request->target == "a.test:443");
  CHECK_FALSE(request->absolute);
  CHECK(ReadRequest("CONNECT [::1]:443 HTTP/1.0\r\n\r\n", limits)->authority == "[::1]:443");
  for (const std::string target :
       {"a.test", "[::1]", "/", "*", "http://a.test:80/", "a.test:0", "u@a.test:80", ":80"}) {
    CAPTURE(target);
    CHECK(problem_of("CONNECT " + target + " HTTP/1.1\r\nHost: a\r\n\r\n", limits) ==
          "bad-request");
  }
  for (const std::string body : {"Content-Length: 1", "Transfer-Encoding: chunked"}) {
    CAPTURE(body);
    const std::string head = "CONNECT a.test:443 HTTP/1.1\r\nHost: a\r\n" + body + "\r\n\r\n";
    CHECK(problem_of(head, limits) == "bad-request");
  }
  CHECK(problem_of("CONNECT a.test:443 HTTP/1.1\r\nHost: a\r\n\r\n") == "method-not-allowed");
  const ReadRequest absolute("GET http://a.test/p HTTP/1.1\r\nHost: b\r\n\r\n");
  CHECK(absolute->absolute);
  CHECK(absolute->target == "/p");
}

TEST_CASE("limits of a request have their own problems") {
  ParserLimits limits;
  limits.max_target_bytes = 40;
  limits.max_header_bytes = 100;
  limits.max_headers = 3;
  limits.max_body_bytes = 5;
  const std::string line = "POST / HTTP/1.1\r\n";
  CHECK(problem_of("GET /" + std::string(40, 'a'), limits) == "uri-too-long");
  CHECK(problem_of(line + "A: " + std::string(100, 'a'), limits) == "headers-too-large");
  CHECK(problem_of(line + "A:\r\nB:\r\nC:\r\nD:\r\n", limits) == "headers-too-large");
  CHECK(problem_of(line + "Host: a\r\nContent-Length: 6\r\n\r\n", limits) == "content-too-large");
  CHECK(problem_of(line + "Host: a\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n", limits) ==
        "content-too-large");
  CHECK(problem_of(line + "Host: a\r\nContent-Length: 5\r\n\r\nAAAAA", limits) == "");
}

TEST_CASE("the default limits let through what RFC 9112 asks for and stop floods") {
  CHECK(problem_of("GET /" + std::string(7980, 'a') + " HTTP/1.1\r\nHost: a\r\n\r\n") == "");
  CHECK(problem_of("GET /" + std::string(70000, 'a') + " HTTP/1.1\r\n\r\n") == "uri-too-long");
  CHECK(problem_of(std::string(5000, 'A') + " / HTTP/1.1\r\n\r\n") == "not-implemented");
  std::string many = "GET / HTTP/1.1\r\nHost: a\r\n";
  for (int i = 0; i < 127; ++i) many += "A: b\r\n";
  CHECK(problem_of(many + "\r\n") == "");
  CHECK(problem_of(many + "A: b\r\n\r\n") == "headers-too-large");
}

TEST_CASE("new limits hold for the request that has not begun") {
  RequestParser parser(ParserLimits{});
  const std::string request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  REQUIRE(parser.parse(request).has_value());
  REQUIRE(parser.parse("")->event == ParseEvent::complete);
  parser.begin();
  ParserLimits tight;
  tight.max_target_bytes = 10;
  parser.set_limits(tight);
  CHECK(parser.parse(request).error().problem == Problem::uri_too_long);
}

TEST_CASE("after an error nothing is read any more") {
  RequestParser parser(ParserLimits{});
  CHECK_FALSE(parser.parse("GET / HTTP/1.1\n").has_value());
  const auto again = parser.parse("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  REQUIRE_FALSE(again.has_value());
  CHECK(again.error().problem == Problem::bad_request);
  CHECK(again.error().detail == "a line ends without CR");
}

TEST_CASE("a request line is refused before the head is complete") {
  CHECK(problem_of("\x16\x03\x01\x02") == "bad-request");
  CHECK(problem_of("GET /\r\n") == "bad-request");
  CHECK(problem_of("PRI * HTTP/2.0\r\n") == "bad-request");
  CHECK(problem_of("TRACE / HTTP/1.1\r\n") == "method-not-allowed");
  CHECK(problem_of("CONNECT a:22 HTTP/1.1\r\n") == "method-not-allowed");
}

TEST_CASE("of a refused request there is what its line said, as far as it can be understood") {
  ParserLimits limits;
  limits.max_target_bytes = 40;
  limits.max_header_bytes = 100;
  limits.max_body_bytes = 5;
  struct Row {
    std::string bytes;
    Method method;
    std::string method_text;
    std::string path;
  };
  const std::string long_path(60, 'a');
  const std::string long_method(max_method_length + 1, 'A');
  for (const Row& row :
       {Row{"POST /p?q HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n", Method::post, "POST",
            "/p"},
        {"BREW /p HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n", Method::other, "BREW", "/p"},
        {"PUT http://b/p HTTP/1.1\r\nA: " + std::string(90, 'a'), Method::put, "PUT", "/p"},
        {"GET /p HTTP/1.1\r\nHost : a\r\n\r\n", Method::get, "GET", "/p"},
        {"GET /p HTTP/1.1\r\nHo\x01st: a\r\n\r\n", Method::get, "GET", "/p"},
        {"GET /p HTTP/1.1\rx", Method::get, "GET", "/p"},
        {"HEAD /" + long_path + " HTTP/1.1\r\n", Method::head, "HEAD", ""},
        {"HEAD /p HTTP/2.0\r\n", Method::head, "HEAD", ""},
        {"HEAD no-path HTTP/1.1\r\n", Method::head, "HEAD", ""},
        {"HEAD /\x01p HTTP/1.1\r\n", Method::head, "HEAD", ""},
        {"HEAD\n", Method::other, "", ""},
        {"H(AD /p HTTP/1.1\r\n", Method::other, "", ""},
        {long_method + " /p HTTP/1.1\r\n", Method::other, "", ""}}) {
    CAPTURE(row.bytes);
    for (const std::size_t piece : {row.bytes.size(), std::size_t{1}}) {
      RequestParser parser(limits);
      bool is_refused = false;
      for (std::size_t at = 0; at < row.bytes.size() && !is_refused; at += piece) {
        is_refused = !parser.parse(std::string_view(row.bytes).substr(at, piece));
      }
      REQUIRE(is_refused);
      CHECK(parser.head().method == row.method);
      CHECK(parser.head().method_text == row.method_text);
      CHECK(parser.head().path == row.path);
    }
  }
}

TEST_CASE("of a head that is given up there is its line too; of a whole one everything") {
  RequestParser parser(ParserLimits{});
  REQUIRE(parser.parse("GET /p HTTP/1.1\r\nHost: a\r\n").has_value());
  parser.give_up();
  CHECK(parser.head().method == Method::get);
  CHECK(parser.head().path == "/p");
  ReadRequest whole("PUT /w HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
  CHECK_FALSE(whole.parser.parse("no chunk").has_value());
  whole.parser.give_up();
  CHECK(whole->path == "/w");
  CHECK(whole->authority == "a");
}

TEST_CASE("a request head is taken apart") {
  const ReadRequest request(
      "PATCH /a/b?c=d?e HTTP/1.1\r\nHost: A.test:80\r\nX-A: 1\r\nX_B: 2\r\nx-a:  3 \r\n\r\n");
  CHECK(request->method == Method::patch);
  CHECK(request->method_text == "PATCH");
  CHECK(request->target == "/a/b?c=d?e");
  CHECK(request->path == "/a/b");
  CHECK(request->query == "c=d?e");
  CHECK(request->authority == "A.test:80");
  CHECK(request->minor_version == 1);
  CHECK(request->fields.size() == 3);
  CHECK(request->fields.find("x-a")->value == "1");
  CHECK(request->dropped_fields == 1);
  CHECK(request->keep_alive);
  CHECK_FALSE(request->expect_continue);
  CHECK_FALSE(request->upgrade);
  CHECK(request->framing == Framing{});
}

TEST_CASE("the authority of an absolute target replaces Host") {
  struct Example {
    std::string_view line;
    std::string_view target;
    std::string_view path;
    std::string_view query;
  };
  const Example examples[] = {
      {"GET http://b:81/p?q HTTP/1.1\r\n", "/p?q", "/p", "q"},
      {"GET http://b:81 HTTP/1.1\r\n", "/", "/", ""},
      {"GET http://b:81?q HTTP/1.1\r\n", "/?q", "/", "q"},
      {"OPTIONS http://b:81 HTTP/1.1\r\n", "*", "*", ""},
      {"OPTIONS http://b:81/ HTTP/1.1\r\n", "/", "/", ""},
  };
  for (const Example& example : examples) {
    CAPTURE(example.line);
    const ReadRequest request(std::string(example.line) + "Host: a\r\n\r\n");
    CHECK(request->authority == "b:81");
    CHECK(request->target == example.target);
    CHECK(request->path == example.path);
    CHECK(request->query == example.query);
  }
}

TEST_CASE("HTTP/1.0 may lack Host, never stays and never waits for a 100") {
  const ReadRequest request(
      "POST / HTTP/1.0\r\nConnection: keep-alive, upgrade\r\nUpgrade: x\r\nExpect: 100-continue\r\n"
      "Content-Length: 1\r\n\r\n");
  CHECK(request->authority == "");
  CHECK(request->minor_version == 0);
  CHECK_FALSE(request->keep_alive);
  CHECK_FALSE(request->expect_continue);
  CHECK_FALSE(request->upgrade);
  CHECK(problem_of("GET / HTTP/1.0\r\nExpect: tea\r\n\r\n") == "");
  CHECK(problem_of("GET / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n") == "expectation-failed");
}

TEST_CASE("Expect and Upgrade count where they can be answered") {
  const std::string post = "POST / HTTP/1.1\r\nHost: a\r\n";
  CHECK(ReadRequest(post + "Expect: 100-CONTINUE\r\nContent-Length: 1\r\n\r\n")->expect_continue);
  CHECK(ReadRequest(post + "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n")
            ->expect_continue);
  CHECK_FALSE(ReadRequest(post + "Expect: 100-continue\r\n\r\n")->expect_continue);
  CHECK_FALSE(
      ReadRequest(post + "Expect: 100-continue\r\nContent-Length: 0\r\n\r\n")->expect_continue);
  const std::string upgrade = post + "Connection: x, Upgrade\r\nUpgrade: websocket\r\n";
  CHECK(ReadRequest(upgrade + "\r\n")->upgrade);
  CHECK_FALSE(ReadRequest(upgrade + "Content-Length: 1\r\n\r\n")->upgrade);
  CHECK_FALSE(ReadRequest(post + "Upgrade: websocket\r\n\r\n")->upgrade);
}

TEST_CASE("a request that asks for an upgrade is followed by its body or the next request") {
  const std::string upgrade = "POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n";
  const Transcript with_body = test::read_requests(
      upgrade + "Content-Length: 3\r\n\r\nabcGET /2 HTTP/1.1\r\nHost: a\r\n\r\n", test::one_write);
  CHECK(with_body.bodies == std::vector<std::string>{"abc", ""});
  const Transcript without =
      test::read_requests(upgrade + "\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n", test::one_write);
  CHECK(without.heads == std::vector<std::string>{"/", "/2"});
}

TEST_CASE("unknown methods are read like known ones") {
  for (const std::string_view method : {"PURGE", "M-SEARCH", "X", "QUERY", "get"}) {
    CAPTURE(method);
    const ReadRequest request(std::string(method) + " / HTTP/1.1\r\nHost: a\r\n\r\n");
    CHECK(request->method == Method::other);
    CHECK(request->method_text == method);
  }
}

TEST_CASE("the end of a request is reported with its last bytes, or at once without a body") {
  RequestParser parser(ParserLimits{});
  CHECK_FALSE(parser.started());
  REQUIRE(parser.parse("\r\n")->event == ParseEvent::need_more);
  CHECK_FALSE(parser.started());
  const std::string_view first = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
  REQUIRE(parser.parse(first.substr(0, 1))->event == ParseEvent::need_more);
  CHECK(parser.started());
  REQUIRE(parser.parse(first.substr(1))->event == ParseEvent::head);
  REQUIRE(parser.parse("AA")->event == ParseEvent::body);
  CHECK(parser.body().size() == 1);
  const auto last = parser.parse("BBBGET");
  REQUIRE(last->event == ParseEvent::complete);
  CHECK(last->consumed == 3);
  REQUIRE(parser.body().size() == 1);
  CHECK(parser.body()[0] == "BBB");

  parser.begin();
  CHECK_FALSE(parser.started());
  REQUIRE(parser.parse("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET")->event == ParseEvent::head);
  const auto end = parser.parse("GET");
  CHECK(end->event == ParseEvent::complete);
  CHECK(end->consumed == 0);
  CHECK(parser.body().empty());
}

TEST_CASE("a tab beside a length or a coding is white space, and no more") {
  const auto bodies = [](std::string_view head, std::string_view body) {
    const std::string bytes =
        "POST / HTTP/1.1\r\nHost: a\r\n" + std::string(head) + "\r\n\r\n" + std::string(body);
    return test::read_requests(bytes, test::one_write).bodies;
  };
  CHECK(bodies("Content-Length: \t 4 \t", "body") == std::vector<std::string>{"body"});
  CHECK(bodies("Transfer-Encoding:\tchunked\t", "4\r\nbody\r\n0\r\n\r\n") ==
        std::vector<std::string>{"body"});
  CHECK(bodies("Content-Length: 4\t4", "body").empty());
  CHECK(bodies("Transfer-Encoding: chun\tked", "0\r\n\r\n").empty());
}

TEST_CASE("a quoted chunk extension is read over, whatever it holds") {
  const std::string head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  const std::string bytes = head + "4;a=\"b c;\\\"\"\r\nbody\r\n0;d=\"\"\r\n\r\n";
  for (const test::Cut& cut : {test::one_write, test::byte_by_byte}) {
    CHECK(test::read_requests(bytes, cut).bodies == std::vector<std::string>{"body"});
  }
}

TEST_CASE("several chunks in one input are several pieces, and views of that input") {
  RequestParser parser(ParserLimits{});
  const std::string head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  REQUIRE(parser.parse(head)->event == ParseEvent::head);
  const std::string body = "2;x\r\nab\r\n3\r\ncde\r\n0\r\nX-Sum: 1\r\nHost: evil\r\n\r\nrest";
  const auto step = parser.parse(body);
  REQUIRE(step->event == ParseEvent::complete);
  CHECK(body.substr(step->consumed) == "rest");
  REQUIRE(parser.body().size() == 2);
  CHECK(parser.body()[0].data() == body.data() + 5);
  CHECK(parser.body()[1] == "cde");
  CHECK(parser.trailers().size() == 2);
  CHECK(parser.trailers().find("x-sum")->value == "1");
  CHECK(parser.head().authority == "a");
  CHECK(parser.head().fields.count(FieldName::host) == 1);
  parser.begin();
  CHECK(parser.trailers().empty());
}

TEST_CASE("an empty input in the middle of a body gives no piece") {
  for (const std::string framing : {"Content-Length: 4\r\n", "Transfer-Encoding: chunked\r\n"}) {
    CAPTURE(framing);
    ReadRequest request("PUT / HTTP/1.1\r\nHost: a\r\n" + framing + "\r\n");
    const std::string_view part = framing[0] == 'C' ? "ab" : "4\r\nab";
    REQUIRE(request.parser.parse(part)->event == ParseEvent::body);
    const auto step = request.parser.parse("");
    REQUIRE(step.has_value());
    CHECK(step->event == ParseEvent::need_more);
    CHECK(step->consumed == 0);
    CHECK(request.parser.body().empty());
  }
}

TEST_CASE("random requests are read back whole, whatever the cut") {
  const bool holds = rc::check([] {
    const auto bodies = *rc::gen::container<std::vector<std::string>>(
        rc::gen::container<std::string>(rc::gen::arbitrary<char>()));
    std::string bytes;
    for (const std::string& body : bodies) {
      const bool chunked = *rc::gen::arbitrary<bool>() && !body.empty();
      bytes += "POST /x HTTP/1.1\r\nHost: a\r\n";
      if (chunked) {
        char size[20];
        std::snprintf(size, sizeof size, "%zx", body.size());
        bytes += "Transfer-Encoding: chunked\r\n\r\n";
        bytes += size + ("\r\n" + body) + "\r\n0\r\n\r\n";
      } else {
        bytes += "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
      }
    }
    const Transcript seen =
        test::read_requests(bytes, test::random_cut(*rc::gen::arbitrary<unsigned>(), 20));
    RC_ASSERT(seen.refusal == "");
    RC_ASSERT(seen.bodies == bodies);
    RC_ASSERT(seen.left == "");
  });
  CHECK(holds);
}

TEST_CASE("a trailer section that is wrong in two ways is refused for the same one, however cut") {
  std::string bytes =
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: 1\r\n folded\r\n";
  for (int i = 0; i < 200; ++i) bytes += "B: 2\r\n";
  bytes += "\r\n";
  const Transcript whole = test::read_requests(bytes, test::one_write);
  CHECK(whole.refusal == "headers-too-large");
  CHECK(test::read_requests(bytes, test::byte_by_byte).refusal == whole.refusal);
}

TEST_CASE("one wrong byte never makes the verdict depend on the cut") {
  const std::string good =
      "POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=\"y\"\r\nAAAAA\r\n"
      "0\r\nT: v\r\n\r\nGET / HTTP/1.1\r\nHost: b\r\n\r\n";
  constexpr std::string_view letters(
      "\r\n\0 \t:;,\x7f\xff"
      "0Ax",
      13);
  for (std::size_t at = 0; at < good.size(); ++at) {
    for (const char letter : letters) {
      std::string bytes = good;
      bytes[at] = letter;
      CAPTURE(bytes);
      const Transcript whole = test::read_requests(bytes, test::one_write);
      const Transcript cut = test::read_requests(bytes, test::byte_by_byte);
      REQUIRE(whole.refusal == cut.refusal);
      REQUIRE(whole.heads == cut.heads);
      REQUIRE(whole.bodies == cut.bodies);
      REQUIRE(whole.incomplete == cut.incomplete);
    }
  }
}

TEST_CASE("a response's framing decides whether its connection stays") {
  struct Example {
    std::string_view head;
    Framing framing;
    bool keep_alive;
  };
  const Example examples[] = {
      {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", {Kind::length, 2}, true},
      {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n",
       {Kind::length, 2},
       false},
      {"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n", {Kind::length, 2}, false},
      {"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: Keep-Alive\r\n\r\n",
       {Kind::length, 2},
       true},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", {Kind::chunked, 0}, true},
      {"HTTP/1.1 200 OK\r\n\r\n", {Kind::until_close, 0}, false},
      {"HTTP/1.1 204 No Content\r\n\r\n", {}, true},
      {"HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\n", {}, false},
      {"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", {}, true},
      {"HTTP/1.1 304\r\nContent-Length: 6\r\n\r\n", {}, true},
  };
  for (const Example& example : examples) {
    CAPTURE(example.head);
    const auto head = response_head(example.head);
    REQUIRE(head.has_value());
    CHECK(head->framing == example.framing);
    CHECK(head->keep_alive == example.keep_alive);
  }
  const auto to_head = response_head("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n", Method::head);
  CHECK(to_head->framing == Framing{});
  CHECK(to_head->keep_alive);
}

TEST_CASE("informational responses come before the final one, 16 at most") {
  std::string bytes;
  for (int i = 0; i < max_informational_responses; ++i)
    bytes += "HTTP/1.1 103 Early\r\nA: b\r\n\r\n";
  const std::string final_response = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
  const Transcript good =
      test::read_response(bytes + final_response, test::byte_by_byte, Method::get, false);
  CHECK(good.refusal == "");
  CHECK(good.heads.size() == 17);
  CHECK(good.bodies == std::vector<std::string>{"ok"});
  const Transcript flood =
      test::read_response(bytes + "HTTP/1.1 100 Continue\r\n\r\n" + final_response,
                          test::byte_by_byte, Method::get, false);
  CHECK(flood.refusal == "there are too many informational responses");
}

TEST_CASE("a change of protocol is refused unless it was asked for") {
  const std::string bytes =
      "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n\x01raw";
  CHECK(test::read_response(bytes, test::one_write, Method::get, false, false).refusal != "");
  const Transcript accepted = test::read_response(bytes, test::one_write, Method::get, false, true);
  CHECK(accepted.refusal == "");
  CHECK(accepted.heads == std::vector<std::string>{"101"});
  CHECK(accepted.left == "\x01raw");
}

TEST_CASE("how a response ends with its connection") {
  struct Example {
    std::string_view bytes;
    std::optional<ErrorType> error;
  };
  const Example examples[] = {
      {"", ErrorType::connection_terminated},
      {"H", ErrorType::http_response_incomplete},
      {"HTTP/1.1 200 OK\r\nContent-Le", ErrorType::http_response_incomplete},
      {"HTTP/1.1 100 Continue\r\n\r\n", ErrorType::http_response_incomplete},
      {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", ErrorType::http_response_incomplete},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
       ErrorType::http_response_incomplete},
      {"HTTP/1.1 2x0 OK\r\n", ErrorType::http_protocol_error},
      {"HTTP/1.1 200 OK\r\n\r\n", std::nullopt},
      {"HTTP/1.1 200 OK\r\n\r\nabc", std::nullopt},
      {"HTTP/1.1 204 No Content\r\n\r\n", std::nullopt},
      {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", std::nullopt},
  };
  for (const Example& example : examples) {
    CAPTURE(example.bytes);
    ResponseParser parser(ParserLimits{});
    parser.begin(Method::get, false);
    std::string_view left = example.bytes;
    while (!left.empty()) {
      const auto step = parser.parse(left);
      if (!step) break;
      left.remove_prefix(step->consumed);
    }
    CHECK(parser.started() == !example.bytes.empty());
    const auto finished = parser.finish();
    CHECK(finished.has_value() == !example.error.has_value());
    if (!finished) CHECK(finished.error().type == *example.error);
  }
}

TEST_CASE("one parser reads the responses of one connection, one after the other") {
  ResponseParser parser(ParserLimits{});
  const std::string_view bytes = "HTTP/1.1 200 Fine\r\nContent-Length: 2\r\nX: y\r\n\r\nok";
  for (int i = 0; i < 3; ++i) {
    parser.begin(Method::get, false);
    CHECK_FALSE(parser.started());
    const auto head = parser.parse(bytes);
    REQUIRE(head->event == ParseEvent::head);
    CHECK(parser.head().reason == "Fine");
    CHECK(parser.head().fields.size() == 2);
    CHECK(parser.parse(bytes.substr(head->consumed))->event == ParseEvent::complete);
  }
}

TEST_CASE("a response has limits too") {
  std::string many = "HTTP/1.1 200 OK\r\n";
  for (int i = 0; i < 129; ++i) many += "A: b\r\n";
  CHECK(response_head(many).error().type == ErrorType::http_protocol_error);
  CHECK_FALSE(response_head("HTTP/1.1 200 OK\r\nA: " + std::string(70000, 'b')).has_value());
  ParserLimits limits;
  limits.max_body_bytes = 3;
  ResponseParser parser(limits);
  const std::string_view head = "HTTP/1.1 200 OK\r\n\r\n";
  REQUIRE(parser.parse(head).has_value());
  CHECK(parser.parse("abc").has_value());
  CHECK_FALSE(parser.parse("d").has_value());
}

}  // namespace holdfast::http
