// StoreClock: the time of a store that keeps its own: the wall clock when it was opened, and from
// then on what has passed by the monotonic clock.
//
// Contract: never goes back, whatever is done to the wall clock, nor below `at_least`, the latest
// time the store has seen: a wall clock that was set back only lengthens what is kept. Thread-safe.
// Ownership: `clock` outlives it.
#pragma once

#include "holdfast/base/clock.h"
#include "holdfast/policy/idempotency.h"

namespace holdfast::store {

class StoreClock {
 public:
  explicit StoreClock(const Clock& clock, policy::StoreTime at_least = {});
  policy::StoreTime now() const;

 private:
  const Clock& clock_;
  TimePoint opened_;
  policy::StoreTime start_;
};

}  // namespace holdfast::store
