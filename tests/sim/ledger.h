// Ledger: everything that clients and upstreams saw of a run, in one order, and every rule that was
// found broken. Its text is the history of a seed.
//
// Contract: the events are those of tests/support/history, in virtual time; requests without a key
// have an empty key there, which check() passes over.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/fake_network.h"
#include "tests/support/history.h"

namespace holdfast::sim {

/// One request that an upstream began to execute, and what it said of it.
struct Run {
  std::uint64_t number = 0;
  std::uint64_t request = 0;  // the client's number of it
  std::string key = {};       // who asks, and the key; "" without
  std::string content = {};  // who asks, and for what: two with the same may have one generated key
  bool of_keyed_route = false;
  bool at_backup = false;  // where a fallback goes
  bool answered = false;
  bool refused = false;  // ... with proof that nothing was done
  int status = 0;
  std::string fields = {};  // of the answer, beside what every answer has
  std::string body = {};
};

/// What one end of a tunnel has done and seen.
struct TunnelSide {
  std::uint64_t sent = 0;
  std::uint64_t received = 0;
  bool begun = false;
  bool finished = false;               // it has sent FIN behind its bytes
  bool reset = false;                  // ... or RST
  TimePoint moved = TimePoint::min();  // when it last had a byte
  TimePoint last = TimePoint::min();   // when it last had or sent anything
};
struct Tunnel {
  std::uint64_t run = 0;
  TunnelSide client = {};
  TunnelSide upstream = {};
};

class Ledger {
 public:
  explicit Ledger(const test::World& world) : world_(world) {}
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;

  void add(testing::Event event);
  /// A line of the history that is no event of a request.
  void note(std::string_view what);
  void violated(std::string_view rule, std::string_view what);

  std::uint64_t new_request() { return ++requests_; }
  /// When the first byte of that request was sent. REQUIRES: it was.
  TimePoint asked(std::uint64_t request) const { return asked_.at(request); }
  /// What its client sends. REQUIRES: the same.
  const std::string& payload(std::uint64_t request) const { return payloads_.at(request); }
  std::uint64_t new_connection() { return ++connections_; }
  Run& new_run(std::uint64_t request, const std::string& key);
  const Run* run(std::uint64_t number) const;
  /// REQUIRES: it has begun.
  Run& begun_run(std::uint64_t number) { return runs_.at(number); }

  const std::vector<testing::Event>& events() const { return events_; }
  const std::vector<std::string>& violations() const { return violations_; }
  /// How often the upstreams have executed that request; a refused keyed one they have not.
  int runs_of(std::uint64_t request) const;
  std::uint64_t requests() const { return requests_; }

  /// The tunnel that this run became.
  Tunnel& tunnel(std::uint64_t run) {
    Tunnel& tunnel = tunnels_[run];
    tunnel.run = run;
    return tunnel;
  }
  /// A process has ended, and with it every connection that it had.
  void stopped() { last_stop_ = world_.now(); }
  TimePoint last_stop() const { return last_stop_; }

  /// An answer that its store did not take: the beginning of its record's id.
  void unrecorded(std::string_view id) { unrecorded_.emplace(id); }
  bool was_unrecorded(const std::string& id) const { return unrecorded_.contains(id); }

  /// A client's handshake comes to nothing: nobody may serve that connection.
  void strange(std::uint64_t connection) { strange_.insert(connection); }
  bool is_strange(std::uint64_t connection) const { return strange_.contains(connection); }
  /// A replica tells that a client's handshake has failed.
  void handshake_failed() { ++failed_handshakes_; }
  int failed_handshakes() const { return failed_handshakes_; }

  /// A client waits so many milliseconds, and has said so.
  void hurries(std::uint64_t request, std::uint64_t deadline) { deadlines_[request] = deadline; }
  std::optional<std::uint64_t> deadline_of(std::uint64_t request) const {
    const auto found = deadlines_.find(request);
    return found == deadlines_.end() ? std::nullopt : std::optional(found->second);
  }

  // -- how a key fared, as the replicas tell it (the label `outcome`)
  void outcome(std::uint64_t request, std::string_view outcome) { outcomes_[request] = outcome; }
  bool was_bypassed(std::uint64_t request) const;

  // -- answers by status: as the replicas count them, and as clients had them
  void told(int status) { ++told_[status]; }
  void heard(int status) { ++heard_[status]; }
  /// No client has had an answer that nobody counts.
  void compare_counts();

  std::string text() const;

 private:
  struct Line {
    Duration at;
    std::optional<std::size_t> event;  // or a note
    std::string note;
  };
  Duration elapsed() const { return world_.now() - began_; }

  const test::World& world_;
  const TimePoint began_ = world_.now();
  std::vector<testing::Event> events_;
  std::vector<Line> lines_;
  std::vector<std::string> violations_;
  std::map<std::uint64_t, Run> runs_;
  std::set<std::string> unrecorded_;
  std::set<std::uint64_t> strange_;
  int failed_handshakes_ = 0;
  std::map<std::uint64_t, std::string> outcomes_;
  std::map<std::uint64_t, std::uint64_t> deadlines_;
  std::map<std::uint64_t, Tunnel> tunnels_;
  std::map<std::uint64_t, TimePoint> asked_;
  std::map<std::uint64_t, std::string> payloads_;
  TimePoint last_stop_ = TimePoint::min();
  std::map<int, int> told_;
  std::map<int, int> heard_;
  std::uint64_t requests_ = 0;
  std::uint64_t connections_ = 0;
};

}  // namespace holdfast::sim
