// Timers: everything that waits for a time, in one heap; and Wait, the awaiter of a Signal or a
// deadline.
//
// Contract: single-threaded. A Timer is intrusive: it lives in its owner (mostly a coroutine's
// frame), and its destructor takes it out, so a cancelled wait leaves nothing behind. Timers fire
// in the order of their times, equal ones in the order they were armed. The queue knows no clock:
// whoever drives it (EventLoop, or a simulation) calls run_due(now) at or after the time it was
// told through wake_at(). Cost: arm and cancel are O(log n) without allocation in steady state.
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "holdfast/base/time.h"

namespace holdfast::runtime {

class Timers;

class Timer {
 public:
  Timer() = default;
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  bool armed() const { return timers_ != nullptr; }

 protected:
  virtual ~Timer() { cancel(); }
  void cancel();
  /// Called from run_due(), disarmed. May arm itself again, and may be destroyed by its own doing.
  virtual void fire() = 0;

 private:
  friend class Timers;
  Timers* timers_ = nullptr;
  std::size_t position_ = 0;
};

class Timers {
 public:
  Timers() = default;
  Timers(const Timers&) = delete;
  Timers& operator=(const Timers&) = delete;
  /// REQUIRES: nothing is armed.
  virtual ~Timers();

  /// (Re-)arms. A time in the past fires at the next run_due(). REQUIRES: at != never.
  void arm(Timer& timer, TimePoint at);
  void cancel(Timer& timer);

  /// Fires what is due. Timers armed meanwhile for a time that has come fire in the next call.
  void run_due(TimePoint now);
  /// The earliest time armed, or `never`.
  TimePoint next() const { return heap_.empty() ? never : heap_.front().at; }
  std::size_t size() const { return heap_.size(); }

 protected:
  /// The earliest time has moved forward to `at`.
  virtual void wake_at(TimePoint at) = 0;
  /// A timer is about to fire: an event of its own, for a clock that stands still within one.
  virtual void begin_event() {}

 private:
  struct Entry {
    TimePoint at;
    std::uint64_t order;
    Timer* timer;
    bool before(const Entry& other) const {
      return at != other.at ? at < other.at : order < other.order;
    }
  };
  void place(std::size_t position, const Entry& entry);
  void sift_up(std::size_t position, const Entry& entry);
  void sift_down(std::size_t position, const Entry& entry);
  void remove(std::size_t position);

  std::vector<Entry> heap_;
  std::uint64_t next_order_ = 0;
  TimePoint earliest_allowed_ = TimePoint::min();  // the time of the run_due() in progress
};

class Wait;

/// Something that happens again and again, with at most one task waiting for it. notify() resumes
/// that task at once, on the caller's stack: call it from a loop's callback, as the last thing done
/// there, never from another task (those use DeferredSignal).
class Signal {
 public:
  Signal() = default;
  Signal(const Signal&) = delete;
  Signal& operator=(const Signal&) = delete;
  ~Signal();

  void notify();
  bool awaited() const { return waiter_ != nullptr; }

 private:
  friend class Wait;
  Wait* waiter_ = nullptr;
};

/// Awaits a signal, or a deadline, or either: `bool in_time = co_await wait_for(signal, timers,
/// deadline);`
class [[nodiscard]] Wait final : private Timer {
 public:
  Wait(Signal* signal, Timers& timers, TimePoint deadline)
      : signal_(signal), timer_queue_(timers), deadline_(deadline) {}
  ~Wait() override { forget(); }

  /// Over before it begins: what it would wait for has happened already.
  static Wait over(Timers& timers) { return Wait(timers); }

  bool await_ready() const { return signalled_; }
  void await_suspend(std::coroutine_handle<> waiter);
  /// True: the signal came. False: the deadline did.
  bool await_resume() { return signalled_; }

 private:
  friend class Signal;
  explicit Wait(Timers& timers)
      : signal_(nullptr), timer_queue_(timers), deadline_(never), signalled_(true) {}
  void fire() override;
  void forget();

  Signal* signal_;
  Timers& timer_queue_;
  TimePoint deadline_;
  std::coroutine_handle<> waiter_;
  bool signalled_ = false;
};

inline Wait wait_for(Signal& signal, Timers& timers, TimePoint deadline) {
  return Wait(&signal, timers, deadline);
}
/// Waits for a time. REQUIRES: at != never.
inline Wait sleep_until(Timers& timers, TimePoint at) {
  return Wait(nullptr, timers, at);
}

/// A signal that may be given from a task: the waiter runs from the loop, at its next turn, so that
/// it can never destroy the task that gave it. Notifications before that turn are one.
class DeferredSignal final : private Timer {
 public:
  explicit DeferredSignal(Timers& timers) : timer_queue_(timers) {}
  void notify(TimePoint now) {
    if (!armed()) timer_queue_.arm(*this, now);
  }
  Signal& signal() { return signal_; }

 private:
  void fire() override { signal_.notify(); }
  Timers& timer_queue_;
  Signal signal_;
};

}  // namespace holdfast::runtime
