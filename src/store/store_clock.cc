#include "holdfast/store/store_clock.h"

#include <algorithm>

namespace holdfast::store {

using policy::Milliseconds;
using policy::StoreTime;

StoreClock::StoreClock(const Clock& clock, StoreTime at_least)
    : clock_(clock),
      opened_(clock.now()),
      start_(std::max(std::chrono::floor<Milliseconds>(clock.wall_now()), at_least)) {}

StoreTime StoreClock::now() const {
  return start_ + std::chrono::floor<Milliseconds>(clock_.now() - opened_);
}

}  // namespace holdfast::store
