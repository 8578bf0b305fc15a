#include "holdfast/store/redis_health.h"

#include <utility>

namespace holdfast::store {

RedisHealth::RedisHealth(std::string place, bool allow_eviction, Logger& logger)
    : place_(std::move(place)), allow_eviction_(allow_eviction), logger_(logger) {}

void RedisHealth::came_up(const void* who) {
  const std::lock_guard lock(mutex_);
  if (down_.erase(who) == 0 || !down_.empty()) return;
  last_reason_.clear();
  logger_.log(LogLevel::info, "the store answers again", {{"store", place_}});
}

void RedisHealth::went_down(const void* who, const StoreError& reason) {
  const std::lock_guard lock(mutex_);
  down_.insert(who);
  if (last_reason_ == reason.detail) return;
  last_reason_ = reason.detail;
  logger_.log(LogLevel::error, "the store cannot be used",
              {{"store", place_}, {"kind", name(reason.kind)}, {"reason", reason.detail}});
}

void RedisHealth::forget(const void* who) {
  const std::lock_guard lock(mutex_);
  down_.erase(who);
}

Result<void, StoreError> RedisHealth::judge_eviction(std::string_view policy) {
  const std::lock_guard lock(mutex_);
  const bool was_evicting = std::exchange(evicting_, policy != "noeviction");
  if (!evicting_) return {};
  const std::string_view shown = policy.empty() ? "not told" : policy;
  if (!allow_eviction_) {
    return unexpected(StoreError{StoreError::Kind::evicting,
                                 "Redis may throw records away: its maxmemory-policy is " +
                                     std::string(shown) + ", it must be noeviction"});
  }
  if (!was_evicting) {
    logger_.log(LogLevel::error,
                "Redis may throw idempotency records away, and then requests run twice",
                {{"store", place_}, {"maxmemory_policy", shown}});
  }
  return {};
}

void RedisHealth::saw_canary(std::string_view value) {
  const std::lock_guard lock(mutex_);
  if (!canary_.empty() && value != canary_) {
    lost_ = true;
    logger_.log(LogLevel::error,
                "Redis has lost its data: idempotency records are gone, requests may run twice",
                {{"store", place_}});
  }
  canary_ = value;
}

StoreStats RedisHealth::stats() {
  const std::lock_guard lock(mutex_);
  StoreStats stats;
  stats.up = down_.empty();
  stats.unsafe_eviction = evicting_;
  stats.unsafe_lost = lost_;
  return stats;
}

}  // namespace holdfast::store
