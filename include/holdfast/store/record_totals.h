// RecordTotals: what a store that counts its records knows of them, and what it may refuse when it
// is full.
//
// Contract: a value. Each record is added once and removed as it was added.
#pragma once

#include <array>
#include <cstdint>

#include "holdfast/policy/idempotency.h"
#include "holdfast/store/store.h"

namespace holdfast::store {

struct RecordTotals {
  std::uint64_t bytes = 0;  // the sum of the footprints
  std::array<std::uint64_t, 5> by_state{};

  void add(policy::RecordState state, std::uint64_t footprint);
  void remove(policy::RecordState state, std::uint64_t footprint);
  /// Fills in what they know.
  void tell(StoreStats& stats) const;
};

/// A full store refuses new claims and completions. The rest is told by an owner or a person of a
/// record that is there, is small, and would be worse to lose than a bound to pass by a little.
bool may_be_refused(policy::Command command);

}  // namespace holdfast::store
