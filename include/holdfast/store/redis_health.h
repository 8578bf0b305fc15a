// What the process knows of its Redis, from the connections of all workers: whether it answers,
// whether it may throw records away, and whether it has lost them.
//
// A record that is gone looks like one that never was, so a canary is kept beside them: a key that
// never expires, with a value that only one process could have written. Who has seen the canary and
// finds another, or none, knows that the data was lost (FLUSHALL, an empty primary).
//
// Contract: thread-safe. Each change is logged once for the process, not once for each worker.
// `logger` outlives it.
#pragma once

#include <mutex>
#include <set>
#include <string>
#include <string_view>

#include "holdfast/base/log.h"
#include "holdfast/base/result.h"
#include "holdfast/store/store.h"

namespace holdfast::store {

class RedisHealth {
 public:
  /// `place` for logs: the URL without its secrets.
  RedisHealth(std::string place, bool allow_eviction, Logger& logger);

  /// `who` is a worker's store.
  void came_up(const void* who);
  void went_down(const void* who, const StoreError& reason);
  void forget(const void* who);

  /// `policy` is maxmemory_policy. An error unless no record is ever evicted, or that is allowed.
  Result<void, StoreError> judge_eviction(std::string_view policy);

  /// The canary as it was found; "" if there is none.
  void saw_canary(std::string_view value);

  StoreStats stats();

 private:
  const std::string place_;
  const bool allow_eviction_;
  Logger& logger_;
  std::mutex mutex_;
  std::set<const void*> down_;
  std::string last_reason_;  // as logged, while something is down
  std::string canary_;
  bool evicting_ = false;
  bool lost_ = false;
};

}  // namespace holdfast::store
