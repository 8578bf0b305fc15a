// Load: an upstream that counts what it executes, and clients that ask and remember what they were
// told.
//
// Contract: every request has a number of its own in its target, and the answer is that target: an
// answer of another request is seen. Thread-safe: everything public.
#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/suite.h"

namespace holdfast::testing {

/// Answers 201 with the request's target as the body, and counts the runs of each POST's target: a
/// GET may be asked for again.
/// Limits: it remembers the last 100,000 targets, so that it may run for hours.
class CountingApp {
 public:
  explicit CountingApp(Milliseconds delay = 0ms, std::string_view address = "127.0.0.1:0");

  std::string url() const { return server_.url(); }
  ScriptedUpstream& server() { return server_; }
  int runs(const std::string& target) const;
  /// Targets that ran more than once.
  int run_twice() const;

 private:
  void note_run(const std::string& target);

  mutable std::mutex mutex_;
  std::map<std::string, int> runs_;
  std::deque<std::string> in_order_;
  int run_twice_ = 0;
  ScriptedUpstream server_;
};

/// What clients were told: a status, "lost" (no whole answer), "wrong" (another request's answer),
/// "unrecorded" (the app's answer, which the store did not take).
struct Tally {
  std::map<std::string, int> outcomes;
  Milliseconds slowest{0};

  int of(const std::string& outcome) const;
  int total() const;
  /// "201: 4711, 503: 12".
  std::string text() const;
};

enum class Ask { get, post, keyed };

/// Clients that ask one request after the other, each on a connection that they keep, until the
/// Load is destroyed.
class Load {
 public:
  Load(std::string address, Ask ask, int clients = 4, Milliseconds pause = 1ms);
  ~Load();
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

  /// What came of the requests that began after the last call and have ended.
  Tally take();
  /// Waits until so many more have ended.
  void let_pass(int requests);
  /// Waits until a request has this outcome, from now on; false when that takes longer.
  bool wait_for(const std::string& outcome, Milliseconds within = patience);
  /// No more requests.
  void stop();
  /// The targets whose keyed answer was 201, the last 100,000 of them.
  std::vector<std::string> acknowledged() const;

 private:
  void be_a_client();
  std::string ask_once(RawClient& client, const std::string& target);
  void note(const std::string& target, const std::string& outcome, Milliseconds took);

  const std::string address_;
  const Ask ask_;
  const Milliseconds pause_;
  mutable std::mutex mutex_;
  Tally tally_;
  Tally ever_;
  SteadyClock::time_point since_{};
  std::deque<std::string> acknowledged_;
  std::atomic<bool> stopping_ = false;
  std::vector<std::thread> clients_;
};

/// The fields of a keyed request whose key is its target.
Headers key_of(const std::string& target);

/// How many of these keys are not replayed when they are asked for again.
int forgotten(const Holdfast& holdfast, const std::vector<std::string>& acknowledged);

}  // namespace holdfast::testing
