#include "holdfast/runtime/timers.h"

#include <algorithm>
#include <utility>

#include "holdfast/base/assert.h"

namespace holdfast::runtime {

void Timer::cancel() {
  if (timers_ != nullptr) timers_->cancel(*this);
}

Timers::~Timers() {
  HOLDFAST_ASSERT(heap_.empty());
}

void Timers::arm(Timer& timer, TimePoint at) {
  HOLDFAST_ASSERT(at != never);
  cancel(timer);
  timer.timers_ = this;
  const TimePoint earliest = next();
  const Entry entry{std::max(at, earliest_allowed_), next_order_++, &timer};
  heap_.push_back(entry);
  sift_up(heap_.size() - 1, entry);
  if (entry.at < earliest) wake_at(entry.at);
}

void Timers::cancel(Timer& timer) {
  if (timer.timers_ == nullptr) return;
  HOLDFAST_ASSERT(timer.timers_ == this);
  timer.timers_ = nullptr;
  remove(timer.position_);
}

void Timers::run_due(TimePoint now) {
  // Timers armed by those that fire wait for the next call, or one that arms itself for now would
  // never let the loop go. They sort behind all that is due: none before `now`, and later in order.
  earliest_allowed_ = now;
  const std::uint64_t last_order = next_order_;
  while (!heap_.empty() && heap_.front().at <= now && heap_.front().order < last_order) {
    Timer& timer = *heap_.front().timer;
    cancel(timer);
    begin_event();
    timer.fire();
  }
  earliest_allowed_ = TimePoint::min();
  if (!heap_.empty()) wake_at(heap_.front().at);
}

void Timers::place(std::size_t position, const Entry& entry) {
  heap_[position] = entry;
  entry.timer->position_ = position;
}

void Timers::sift_up(std::size_t position, const Entry& entry) {
  while (position > 0) {
    const std::size_t parent = (position - 1) / 2;
    if (!entry.before(heap_[parent])) break;
    place(position, heap_[parent]);
    position = parent;
  }
  place(position, entry);
}

void Timers::sift_down(std::size_t position, const Entry& entry) {
  for (;;) {
    std::size_t child = 2 * position + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() && heap_[child + 1].before(heap_[child])) ++child;
    if (!heap_[child].before(entry)) break;
    place(position, heap_[child]);
    position = child;
  }
  place(position, entry);
}

void Timers::remove(std::size_t position) {
  const Entry last = heap_.back();
  heap_.pop_back();
  if (position == heap_.size()) return;
  if (position > 0 && last.before(heap_[(position - 1) / 2])) {
    sift_up(position, last);
  } else {
    sift_down(position, last);
  }
}

Signal::~Signal() {
  HOLDFAST_ASSERT(waiter_ == nullptr);
}

void Signal::notify() {
  if (waiter_ == nullptr) return;
  Wait& wait = *std::exchange(waiter_, nullptr);
  wait.signal_ = nullptr;
  wait.signalled_ = true;
  wait.cancel();
  wait.waiter_.resume();
}

void Wait::await_suspend(std::coroutine_handle<> waiter) {
  waiter_ = waiter;
  if (signal_ != nullptr) {
    HOLDFAST_ASSERT(signal_->waiter_ == nullptr);
    signal_->waiter_ = this;
  }
  if (deadline_ != never) timer_queue_.arm(*this, deadline_);
}

void Wait::fire() {
  if (signal_ != nullptr) std::exchange(signal_, nullptr)->waiter_ = nullptr;
  waiter_.resume();
}

void Wait::forget() {
  if (signal_ != nullptr && signal_->waiter_ == this) signal_->waiter_ = nullptr;
  signal_ = nullptr;
}

}  // namespace holdfast::runtime
