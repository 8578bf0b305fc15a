// The generator against services that stand still, fail, are silent, hang up, or are not there.
#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/child_process.h"
#include "tests/support/scripted_upstream.h"

namespace loadtest {
namespace {

using holdfast::testing::ChildProcess;
using holdfast::testing::CommandResult;
using holdfast::testing::Exchange;
using holdfast::testing::ScriptedUpstream;
using holdfast::testing::TemporaryFolder;

/// The last line.
struct Result {
  unsigned long requests = 0;
  unsigned long bad = 0;
  double rate = 0;
  double p50 = 0;
  double p99 = 0;
};

CommandResult openloop(const std::vector<std::string>& arguments) {
  std::vector<std::string> command{OPENLOOP_BINARY};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return holdfast::testing::run_command(command);
}

Result result_of(const CommandResult& ended) {
  CAPTURE(ended.error);
  REQUIRE(ended.exit_code == 0);
  Result result;
  std::istringstream line(ended.output.substr(ended.output.rfind("result ") + 7));
  line >> result.requests >> result.bad >> result.rate >> result.p50 >> result.p99;
  REQUIRE(line);
  return result;
}

/// fast_upstream on a port of its own.
class FastUpstream {
 public:
  explicit FastUpstream(const std::vector<std::string>& arguments = {})
      : process_(command(arguments)) {
    while (process_.standard_output().lines().empty()) {
      REQUIRE(process_.standard_output().wait_for(""));
    }
  }

  std::string url(const std::string& target = "/") const {
    return "http://127.0.0.1:" + process_.standard_output().lines().front() + target;
  }

 private:
  static std::vector<std::string> command(const std::vector<std::string>& arguments) {
    std::vector<std::string> all{FAST_UPSTREAM_BINARY, "0"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return all;
  }

  ChildProcess process_;
};

// Of 20,000 requests the 2,000 that are due within the second are answered after it. The 200th of
// those that waited longest was due a tenth of a second after its beginning.
TEST_CASE("a service that stands still for 1 s has a p99 of 0.9 s, at 2,000 a second for 10 s") {
  const FastUpstream service({"--stall-at", "8000", "1000"});
  const Result result = result_of(
      openloop({"--rate", "2000", "--seconds", "10", "--connections", "16", service.url()}));
  CHECK(result.requests == 20'000);
  CHECK(result.bad == 0);
  CHECK(result.p99 >= 899);
  CHECK(result.p99 < 1200);
  CHECK(result.p50 < 300);
}

TEST_CASE("answers of 400 and above are bad, and are counted") {
  const FastUpstream service;
  const Result result =
      result_of(openloop({"--rate", "1000", "--seconds", "1", service.url("/failing")}));
  CHECK(result.requests == 1000);
  CHECK(result.bad == 100);
}

TEST_CASE("connections stay, and each of them is used") {
  ScriptedUpstream service(holdfast::testing::reply(200, "good"));
  const Result result = result_of(
      openloop({"--rate", "200", "--seconds", "0.2", "--connections", "4", service.url() + "/x"}));
  CHECK(result.requests == 40);
  CHECK(result.bad == 0);
  CHECK(service.connection_count() == 4);
}

TEST_CASE("a connection that ends is made again; an answer may end with it") {
  ScriptedUpstream service(
      holdfast::testing::send_and_close("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\ngood"));
  const Result result = result_of(
      openloop({"--rate", "200", "--seconds", "0.1", "--connections", "2", service.url() + "/"}));
  CHECK(result.requests == 20);
  CHECK(result.bad == 0);
  CHECK(service.request_count() == 20);
}

TEST_CASE("half an answer is none") {
  ScriptedUpstream service(
      holdfast::testing::send_and_close("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ngo"));
  const Result result = result_of(openloop({"--rate", "100", "--seconds", "0.1", service.url()}));
  CHECK(result.requests == 10);
  CHECK(result.bad == 10);
}

TEST_CASE("what gets no answer counts with the time it was waited for, sent or not") {
  ScriptedUpstream service(holdfast::testing::never_answer());
  const Result result = result_of(openloop({"--rate", "100", "--seconds", "0.2", "--timeout", "0.3",
                                            "--connections", "4", service.url()}));
  CHECK(result.requests == 20);
  CHECK(result.bad == 20);
  CHECK(result.p50 >= 300);
}

TEST_CASE("the request is sent as told") {
  ScriptedUpstream service(holdfast::testing::echo());
  result_of(openloop({"--rate", "10", "--seconds", "0.1", "--method", "POST", "--field", "X-Y: z",
                      "--body", "hello", service.url() + "/a?b"}));
  const auto request = service.last_request();
  CHECK(request.method == "POST");
  CHECK(request.target == "/a?b");
  CHECK(request.body == "hello");
  CHECK(request.headers.get("x-y") == "z");
}

TEST_CASE("a plot is written where it is asked for, and a place that cannot be is an error") {
  const FastUpstream service;
  const TemporaryFolder folder;
  const std::string path = folder.path() + "/plot.svg";
  result_of(openloop({"--rate", "100", "--seconds", "0.1", "--plot", path, service.url()}));
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  CHECK(line.starts_with("<svg "));
  const CommandResult refused = openloop(
      {"--rate", "100", "--seconds", "0.1", "--plot", folder.path() + "/no/plot", service.url()});
  CHECK(refused.exit_code == 3);
}

TEST_CASE("no service, and wrong usage, are told apart") {
  ScriptedUpstream gone(holdfast::testing::reply(200));
  gone.refuse();
  CHECK(openloop({"--rate", "10", "--seconds", "0.1", gone.url()}).exit_code == 3);
  CHECK(openloop({"http://127.0.0.1:1/"}).exit_code == 2);
  CHECK(openloop({"--rate", "10", "https://127.0.0.1/"}).exit_code == 2);
  CHECK(openloop({"--rate", "0", "http://127.0.0.1/"}).exit_code == 2);
  CHECK(openloop({"--help"}).exit_code == 0);
}

}  // namespace
}  // namespace loadtest
