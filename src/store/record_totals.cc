#include "holdfast/store/record_totals.h"

#include "holdfast/base/assert.h"

namespace holdfast::store {

using policy::RecordState;

void RecordTotals::add(RecordState state, std::uint64_t footprint) {
  bytes += footprint;
  ++by_state.at(static_cast<std::size_t>(state));
}

void RecordTotals::remove(RecordState state, std::uint64_t footprint) {
  std::uint64_t& count = by_state.at(static_cast<std::size_t>(state));
  HOLDFAST_ASSERT(count > 0 && bytes >= footprint);
  bytes -= footprint;
  --count;
}

void RecordTotals::tell(StoreStats& stats) const {
  const auto count = [&](RecordState state) {
    return by_state.at(static_cast<std::size_t>(state));
  };
  stats.bytes = bytes;
  stats.inflight = count(RecordState::inflight);
  stats.completed = count(RecordState::completed);
  stats.gone = count(RecordState::gone);
  stats.unknown = count(RecordState::unknown);
}

bool may_be_refused(policy::Command command) {
  return command == policy::Command::claim || command == policy::Command::complete;
}

}  // namespace holdfast::store
