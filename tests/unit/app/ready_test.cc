#include "holdfast/app/ready.h"

#include <doctest/doctest.h>

#include <string>
#include <thread>

#include "tests/unit/app/one_answer_server.h"

namespace holdfast::app {
namespace {

struct Asked {
  std::string error;  // "": ready
  std::string request;
};

Asked ask(const std::string& answer) {
  const OneAnswerServer server;
  Asked asked;
  std::thread thread([&] { asked.request = server.answer_once(answer); });
  const auto result = ask_ready(server.address());
  thread.join();
  if (!result) asked.error = result.error();
  return asked;
}

}  // namespace

TEST_CASE("only 200 is ready") {
  const Asked ready = ask("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  CHECK(ready.error == "");
  CHECK(ready.request.starts_with("GET /readyz HTTP/1.1\r\nHost: localhost\r\n"));
  CHECK(ask("HTTP/1.1 503 Service Unavailable\r\n\r\n").error ==
        "it answered HTTP/1.1 503 Service Unavailable");
  CHECK(ask("SSH-2.0 200 \r\n").error == "it answered SSH-2.0 200 ");
}

TEST_CASE("a silent instance is not ready, in time") {
  const OneAnswerServer silent;  // the kernel accepts for it; nobody reads
  CHECK(ask_ready(silent.address(), std::chrono::milliseconds(20)).error() == "no answer in time");
}

}  // namespace holdfast::app
