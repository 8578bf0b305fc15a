// What holdfast passes on is one message to every reader: node's http module, h11 and HAProxy read
// each forwarded request as the strict reader of these tests does.
#include <cctype>
#include <memory>
#include <set>
#include <sstream>

#include "tests/support/suite.h"
#include "tests/wire/wire_case.h"

using namespace holdfast::testing;

namespace {

// llhttp, which node reads with, knows a closed list of methods.
const std::set<std::string> unknown_methods = {"RL-047", "RL-141", "RL-143"};

std::string lowered(std::string text) {
  for (char& letter : text) letter = static_cast<char>(std::tolower(letter));
  return text;
}

/// What every one of the servers answers: the request as it was read.
void tell(Exchange& exchange) {
  const Request& request = exchange.request;
  std::string text = request.method + " " + request.target + "\n";
  for (const auto& [name, value] : request.headers) text += lowered(name) + ": " + value + "\n";
  exchange.respond(200, text + "\n" + request.body);
}

/// A program that reads, and the holdfast before it.
class Reader {
 public:
  /// A script that says on its first line at which port it listens.
  Reader(std::string name, const std::vector<std::string>& command)
      : name_(std::move(name)), program_(std::make_unique<ChildProcess>(command)) {
    const auto line = program_->standard_output().wait_for("port ");
    REQUIRE_MESSAGE(line.has_value(), name_ << ": " << program_->standard_error().text());
    start("127.0.0.1:" + line->substr(5));
  }
  /// A server that listens already.
  Reader(std::string name, const std::string& address) : name_(std::move(name)) { start(address); }

  const std::string& name() const { return name_; }

  /// What was read of a case's requests, but for what holdfast makes anew each time.
  std::string reads(const WireCase& one) const {
    RawClient client = holdfast_->client();
    client.send(decoded(one.segments.front().bytes, "1", "1"));
    std::string all;
    for (std::size_t left = one.upstream_count.value_or(1); left > 0; --left) {
      const Response response = client.read_response(one.method());
      if (response.status != 200) all += "status " + std::to_string(response.status);
      all += response.body;
    }
    return without_request_ids(all);
  }

 private:
  void start(const std::string& address) {
    endpoint_ = address;
    holdfast_ = std::make_unique<Holdfast>(Setup{.endpoints = {"http://" + address}});
  }

  std::string without_request_ids(const std::string& text) const {
    std::istringstream lines(text);
    std::string kept;
    for (std::string line; std::getline(lines, line);) {
      if (line == "host: " + endpoint_) line = "host: the endpoint";
      if (!line.starts_with("x-request-id: ")) kept += line + "\n";
    }
    return kept;
  }

  std::string name_;
  std::string endpoint_;
  std::unique_ptr<ChildProcess> program_;
  std::unique_ptr<Holdfast> holdfast_;
};

/// HAProxy, which passes on to `app` what it has read.
class HaProxy {
 public:
  explicit HaProxy(const ScriptedUpstream& app)
      : address_("127.0.0.1:" + std::to_string(free_port())) {
    const std::string file = folder_.write("haproxy.cfg",
                                           "global\n  tune.http.maxhdr 200\ndefaults\n  mode "
                                           "http\n  timeout connect 10s\n  timeout client 10s\n"
                                           "  timeout server 10s\nlisten reader\n  bind " +
                                               address_ + "\n  server app " + app.address() + "\n");
    program_ = std::make_unique<ChildProcess>(
        std::vector<std::string>{"/usr/sbin/haproxy", "-db", "-f", file});
    const bool ready = eventually([this] { return listens(); });
    REQUIRE_MESSAGE(ready, program_->standard_error().text());
  }

  const std::string& address() const { return address_; }

 private:
  bool listens() const {
    try {
      return fetch(address_, "/").status == 200;
    } catch (const WireError&) {
      return false;
    }
  }

  TemporaryFolder folder_;
  std::string address_;
  std::unique_ptr<ChildProcess> program_;
};

/// Requests that are forwarded, and whose answer says what was read.
std::vector<WireCase> forwarded_cases() {
  std::vector<WireCase> forwarded;
  for (const char* file : {"/cases.jsonl", "/more_cases.jsonl"}) {
    for (WireCase& one : read_cases(HOLDFAST_WIRE_CASES + std::string(file))) {
      const bool plain = !one.in_segments && one.max_ms.empty() && !one.follow_up &&
                         !one.upstream_bytes && one.upstream_count != 0 && !one.segments.empty();
      if (one.expect == "forward-normalized" && plain && one.method() != "HEAD") {
        forwarded.push_back(std::move(one));
      }
    }
  }
  return forwarded;
}

}  // namespace

TEST_CASE("three other parsers read what is forwarded as one and the same message") {
  ScriptedUpstream app(tell);
  const HaProxy haproxy(app);
  const Reader strict("the tests' own", app.address());
  const std::string scripts = HOLDFAST_WIRE_CASES "/parsers/";
  Reader others[] = {Reader("node", {"/usr/bin/node", scripts + "node_server.js"}),
                     Reader("h11", {"/usr/bin/python3", scripts + "h11_server.py"}),
                     Reader("HAProxy", haproxy.address())};
  const std::vector<WireCase> cases = forwarded_cases();
  CHECK(cases.size() > 80);
  for (const WireCase& one : cases) {
    CAPTURE(one.id);
    const std::string expected = strict.reads(one);
    CHECK(expected.find("\nvia: ") != expected.npos);
    for (const Reader& other : others) {
      if (other.name() == "node" && unknown_methods.contains(one.id)) continue;
      CAPTURE(other.name());
      CHECK(other.reads(one) == expected);
    }
  }
}
