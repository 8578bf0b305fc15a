#include "holdfast/proxy/key_board.h"

#include <algorithm>
#include <utility>

#include "holdfast/base/assert.h"

namespace holdfast::proxy {

bool KeyBoard::wait(const Digest& id, std::uint64_t waiter, Wake wake) {
  const std::lock_guard lock(mutex_);
  if (waiting_ >= max_waiters) return false;
  std::deque<Waiter>& waiters = queues_[id].waiters;
  if (waiters.size() >= max_waiters_per_key) return false;
  waiters.push_back({waiter, std::move(wake)});
  ++waiting_;
  return true;
}

void KeyBoard::leave(const Digest& id, std::uint64_t waiter) {
  const std::lock_guard lock(mutex_);
  const auto found = queues_.find(id);
  if (found == queues_.end()) return;
  Queue& queue = found->second;
  std::deque<Waiter>& waiters = queue.waiters;
  const bool asked = !waiters.empty() && waiters.front().name == waiter;
  waiting_ -= std::erase_if(waiters, [&](const Waiter& each) { return each.name == waiter; });
  if (queue.refusals > 0) return;
  if (waiters.empty()) {
    queues_.erase(found);
  } else if (asked && !waiters.front().told) {
    waiters.front().wake(nullptr);  // the next one asks from now on
  }
}

void KeyBoard::announce_refusal(const Digest& id) {
  const std::lock_guard lock(mutex_);
  ++queues_[id].refusals;
}

void KeyBoard::withdraw_refusal(const Digest& id) {
  const std::lock_guard lock(mutex_);
  const auto found = queues_.find(id);
  HOLDFAST_ASSERT(found != queues_.end() && found->second.refusals > 0);
  Queue& queue = found->second;
  if (--queue.refusals > 0) return;
  if (queue.waiters.empty()) {
    queues_.erase(found);
  } else if (!queue.waiters.front().told) {
    queue.waiters.front().wake(nullptr);  // it came too late to be told, and asks from now on
  }
}

bool KeyBoard::refusal_announced(const Digest& id) const {
  const std::lock_guard lock(mutex_);
  const auto found = queues_.find(id);
  return found != queues_.end() && found->second.refusals > 0;
}

bool KeyBoard::asks(const Digest& id, std::uint64_t waiter) const {
  const std::lock_guard lock(mutex_);
  const auto found = queues_.find(id);
  if (found == queues_.end() || found->second.refusals > 0) return false;
  const std::deque<Waiter>& waiters = found->second.waiters;
  return !waiters.empty() && waiters.front().name == waiter && !waiters.front().told;
}

void KeyBoard::wake(const Digest& id, const std::shared_ptr<const SharedAnswer>& answer) {
  const std::lock_guard lock(mutex_);
  const auto found = queues_.find(id);
  if (found == queues_.end()) return;
  for (Waiter& waiter : found->second.waiters) {
    waiter.told = waiter.told || answer;
    waiter.wake(answer);
  }
}

bool KeyBoard::awaited(const Digest& id) const {
  const std::lock_guard lock(mutex_);
  const auto found = queues_.find(id);
  return found != queues_.end() && !found->second.waiters.empty();
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
