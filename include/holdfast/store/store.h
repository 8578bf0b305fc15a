// Store: where idempotency records live. One small interface: an operation in, a verdict out. Which
// verdict is decided by policy/idempotency.h, for every kind alike.
//
// A StoreBackend is one for the process (the memory, the database and its thread, what Redis
// needs); each worker opens a Store of it for its own loop.
//
// Contract
// - apply() ends within StoreOptions::timeout (and one turn of the loop), with a verdict or with an
//   error. After a verdict of claim, complete, tombstone, release or mark_unknown the change is as
//   durable as the store's `sync` says. An error leaves open whether the change was made.
// - Cancelling the task leaves that open as well. Whoever claims owns the consequence.
// - No call blocks the loop; a store that is down says so at once (its circuit is open).
// - A full store is an error to the caller: no record is ever evicted before it expires.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "holdfast/base/log.h"
#include "holdfast/base/result.h"
#include "holdfast/base/time.h"
#include "holdfast/net/network.h"
#include "holdfast/net/tls_context.h"
#include "holdfast/net/tls_credentials.h"
#include "holdfast/policy/idempotency.h"
#include "holdfast/runtime/context.h"
#include "holdfast/runtime/task.h"

namespace holdfast::store {

enum class StoreKind : std::uint8_t { local, memory, redis };
std::string_view name(StoreKind kind);

enum class Sync : std::uint8_t { normal, full };
enum class OnStoreError : std::uint8_t { closed, open };

/// [store] of the configuration; contract §2 has the words.
struct StoreOptions {
  StoreKind kind = StoreKind::local;
  std::string path = "holdfast.db";  // made absolute by the loader
  Sync sync = Sync::normal;
  std::uint64_t max_bytes = 256ULL * 1024 * 1024;
  std::string url = "redis://127.0.0.1:6379/0";
  net::TlsClientOptions tls = {};  // for a rediss URL; files made absolute by the loader
  std::string key_prefix = "holdfast:";
  int wait_replicas = 0;
  Duration wait_timeout = std::chrono::milliseconds(50);
  bool allow_eviction = false;
  Duration timeout = std::chrono::milliseconds(100);
  OnStoreError on_error = OnStoreError::closed;
  bool operator==(const StoreOptions&) const = default;
};

struct StoreError {
  enum class Kind : std::uint8_t {
    unavailable,  // not reachable, or the circuit is open
    timeout,      // no answer in time: the change may have been made
    refused,      // the store answered with an error of its own (READONLY, LOADING, EIO, ENOSPC)
    corrupt,      // the record cannot be read: fail closed
    full,         // max_bytes, OOM: nothing was changed
    evicting,     // Redis may throw records away
    replicas      // fewer than wait_replicas have the claim
  };
  Kind kind = Kind::unavailable;
  std::string detail;  // for a person; no key, token or password
};
std::string_view name(StoreError::Kind kind);

class Store {
 public:
  virtual ~Store() = default;
  /// REQUIRES: `operation` outlives the task.
  virtual runtime::Task<Result<policy::Verdict, StoreError>> apply(
      const policy::Operation& operation) = 0;
};

/// What /metrics shows of a store.
struct StoreStats {
  bool up = true;
  std::uint64_t bytes = 0;
  /// Records by state, where the store counts them (memory, local).
  std::uint64_t inflight = 0;
  std::uint64_t completed = 0;
  std::uint64_t gone = 0;
  std::uint64_t unknown = 0;
  bool unsafe_eviction = false;  // Redis may throw records away
  bool unsafe_lost = false;      // Redis has lost records (the canary is gone)
};

class StoreBackend {
 public:
  virtual ~StoreBackend() = default;
  /// For the loop of `context`, on its thread; destroyed there, before the backend. `connector` and
  /// `resolver` outlive it.
  virtual std::unique_ptr<Store> open(runtime::Context& context, net::Connector& connector,
                                      net::Resolver& resolver) = 0;
  /// From any thread.
  virtual StoreStats stats() = 0;
  /// What connections over TLS begin with, to be renewed when its files change; nullptr: there are
  /// none.
  virtual std::shared_ptr<net::TlsClientCredentials> credentials() const { return nullptr; }
};

/// Opens the store for the process. Fails when it can never work: a file that cannot be written or
/// is held by another process (the text names it). A Redis that cannot be reached is no failure.
/// `logger` outlives the backend.
Result<std::unique_ptr<StoreBackend>, std::string> open_backend(const StoreOptions& options,
                                                                Logger& logger);

}  // namespace holdfast::store
