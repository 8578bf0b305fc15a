// POSTs under load while the processes behind are killed and brought back one by one: which of them
// fail, what is said of those, and that none is executed twice.
#include <atomic>
#include <csignal>
#include <fstream>
#include <map>
#include <mutex>
#include <thread>

#include "tests/support/certificates.h"
#include "tests/support/keyed_setup.h"

using namespace holdfast::testing;

namespace {

constexpr int clients = 8;

const Authority& authority() {
  static const Authority made;
  return made;
}
const Certificate& identity() {
  static const Certificate made = authority().issue({.san = "IP:127.0.0.1"});
  return made;
}

/// A process that executes POSTs, at a port it keeps.
class App {
 public:
  App(const std::string& name, const std::string& notes, bool speaks_tls)
      : port_(std::to_string(free_port())),
        command_{"/usr/bin/python3", HOLDFAST_PEERS "/counting_app.py", port_, notes, name} {
    if (speaks_tls) {
      command_.insert(command_.end(), {identity().cert_file(), identity().key_file()});
    }
    start();
  }

  std::string address() const { return "127.0.0.1:" + port_; }
  void start() {
    process_.emplace(command_);
    const bool listening = process_->standard_output().wait_for("listening").has_value();
    REQUIRE_MESSAGE(listening, process_->standard_error().text());
  }
  void kill() {
    process_->signal(SIGKILL);
    CHECK(process_->wait_for_exit() == 128 + SIGKILL);
  }

 private:
  std::string port_;
  std::vector<std::string> command_;
  std::optional<ChildProcess> process_;
};

/// What became of a POST.
struct Outcome {
  Response response;
  std::string victim;  // who was down then
};

/// Three apps that note what they execute, and clients that post without end through holdfast.
class Bench {
 public:
  Bench(bool keyed, bool over_tls) : keyed_(keyed), notes_(folder_.write("notes", "")) {
    Setup setup;
    if (over_tls) setup.upstream = "tls = { ca = \"" + authority().ca_file() + "\" }\n";
    for (int i = 0; i < 3; ++i) {
      apps.push_back(std::make_unique<App>("app-" + std::to_string(i), notes_, over_tls));
      setup.endpoints.push_back((over_tls ? "https://" : "http://") + apps.back()->address());
    }
    setup.server = "workers = 2";
    setup.route = "retry = { budget = { ratio = 1.0 } }\n";
    if (keyed) setup.route += "[route.idempotency]\nenabled = true\n";
    setup.more =
        "[upstream.app.breaker]\nenabled = false\n[upstream.app.outlier]\n"
        "consecutive_failures = 3\neject_for = \"300ms\"\n[store]\nkind = \"memory\"\n";
    holdfast.emplace(setup);
    for (int i = 0; i < clients; ++i) threads_.emplace_back([this, i] { be_a_client(i); });
  }
  ~Bench() { end(); }

  /// Each app is killed once, and is back before the next one is.
  void kill_each_once() {
    REQUIRE(more(300));
    for (const auto& app : apps) {
      set_victim(app->address());
      const double refused = sent_elsewhere();
      app->kill();
      CHECK(more(300));
      // The resets alone may have ejected it: it stays down until it is tried again, and refuses.
      CHECK(eventually([&] { return sent_elsewhere() > refused; }));
      app->start();
      CHECK(holdfast->wait_metric("holdfast_upstream_endpoints",
                                  {{"upstream", "app"}, {"state", "healthy"}}, 3));
      CHECK(more(300));
    }
    end();
  }

  Response post(const std::string& id) const {
    Headers headers = {{"X-Id", id}, {"X-Request-Id", id}};
    if (keyed_) headers.add("Idempotency-Key", id);
    return holdfast->post("/pay", "amount=1", headers);
  }
  const std::map<std::string, Outcome>& outcomes() const { return outcomes_; }
  /// How often each POST was executed, by its id.
  std::map<std::string, int> executions() const {
    std::map<std::string, int> counts;
    std::ifstream notes(notes_);
    for (std::string id; std::getline(notes, id);) ++counts[id];
    return counts;
  }
  /// The lines of the access log, by the POST's id.
  std::map<std::string, nlohmann::json> lines() const {
    holdfast->wait_access_log(outcomes_.size());
    std::map<std::string, nlohmann::json> all;
    for (nlohmann::json& line : holdfast->access_log()) {
      const std::string id = line["request_id"];
      all.emplace(id, std::move(line));
    }
    return all;
  }

  std::vector<std::unique_ptr<App>> apps;
  std::optional<Holdfast> holdfast;

 private:
  void be_a_client(int number) {
    for (int i = 0; !ending_; ++i) {
      const std::string id = std::to_string(number) + "-" + std::to_string(i);
      Response response = post(id);
      const std::lock_guard lock(mutex_);
      outcomes_[id] = {std::move(response), victim_};
    }
  }
  double sent_elsewhere() const {
    return holdfast->metric("holdfast_retries_total", {{"reason", "connect"}});
  }
  bool more(std::size_t count) {
    const auto done = [this] {
      const std::lock_guard lock(mutex_);
      return outcomes_.size();
    };
    const std::size_t before = done();
    return eventually([&] { return done() >= before + count; });
  }
  void set_victim(const std::string& address) {
    const std::lock_guard lock(mutex_);
    victim_ = address;
  }
  void end() {
    ending_ = true;
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

  const bool keyed_;
  TemporaryFolder folder_;
  const std::string notes_;
  std::mutex mutex_;
  std::map<std::string, Outcome> outcomes_;
  std::string victim_;
  std::atomic<bool> ending_{false};
  std::vector<std::thread> threads_;
};

bool broke_off(const std::string& error) {
  return error == "connection_terminated" || error == "http_response_incomplete";
}

int count_of(const std::map<std::string, int>& counts, const std::string& id) {
  const auto found = counts.find(id);
  return found == counts.end() ? 0 : found->second;
}

void check_posts(bool over_tls) {
  Bench bench(false, over_tls);
  bench.kill_each_once();
  const std::map<std::string, int> executions = bench.executions();
  const std::map<std::string, nlohmann::json> lines = bench.lines();
  std::map<std::string, int> failed;
  for (const auto& [id, outcome] : bench.outcomes()) {
    CAPTURE(id);
    CAPTURE(outcome.response.raw_head);
    const int count = count_of(executions, id);
    if (outcome.response.status == 200) {
      CHECK(count == 1);
      continue;
    }
    ++failed[outcome.victim];
    CHECK(count <= 1);
    CHECK(outcome.response.status == 502);
    CHECK(broke_off(proxy_status(outcome.response, "error")));
    CHECK(lines.at(id)["endpoint"] == outcome.victim);
    CHECK(lines.at(id)["error"] == proxy_status(outcome.response, "error"));
  }
  for (const auto& [victim, count] : failed) {
    CAPTURE(victim);
    CHECK(count <= 2 * clients);  // what was in flight, and not what came after
  }
  MESSAGE(bench.outcomes().size() << " POSTs, " << failed.size() << " kills that were felt");
}

void check_keyed_posts(bool over_tls) {
  Bench bench(true, over_tls);
  bench.kill_each_once();
  const std::map<std::string, int> executions = bench.executions();
  const std::map<std::string, nlohmann::json> lines = bench.lines();
  int unknown = 0;
  for (const auto& [id, outcome] : bench.outcomes()) {
    CAPTURE(id);
    CAPTURE(outcome.response.raw_head);
    CAPTURE(outcome.response.body);
    const int count = count_of(executions, id);
    const std::string state = outcome.response.headers.get("Idempotency-Status");
    if (outcome.response.status == 200) {
      CHECK(count == 1);
      CHECK(state.empty());
    } else if (state == "not-executed") {
      CHECK(count == 0);
    } else {
      ++unknown;
      CHECK(count <= 1);
      check_problem(outcome.response, 502, "outcome-unknown");
      const auto problem = nlohmann::json::parse(outcome.response.body);
      CHECK(problem["code"] == "outcome-unknown");
      CHECK(problem["reason"] == "reset");
      CHECK(problem["retry_same_key"] == false);
      CHECK(problem["safe_new_key"] == false);
      CHECK(lines.at(id)["endpoint"] == outcome.victim);
    }
  }
  MESSAGE(bench.outcomes().size() << " keyed POSTs, " << unknown << " of them unknown");
  CHECK(unknown <= 6 * clients);  // three kills, as above
  CHECK(bench.holdfast->metric("holdfast_idempotency_unknown_total") == unknown);
  // Asked again, each says the same.
  for (const auto& [id, outcome] : bench.outcomes()) {
    const bool executed = outcome.response.status == 200;
    if (executed && id.back() != '7') continue;  // a tenth of those will do
    CAPTURE(id);
    const Response again = bench.post(id);
    const std::string state = outcome.response.headers.get("Idempotency-Status");
    if (executed || state == "not-executed") {
      CHECK(again.status == 200);
      CHECK(again.headers.has("Idempotent-Replayed") == executed);
      if (executed) CHECK(again.body == outcome.response.body);
    } else {
      check_problem(again, 409, "outcome-unknown");
    }
  }
  for (const auto& [id, count] : bench.executions()) {
    CAPTURE(id);
    CHECK(count == 1);
  }
}

}  // namespace

TEST_CASE("a POST fails only where its own endpoint was killed under it, and none runs twice") {
  check_posts(false);
}

TEST_CASE("the same over TLS, where a killed endpoint says no goodbye") {
  check_posts(true);
}

TEST_CASE("a keyed POST runs once at most, and what is said of one that failed is true") {
  check_keyed_posts(false);
}

TEST_CASE("the same over TLS, each attempt with a handshake of its own") {
  check_keyed_posts(true);
}
