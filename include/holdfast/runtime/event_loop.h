// EventLoop: one libuv loop and what belongs to its thread.
//
// Contract: made, run and destroyed on one thread; post() and stop() may be called from any. The
// destructor REQUIRES that every handle has been closed (asserted) and that nobody posts any more;
// it runs what was posted and what is in flight (closes, blocking work), so that nothing is left.
#pragma once

#include <functional>
#include <memory>

#include "holdfast/base/clock.h"
#include "holdfast/base/rng.h"
#include "holdfast/runtime/context.h"
#include "holdfast/runtime/timers.h"

struct uv_loop_s;

namespace holdfast::runtime {

/// The time as the code on a loop sees it: it stands still while one event is handled, so that the
/// kernel is asked once for each event and not a dozen times. Outside of run() it always asks.
/// Whoever forgets to begin an event sees a time that is a turn of the loop old, and never older.
class LoopClock final : public Clock {
 public:
  TimePoint now() const override {
    if (!now_known_) {
      now_ = system_.now();
      now_known_ = stands_;
    }
    return now_;
  }
  WallTime wall_now() const override {
    if (!wall_now_known_) {
      wall_now_ = system_.wall_now();
      wall_now_known_ = stands_;
    }
    return wall_now_;
  }

  void begin_event() { now_known_ = wall_now_known_ = false; }
  /// Whether the time stands still between two begin_event().
  void stand_still(bool stands) {
    stands_ = stands;
    begin_event();
  }

 private:
  SystemClock system_;
  mutable TimePoint now_;
  mutable WallTime wall_now_;
  mutable bool now_known_ = false;
  mutable bool wall_now_known_ = false;
  bool stands_ = false;
};

class EventLoop {
 public:
  EventLoop();
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  /// Runs until stop().
  void run();
  void stop();
  /// Runs `function` on the loop's thread, in the order posted. Never dropped.
  void post(std::function<void()> function);

  /// Runs what was posted so far, now; true if there was anything. For an owner that is about to
  /// destroy what posted functions refer to.
  bool run_posted();

  /// Runs `work` on a pool thread (files, digests: what would block), then `done` on the loop. Only
  /// from the loop's thread. The loop's destructor waits for it.
  void run_blocking(std::function<void()> work, std::function<void()> done);

  /// Calls `handler` on the loop for each delivery of the signal `number`.
  void on_signal(int number, std::function<void()> handler);

  /// For what stands between libuv and us: another event is about to be handled, and the clock
  /// moves on.
  void begin_event() { clock_.begin_event(); }

  Context& context() { return context_; }
  uv_loop_s* uv() { return loop_.get(); }

 private:
  struct Impl;
  std::unique_ptr<uv_loop_s> loop_;
  LoopClock clock_;
  Rng rng_;
  std::unique_ptr<Impl> impl_;  // holds the timers, which context_ refers to
  Context context_;
};

}  // namespace holdfast::runtime
