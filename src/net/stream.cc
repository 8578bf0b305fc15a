#include "holdfast/net/stream.h"

#include <utility>

#include "holdfast/base/assert.h"

namespace holdfast::net {
namespace {

// A buffer of up to this size stays with its stream for the next time.
constexpr std::size_t small_buffer = 4096;

}  // namespace

Stream::~Stream() {
  if (destroyed_ != nullptr) *destroyed_ = true;
}

void Stream::consume(std::size_t count) {
  HOLDFAST_ASSERT(count <= input_.size());
  input_.remove_prefix(count);
  if (reading_ || !open_for_input() || input_.size() >= read_ahead_limit) return;
  reading_ = true;
  set_reading(true);
}

runtime::Wait Stream::until_input(TimePoint deadline) {
  if (!open_for_input()) return runtime::Wait::over(timers_);
  release_consumed();
  return runtime::wait_for(input_signal_, timers_, deadline);
}

runtime::Wait Stream::until_sent(TimePoint deadline) {
  if (!sending_) return runtime::Wait::over(timers_);
  return runtime::wait_for(sent_signal_, timers_, deadline);
}

runtime::Wait Stream::until_failed(TimePoint deadline) {
  if (failure_) return runtime::Wait::over(timers_);
  return runtime::wait_for(failed_signal_, timers_, deadline);
}

void Stream::deliver(std::string_view bytes) {
  if (!open_for_input()) return;
  // Mostly all earlier input is consumed, and so will these bytes be before the callback ends: they
  // are shown where they are, and only what is left is copied.
  const bool in_place = input_.empty();
  if (in_place) {
    input_ = bytes;
  } else {
    keep(bytes);
  }
  if (!tell(input_signal_)) return;
  if (in_place) {
    kept_.assign(input_);
    input_ = kept_;
  }
  if (carried_ != nullptr) release_consumed();
  stop_reading_at_limit();
}

void Stream::keep(std::string_view bytes) {
  kept_.erase(0, kept_.size() - input_.size());
  kept_.append(bytes);
  input_ = kept_;
}

void Stream::deliver_end() {
  if (!open_for_input()) return;
  ended_ = true;
  tell(input_signal_);
}

void Stream::deliver_failure(Error error) {
  if (failure_) return;
  failure_ = std::move(error);
  sending_ = false;
  // Who only watches is told last: it may end those who read and write.
  if (input_signal_.awaited() && !tell(input_signal_)) return;
  if (sent_signal_.awaited() && !tell(sent_signal_)) return;
  tell(failed_signal_);
}

void Stream::deliver_sent() {
  if (failure_) return;
  sending_ = false;
  tell(sent_signal_);
}

// False if the one who was told has destroyed the stream.
bool Stream::tell(runtime::Signal& signal) {
  HOLDFAST_ASSERT(destroyed_ == nullptr);
  bool destroyed = false;
  destroyed_ = &destroyed;
  give(signal);
  if (destroyed) return false;
  destroyed_ = nullptr;
  return true;
}

void Stream::give(runtime::Signal& signal) {
  if (carried_ == nullptr) {
    signal.notify();
  } else if (&signal == &sent_signal_) {
    carried_->on_sent();
  } else {
    carried_->on_input();
  }
}

void Stream::stop_reading_at_limit() {
  if (!reading_ || !open_for_input() || input_.size() < read_ahead_limit) return;
  reading_ = false;
  set_reading(false);
}

// A reader that waits is done with what it consumed; a connection that idles holds no buffer.
void Stream::release_consumed() {
  if (!input_.empty() || kept_.capacity() <= small_buffer) return;
  kept_ = std::string();
  input_ = kept_;
}

}  // namespace holdfast::net
