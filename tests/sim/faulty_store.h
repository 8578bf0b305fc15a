// FaultyStore: the real records (store/memory_store) behind a link that is slow, loses answers,
// lets operations arrive after everybody has given up on them, and is cut for a while. The records
// outlive every process, as those of a file or of Redis do.
//
// Contract: apply() of an opened store ends within store_timeout, as the contract of store::Store
// says. An operation that was given up may be carried out later, at most `latest` after that; the
// time for which a released key remembers its token is longer.
// Ownership: outlives the stores that it has opened.
#pragma once

#include <memory>
#include <vector>

#include "holdfast/store/memory_store.h"
#include "tests/sim/ledger.h"
#include "tests/sim/scenario.h"
#include "tests/support/fake_network.h"

namespace holdfast::sim {

class FaultyStore {
 public:
  FaultyStore(test::World& world, const Scenario& scenario, Ledger& ledger);

  /// For one worker of that replica.
  std::unique_ptr<store::Store> open(std::size_t replica);
  /// Nobody reaches the records for so long: an outage.
  void cut_for(Duration duration);
  /// One replica does not reach them; the others do, and may take over what it has claimed.
  void cut_one_for(std::size_t replica, Duration duration);
  /// No more faults.
  void calm();

  static constexpr Duration latest = 2s;

 private:
  class Link;
  /// What becomes of one operation: carried out after `effect`, answered after `answer`.
  struct Fate {
    Duration effect{};
    Duration answer{};
    bool refused = false;
  };

  Fate draw_fate();
  void end_outage();
  bool is_out() const { return world_.now() < out_until_; }
  bool is_cut(std::size_t replica) const { return is_out() || world_.now() < cut_until_[replica]; }

  test::World& world_;
  const Scenario& scenario_;
  Ledger& ledger_;
  Chance chance_;
  store::MemoryStore records_;
  TimePoint out_until_ = TimePoint::min();
  std::vector<TimePoint> cut_until_;  // by replica
  bool outage_ = false;
  bool calm_ = false;
};

}  // namespace holdfast::sim
