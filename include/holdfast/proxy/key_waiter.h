// KeyWaiter: a request that waits until another one with its key has its result.
//
// Contract: single-threaded, on the loop of its services; woken from any thread through the board.
// Its destructor takes it off the board.
#pragma once

#include <cstdint>
#include <memory>

#include "holdfast/proxy/cluster.h"
#include "holdfast/proxy/key_board.h"
#include "holdfast/runtime/timers.h"

namespace holdfast::proxy {

class KeyWaiter {
 public:
  KeyWaiter(KeyBoard& board, const Digest& id, Services& services);
  ~KeyWaiter();
  KeyWaiter(const KeyWaiter&) = delete;
  KeyWaiter& operator=(const KeyWaiter&) = delete;

  /// False: too many wait already, and nobody will wake this one.
  bool admitted() const { return admitted_; }
  /// True if it is this one's turn to ask the store from time to time, for all.
  bool asks() const { return board_.asks(id_, number_); }
  /// Completes when it was woken since the last call (true), or at the deadline (false).
  runtime::Wait until_woken(TimePoint deadline);
  /// What the upstream refused the other request with, if that is how it ended.
  std::shared_ptr<const SharedAnswer> answer() const { return state_->answer; }
  /// True if it is about to be woken, by an owner that gives the key back.
  bool soon_told() const { return board_.refusal_announced(id_); }

 private:
  /// Apart, because a wake-up may be on its way when the waiter goes.
  struct State {
    runtime::Signal signal;
    bool woken = false;
    std::shared_ptr<const SharedAnswer> answer;
  };

  KeyBoard& board_;
  const Digest id_;
  Services& services_;
  const TimePoint since_;
  const std::uint64_t number_;
  const std::shared_ptr<State> state_;
  bool admitted_ = false;
};

}  // namespace holdfast::proxy
