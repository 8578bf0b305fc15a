// KeyBoard: what the workers of one process tell each other about keys in flight: who waits for the
// result of another request, and answers that a store has not taken yet.
//
// It only makes things quick: the store alone decides. A waiter that is woken asks the store again;
// one that nobody wakes (its owner is in another process) asks by itself, from time to time.
//
// Contract: thread-safe; each call takes one mutex for some look-ups. `wake` functions are called
// on any thread with that mutex held: they must only post to their loop. Limits (idempotency §2.5,
// §2.12, §2.13): max_waiters in all and max_waiters_per_key, max_detached executions,
// max_unrecorded answers.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "holdfast/base/digest.h"

namespace holdfast::proxy {

/// An answer of an upstream, as it may be said again: to those who waited for it when it refused,
/// or while the store cannot be told.
struct SharedAnswer {
  Digest fingerprint{};
  int status = 0;
  std::string headers;  // http/stored_head.h: a refusal's shared_head, else a stored_head
  std::string body;
};

class KeyBoard {
 public:
  static constexpr std::size_t max_waiters = 1024;
  static constexpr std::size_t max_waiters_per_key = 16;
  static constexpr std::int64_t max_detached = 1024;
  static constexpr std::size_t max_unrecorded = 1024;

  using Wake = std::function<void(std::shared_ptr<const SharedAnswer>)>;

  // -- waiters
  /// A number that nobody else in the process has.
  std::uint64_t new_waiter() { return next_waiter_.fetch_add(1, std::memory_order_relaxed); }
  /// False at a limit.
  bool wait(const Digest& id, std::uint64_t waiter, Wake wake);
  void leave(const Digest& id, std::uint64_t waiter);
  /// The key is about to be given back, because the upstream refused: until this is withdrawn,
  /// which must follow behind wake(), nobody who waits begins to ask the store, which would give
  /// out the key again. Several owners may be on their way out at one time.
  void announce_refusal(const Digest& id);
  void withdraw_refusal(const Digest& id);
  bool refusal_announced(const Digest& id) const;
  /// True for the waiter who asks the store on behalf of all: the oldest. Nobody does while they
  /// are about to be told.
  bool asks(const Digest& id, std::uint64_t waiter) const;
  /// Wakes all who wait for `id`, the oldest first; they stay until they leave. `answer` (may be
  /// nullptr) is what they may say.
  void wake(const Digest& id, const std::shared_ptr<const SharedAnswer>& answer);
  bool awaited(const Digest& id) const;

  // -- answers that the store has not taken yet
  /// False at the limit.
  bool keep(const Digest& id, std::shared_ptr<const SharedAnswer> answer);
  void forget(const Digest& id);
  std::shared_ptr<const SharedAnswer> unrecorded(const Digest& id) const;

  // -- executions without a client
  std::atomic<std::int64_t> detached{0};

 private:
  struct Waiter {
    std::uint64_t name;
    Wake wake;
    bool told = false;  // what the upstream refused with
  };
  struct Queue {
    std::deque<Waiter> waiters;
    int refusals = 0;  // announced
  };
  mutable std::mutex mutex_;
  std::map<Digest, Queue> queues_;
  std::size_t waiting_ = 0;
  std::atomic<std::uint64_t> next_waiter_{0};
  std::map<Digest, std::shared_ptr<const SharedAnswer>> unrecorded_;
};

}  // namespace holdfast::proxy
