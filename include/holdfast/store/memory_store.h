// MemoryStore: idempotency records in the memory of the process, which forgets them when it ends.
//
// Contract: one map behind a mutex that is held for one decision; apply() on a loop never waits.
// Limits: the records' footprints stay within `max_bytes`. Where a claim or a completion would pass
// it, expired records go; if that is not enough it is `full` and nothing is changed. What an owner
// tells of a record that exists (renew, release, tombstone, unknown) is small and always fits.
// A call removes at most what it needs and `sweep` expired records besides.
// Ownership: `clock` outlives the store.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

#include "holdfast/base/clock.h"
#include "holdfast/store/record_totals.h"
#include "holdfast/store/store.h"
#include "holdfast/store/store_clock.h"

namespace holdfast::store {

class MemoryStore final : public StoreBackend {
 public:
  MemoryStore(std::uint64_t max_bytes, const Clock& clock, Logger& logger);

  std::unique_ptr<Store> open(runtime::Context& context, net::Connector& connector,
                              net::Resolver& resolver) override;
  StoreStats stats() override;

  /// From any thread.
  Result<policy::Verdict, StoreError> apply(const policy::Operation& operation);

  static constexpr int sweep = 8;

 private:
  struct IdHash {
    std::size_t operator()(const Digest& id) const;
  };
  std::optional<policy::Record> take(const Digest& id);
  void put(const Digest& id, policy::Record record);
  bool make_room_for(const policy::Record& record, policy::StoreTime now);
  bool remove_one_expired(policy::StoreTime now);

  const std::uint64_t max_bytes_;
  StoreClock clock_;
  std::mutex mutex_;
  std::unordered_map<Digest, policy::Record, IdHash> records_;
  std::set<std::pair<policy::StoreTime, Digest>> by_expiry_;
  RecordTotals totals_;
};

}  // namespace holdfast::store
