#include "holdfast/app/admin_client.h"

#include <doctest/doctest.h>

#include <string>
#include <thread>

#include "tests/unit/app/one_answer_server.h"

namespace holdfast::app {
namespace {

constexpr Duration patience = std::chrono::seconds(5);

Result<AdminAnswer, std::string> get_from(const std::string& answer) {
  const OneAnswerServer server;
  std::thread thread([&] { server.answer_once(answer); });
  auto result = admin_get(server.address(), "/x", patience);
  thread.join();
  return result;
}

}  // namespace

TEST_CASE("what is no answer") {
  for (const std::string text : {"", "HTTP/1.1 2", "\n\n"}) {
    CAPTURE(text);
    CHECK(get_from(text).error() == "the connection was closed without an answer");
  }
  CHECK(get_from("HTTP/1.1 200 OK\r\n\r\n" + std::string(64 * 1024, 'x')).error() ==
        "the answer is too long");
}

TEST_CASE("an answer is its status line, its status and its body") {
  struct Case {
    std::string text;
    int status;
    std::string body;
  };
  for (const Case& one :
       {Case{"HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody\r\n\r\nmore", 200, "body\r\n\r\nmore"},
        Case{"HTTP/1.0 503 \r\n\r\n", 503, ""}, Case{"HTTP/1.1 404\r\n", 404, ""},
        Case{"HTTP/1.1 x\r\n\r\n", 0, ""}, Case{"SSH-2.0 200 \r\n\r\n", 0, ""},
        Case{"\r\n", 0, ""}}) {
    const auto answer = get_from(one.text);
    CAPTURE(one.text);
    REQUIRE(answer);
    CHECK(answer->status_line == one.text.substr(0, one.text.find("\r\n")));
    CHECK(answer->status == one.status);
    CHECK(answer->body == one.body);
  }
}

TEST_CASE("a POST says that it may change something, and brings its text") {
  const OneAnswerServer server;
  std::string request;
  std::thread thread([&] { request = server.answer_once("HTTP/1.1 200 OK\r\n\r\n", "{1}"); });
  const auto answer = admin_post(server.address(), "/x", "{1}", patience);
  thread.join();
  CHECK(answer.has_value());
  CHECK(request ==
        "POST /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Holdfast-Admin: 1\r\n"
        "Content-Type: application/json\r\nContent-Length: 3\r\n\r\n{1}");
}

TEST_CASE("nobody there, and nobody answering") {
  net::Address gone;
  {
    const OneAnswerServer server;
    gone = server.address();
  }
  CHECK(admin_get(gone, "/", patience).error() == "Connection refused");
  CHECK(admin_get(*net::Address::from_unix_path("/nonexistent/x.sock"), "/", patience).error() ==
        "No such file or directory");
  const OneAnswerServer silent;  // the kernel accepts for it; nobody reads
  CHECK(admin_get(silent.address(), "/", std::chrono::milliseconds(20)).error() ==
        "no answer in time");
}

}  // namespace holdfast::app
