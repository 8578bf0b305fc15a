#include "holdfast/store/memory_store.h"

#include <cstring>

namespace holdfast::store {
namespace {

using policy::Record;
using policy::StoreTime;
using policy::Verdict;

class MemoryClient final : public Store {
 public:
  explicit MemoryClient(MemoryStore& store) : store_(store) {}
  runtime::Task<Result<Verdict, StoreError>> apply(const policy::Operation& operation) override {
    co_return store_.apply(operation);
  }

 private:
  MemoryStore& store_;
};

}  // namespace

MemoryStore::MemoryStore(std::uint64_t max_bytes, const Clock& clock, Logger& logger)
    : max_bytes_(max_bytes), clock_(clock) {
  logger.log(LogLevel::warn, "idempotency keys are kept in memory and forgotten with the process",
             {{"store", name(StoreKind::memory)}});
}

std::unique_ptr<Store> MemoryStore::open(runtime::Context&, net::Connector&, net::Resolver&) {
  return std::make_unique<MemoryClient>(*this);
}

StoreStats MemoryStore::stats() {
  const std::lock_guard lock(mutex_);
  StoreStats stats;
  totals_.tell(stats);
  return stats;
}

Result<Verdict, StoreError> MemoryStore::apply(const policy::Operation& operation) {
  const std::lock_guard lock(mutex_);
  const StoreTime now = clock_.now();
  for (int removed = 0; removed < sweep && remove_one_expired(now); ++removed) {
  }
  std::optional<Record> record = take(operation.id);
  const std::size_t size_before = record ? policy::footprint(*record) : 0;
  // What is settled stays as it is, so there is nothing to go back to, and no body to copy.
  std::optional<Record> before;
  if (record && !policy::is_settled(*record)) before = record;

  Verdict verdict = policy::apply(record, operation, now);
  const bool grown = record && policy::footprint(*record) > size_before;
  if (grown && may_be_refused(operation.command) && !make_room_for(*record, now)) {
    if (before) put(operation.id, *std::move(before));
    return unexpected(StoreError{StoreError::Kind::full, "the store's max_bytes are used up"});
  }
  if (record) put(operation.id, *std::move(record));
  return verdict;
}

std::optional<Record> MemoryStore::take(const Digest& id) {
  const auto found = records_.find(id);
  if (found == records_.end()) return std::nullopt;
  std::optional<Record> record = std::move(found->second);
  records_.erase(found);
  by_expiry_.erase({record->expires, id});
  totals_.remove(record->state, policy::footprint(*record));
  return record;
}

void MemoryStore::put(const Digest& id, Record record) {
  totals_.add(record.state, policy::footprint(record));
  by_expiry_.emplace(record.expires, id);
  records_.emplace(id, std::move(record));
}

bool MemoryStore::make_room_for(const Record& record, StoreTime now) {
  const auto fits = [&] { return totals_.bytes + policy::footprint(record) <= max_bytes_; };
  while (!fits() && remove_one_expired(now)) {
  }
  return fits();
}

bool MemoryStore::remove_one_expired(StoreTime now) {
  if (by_expiry_.empty() || by_expiry_.begin()->first > now) return false;
  take(by_expiry_.begin()->second);
  return true;
}

std::size_t MemoryStore::IdHash::operator()(const Digest& id) const {
  std::size_t hash = 0;  // a digest is as good as any hash of it
  std::memcpy(&hash, id.data(), sizeof(hash));
  return hash;
}

}  // namespace holdfast::store
