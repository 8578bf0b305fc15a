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
  bool answered = false;
  int status = 0;
  std::string body = {};
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
  std::uint64_t new_connection() { return ++connections_; }
  Run& new_run(std::uint64_t request, const std::string& key);
  const Run* run(std::uint64_t number) const;

  const std::vector<testing::Event>& events() const { return events_; }
  const std::vector<std::string>& violations() const { return violations_; }
  /// How often the upstreams began to execute that request.
  int starts_of(std::uint64_t request) const;
  std::uint64_t requests() const { return requests_; }

  /// An answer that its store did not take: the beginning of its record's id.
  void unrecorded(std::string_view id) { unrecorded_.emplace(id); }
  bool was_unrecorded(const std::string& id) const { return unrecorded_.contains(id); }

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
  std::map<int, int> told_;
  std::map<int, int> heard_;
  std::uint64_t requests_ = 0;
  std::uint64_t connections_ = 0;
};

}  // namespace holdfast::sim
