#include "holdfast/http/syntax.h"

#include <doctest/doctest.h>

#include <string>

#include "holdfast/http/parser.h"

namespace holdfast::http {

TEST_CASE("a request line that is not exactly three words is refused") {
  for (const std::string_view line :
       {"", "GET", "GET ", "GET /", "GET / ", " GET / HTTP/1.1", "GET  / HTTP/1.1",
        "GET /  HTTP/1.1", "GET / HTTP/1.1 ", "GET\t/\tHTTP/1.1", "GET /a b HTTP/1.1",
        "GET  HTTP/1.1", "G(T / HTTP/1.1", "GET /\xc3\xa9 HTTP/1.1", "GET /a#b HTTP/1.1"}) {
    CAPTURE(line);
    const auto parsed = parse_request_line(line);
    REQUIRE_FALSE(parsed.has_value());
    CHECK(parsed.error().problem == Problem::bad_request);
  }
}

TEST_CASE("only HTTP/1.1 and HTTP/1.0 are versions, spelled exactly so") {
  for (const std::string_view version :
       {"http/1.1", "HTTP/1.10", "HTTP/1.2", "HTTP/2.0", "HTTP/0.9", "HTTP/1.", "HTTP/11",
        "ICE/1.0", "RTSP/1.0", "HTTP/1,1", "HTTP/1.1\x01"}) {
    CAPTURE(version);
    CHECK_FALSE(parse_request_line("GET / " + std::string(version)).has_value());
    CHECK_FALSE(parse_status_line(std::string(version) + " 200 OK").has_value());
  }
  CHECK(parse_request_line("GET / HTTP/1.1")->minor_version == 1);
  CHECK(parse_request_line("GET / HTTP/1.0")->minor_version == 0);
}

TEST_CASE("methods are tokens; some are not for us") {
  const auto problem_of = [](std::string_view method) {
    const auto line = std::string(method) + " / HTTP/1.1";
    const auto parsed = parse_request_line(line);
    return parsed ? std::string_view("") : name(parsed.error().problem);
  };
  CHECK(problem_of("GETGET") == "");
  CHECK(problem_of("M-SEARCH") == "");
  CHECK(problem_of("get") == "");
  CHECK(problem_of(std::string(max_method_length, 'A')) == "");
  CHECK(problem_of(std::string(max_method_length + 1, 'A')) == "not-implemented");
  CHECK(problem_of("TRACE") == "method-not-allowed");
  CHECK(problem_of("CONNECT") == "method-not-allowed");
  for (const std::string_view method :
       {"PRI", "SOURCE", "DESCRIBE", "SETUP", "PLAY", "PAUSE", "TEARDOWN", "GET_PARAMETER"}) {
    CAPTURE(method);
    CHECK(problem_of(method) == "bad-request");
  }
}

TEST_CASE("a target of no form is refused") {
  for (const std::string_view target : {"",
                                        "*",
                                        "a",
                                        "sut.test:80",
                                        "?a",
                                        "http:/a/b",
                                        "http:a",
                                        "https://a/",
                                        "ftp://a/",
                                        "http:///a",
                                        "http://",
                                        "http://u@a/",
                                        "http://u:p@a/",
                                        "http://a:0/",
                                        "http://a:65536/",
                                        "http://a:/",
                                        "http://a,b/",
                                        "/a\\b",
                                        "http://a\\b/",
                                        "//\\"}) {
    CAPTURE(target);
    CHECK_FALSE(split_target(target, Method::get).has_value());
  }
}

TEST_CASE("a target is cut where its authority ends") {
  struct Example {
    std::string_view target;
    std::string_view authority;
    std::string_view rest;
  };
  const Example examples[] = {
      {"/", "", "/"},
      {"//evil/x", "", "//evil/x"},
      {"/a?u=http://x/\\", "", "/a?u=http://x/\\"},
      {"http://a", "a", ""},
      {"HTTP://A:80/b?c", "A:80", "/b?c"},
      {"http://a?c", "a", "?c"},
      {"http://[::1]:8080/x", "[::1]:8080", "/x"},
  };
  for (const Example& example : examples) {
    CAPTURE(example.target);
    const auto parts = split_target(example.target, Method::get);
    REQUIRE(parts.has_value());
    CHECK(parts->authority == example.authority);
    CHECK(parts->rest == example.rest);
  }
  CHECK(split_target("*", Method::options)->rest == "*");
}

TEST_CASE("an authority is a host with at most a port") {
  for (const std::string_view text : {"",
                                      ":80",
                                      "a:",
                                      "a:0",
                                      "a:65536",
                                      "a:99999",
                                      "a:000080",
                                      "a:8x",
                                      "a:+80",
                                      "a:80:80",
                                      "a b",
                                      "a,b",
                                      "a@b",
                                      "a/b",
                                      "a?b",
                                      "a#b",
                                      "s\xfft",
                                      "%",
                                      "%4",
                                      "%4g",
                                      "[",
                                      "[]",
                                      "[::1",
                                      "::1",
                                      "[::1]x",
                                      "[::1]:",
                                      "[::1]:0",
                                      "[v1.a]",
                                      "[::1%25eth0]",
                                      "[1.2.3.4]",
                                      "[:::]",
                                      "[1:2:3:4:5:6:7:8:9]",
                                      "[::1]]",
                                      "a\"b",
                                      "<a>"}) {
    CAPTURE(text);
    CHECK_FALSE(is_authority(text));
  }
  for (const std::string_view text :
       {"a", "sut.test", "SUT.test:80", "127.0.0.1:65535", "a_b.c-d~", "%41b", "[::]", "[::1]:1",
        "[1:2:3:4:5:6:7:8]", "[::ffff:1.2.3.4]", "a:0080"}) {
    CAPTURE(text);
    CHECK(is_authority(text));
  }
}

TEST_CASE("a status is three digits from 100 to 599") {
  for (const std::string_view line :
       {"", "HTTP/1.1", "HTTP/1.1 ", "HTTP/1.1 20", "HTTP/1.1 2000 OK", "HTTP/1.1 099 X",
        "HTTP/1.1 600 X", "HTTP/1.1 abc OK", "HTTP/1.1  200 OK", "HTTP/1.1 +20 OK",
        "HTTP/1.1 200\tOK", "HTTP/2 200", "HTP/1.1 200 OK", " HTTP/1.1 200 OK"}) {
    CAPTURE(line);
    CHECK_FALSE(parse_status_line(line).has_value());
  }
}

TEST_CASE("a reason may be empty or missing") {
  struct Example {
    std::string_view line;
    int status;
    std::string_view reason;
  };
  const Example examples[] = {
      {"HTTP/1.1 200 OK", 200, "OK"},
      {"HTTP/1.0 599 Not  so\tgood", 599, "Not  so\tgood"},
      {"HTTP/1.1 204 ", 204, ""},
      {"HTTP/1.1 100", 100, ""},
  };
  for (const Example& example : examples) {
    CAPTURE(example.line);
    const auto parsed = parse_status_line(example.line);
    REQUIRE(parsed.has_value());
    CHECK(parsed->status == example.status);
    CHECK(parsed->reason == example.reason);
  }
}

TEST_CASE("a field line is a token, a colon and a value") {
  for (const std::string_view line :
       {"", "Host", ": a", " Host: a", "\tHost: a", "Host : a", "Host\t: a", "Ho st: a",
        "H\xc3\xb6st: a", "Host[]: a", "\"Host\": a"}) {
    CAPTURE(line);
    CHECK_FALSE(parse_field_line(line).has_value());
  }
  CHECK(parse_field_line("X-A:")->value == "");
  CHECK(parse_field_line("X-A: \t v : w\t ")->value == "v : w");
  CHECK(parse_field_line("X_a:v")->name == "X_a");
}

}  // namespace holdfast::http
