// Holdfast: the real binary, run on a configuration of the test's.
//
// Contract: the constructor returns when /readyz says 200. The destructor drains it and checks that
// it ended with 0, so that every test also proves a clean end (and, with sanitizers, no leak); a
// process that died shows its stderr.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/child_process.h"
#include "tests/support/metrics.h"
#include "tests/support/raw_client.h"

namespace holdfast::testing {

/// The usual configuration: one upstream "app", one route "main" that matches everything.
struct Setup {
  std::vector<std::string>
      endpoints;              // as the configuration has them, e.g. ScriptedUpstream::url()
  std::string server = "";    // keys of [server]
  std::string upstream = "";  // keys of [upstream.app]
  std::string route = "";     // keys of the route, then tables like [route.retry]
  std::string more = "";      // whatever else, e.g. [upstream.app.breaker]

  std::string text() const;
};

struct RunOptions {
  Environment environment = {};
  Output standard_output = Output::captured;
  bool wait_until_ready = true;
  /// A command that runs it, and becomes it: {"prlimit", "--nofile=64"}.
  std::vector<std::string> under = {};
  /// Written into the configuration's folder first: name and text.
  std::vector<std::pair<std::string, std::string>> files = {};
};

class Holdfast {
 public:
  /// `text` without [[listener]], [admin] or [server] gets them: free ports, one worker.
  explicit Holdfast(std::string_view text, RunOptions options = {});
  explicit Holdfast(const Setup& setup, RunOptions options = {})
      : Holdfast(setup.text(), std::move(options)) {}
  ~Holdfast();

  /// The first listener, and the admin listener.
  const std::string& address() const { return address_; }
  const std::string& admin_address() const { return admin_address_; }
  RawClient client() const { return RawClient(address_); }
  /// One request on a connection of its own.
  Response get(std::string_view target, const Headers& headers = {}) const {
    return fetch(address_, target, headers);
  }
  Response post(std::string_view target, std::string_view body, const Headers& headers = {}) const {
    return fetch(address_, target, headers, "POST", body);
  }
  Response admin(std::string_view target, const Headers& headers = {},
                 std::string_view method = "GET") const {
    return fetch(admin_address_, target, headers_for_admin(headers), method);
  }

  Metrics metrics() const;
  double metric(std::string_view name, const Labels& labels = {}) const {
    return metrics().value(name, labels);
  }
  /// Waits until the metric has that value.
  bool wait_metric(std::string_view name, const Labels& labels, double expected) const;
  /// The state of the upstream's breaker: the one whose gauge is 1.
  std::string breaker_state(const std::string& upstream = "app") const;

  /// Access log lines so far.
  std::vector<nlohmann::json> access_log() const;
  /// Waits for so many access log lines and returns the last of them.
  nlohmann::json wait_access_log(std::size_t count) const;
  std::optional<std::string> wait_for_log(std::string_view part,
                                          Milliseconds within = patience) const {
    return process_->standard_error().wait_for(part, within);
  }

  /// Writes a new configuration (given its listener, admin and server tables as at the start).
  void write_config(std::string_view text);
  void write_config(const Setup& setup) { write_config(setup.text()); }
  /// Writes it, sends SIGHUP and waits until the reload was counted; true if it was accepted.
  bool reload(std::string_view text);
  bool reload(const Setup& setup) { return reload(setup.text()); }
  double generation() const { return metric("holdfast_config_generation"); }

  void signal(int number) { process_->signal(number); }
  /// SIGTERM, and the exit code.
  int stop();
  ChildProcess& process() { return *process_; }
  /// A new process on the same configuration and ports. REQUIRES: the old one has ended.
  void start_again(const RunOptions& options = {}) { start(options); }
  /// The test has ended it in a way that need not be 0.
  void ended_as_expected() { expect_clean_end_ = false; }
  const TemporaryFolder& folder() const { return folder_; }
  const std::string& config_path() const { return config_path_; }
  /// The whole text as it was written.
  std::string complete(std::string_view text) const;

 private:
  void start(const RunOptions& options);
  static Headers headers_for_admin(const Headers& headers);
  void wait_until_ready();

  TemporaryFolder folder_;
  std::string address_;
  std::string admin_address_;
  std::string config_path_;
  std::unique_ptr<ChildProcess> process_;
  bool expect_clean_end_ = true;
};

/// True if this build of the tests, and so the binary's too, runs under a sanitizer.
extern const bool built_with_sanitizers;

/// The binary under test, and one run of it to its end.
std::string holdfast_binary();
CommandResult run_holdfast(std::vector<std::string> arguments, const Environment& environment = {});

}  // namespace holdfast::testing
