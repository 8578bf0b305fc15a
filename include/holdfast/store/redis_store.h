// Idempotency records in a Redis: what replicas of holdfast share.
//
// Each worker has one connection, kept by a task of its own: connect, greet, watch, and again. Its
// circuit is that task's state. It opens at the first connection error or time-out; while it is
// open apply() fails at once, and one attempt after the other is made in the background, after
// 50 ms to 1 s at random. So an outage costs one request its patience, and no other.
//
// Contract: that of Store. An operation ends within `timeout`; with wait_replicas three times
// wait_timeout is added, for a claim may stand behind the waits of others before its own. A server
// that is a replica, loads its data or may evict records is not used (allow_eviction: used, and
// shouted about). That is asked at first contact, every `check_every`, and when a reply hints at
// it. Nodes of a Redis Cluster are refused. One that answers and takes no writes (OOM, MISCONF,
// NOREPLICAS) is used for what it still does and is not `up`; it is asked every second.
// Ownership: the backend outlives its stores; a store its operations.
#pragma once

#include <memory>
#include <string>

#include "holdfast/base/log.h"
#include "holdfast/base/result.h"
#include "holdfast/base/time.h"
#include "holdfast/store/store.h"

namespace holdfast::store {

struct RedisTuning {
  /// How often a server in use is asked whether it may still be used.
  Duration check_every = std::chrono::seconds(10);
  /// For a connect with its greeting, and for a check; at least `timeout`.
  Duration patience = std::chrono::seconds(1);
};

/// Reads the files of a rediss URL's TLS, then looks at the server once, for `patience`: fails if a
/// file is wrong, or if the server can be reached and evicts. Blocks; not
/// for a thread whose loop runs.
Result<std::unique_ptr<StoreBackend>, std::string> open_redis_backend(
    const StoreOptions& options, Logger& logger, const RedisTuning& tuning = {});

}  // namespace holdfast::store
