#include "holdfast/proxy/key_board.h"

#include <algorithm>
#include <utility>

namespace holdfast::proxy {

bool KeyBoard::wait(const Digest& id, std::uint64_t waiter, Wake wake) {
  const std::lock_guard lock(mutex_);
  if (waiting_ >= max_waiters) return false;
  std::deque<Waiter>& queue = waiters_[id];
  if (queue.size() >= max_waiters_per_key) return false;
  queue.push_back({waiter, std::move(wake)});
  ++waiting_;
  return true;
}

void KeyBoard::leave(const Digest& id, std::uint64_t waiter) {
  const std::lock_guard lock(mutex_);
  const auto found = waiters_.find(id);
  if (found == waiters_.end()) return;
  std::deque<Waiter>& queue = found->second;
  const bool asked = !queue.empty() && queue.front().name == waiter;
  waiting_ -= std::erase_if(queue, [&](const Waiter& each) { return each.name == waiter; });
  if (queue.empty()) {
    waiters_.erase(found);
  } else if (asked) {
    queue.front().wake(nullptr);  // the next one asks from now on
  }
}

bool KeyBoard::asks(const Digest& id, std::uint64_t waiter) const {
  const std::lock_guard lock(mutex_);
  const auto found = waiters_.find(id);
  return found != waiters_.end() && found->second.front().name == waiter;
}

void KeyBoard::wake(const Digest& id, const std::shared_ptr<const SharedAnswer>& answer) {
  const std::lock_guard lock(mutex_);
  const auto found = waiters_.find(id);
  if (found == waiters_.end()) return;
  for (const Waiter& waiter : found->second) waiter.wake(answer);
}

bool KeyBoard::awaited(const Digest& id) const {
  const std::lock_guard lock(mutex_);
  return waiters_.contains(id);
}

bool KeyBoard::keep(const Digest& id, std::shared_ptr<const SharedAnswer> answer) {
  const std::lock_guard lock(mutex_);
  if (unrecorded_.size() >= max_unrecorded) return false;
  unrecorded_[id] = std::move(answer);
  return true;
}

void KeyBoard::forget(const Digest& id) {
  const std::lock_guard lock(mutex_);
  unrecorded_.erase(id);
}

std::shared_ptr<const SharedAnswer> KeyBoard::unrecorded(const Digest& id) const {
  const std::lock_guard lock(mutex_);
  const auto found = unrecorded_.find(id);
  return found == unrecorded_.end() ? nullptr : found->second;
}

}  // namespace holdfast::proxy
