// Waiting for what another thread or process does: a deadline, a poll, a gate, a stopwatch.
//
// Contract: nothing here makes a test right by waiting long enough; it only bounds how long a test
// that is going to fail may take. `patience` is generous, for sanitizers on a busy machine.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace holdfast::testing {

using namespace std::chrono_literals;
using SteadyClock = std::chrono::steady_clock;
using Milliseconds = std::chrono::milliseconds;

inline constexpr Milliseconds patience{20000};

/// Polls `holds` until it is true or `within` is over; returns its last value.
template <typename Predicate>
bool eventually(Predicate&& holds, Milliseconds within = patience) {
  const auto deadline = SteadyClock::now() + within;
  while (!holds()) {
    if (SteadyClock::now() >= deadline) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

class Stopwatch {
 public:
  Milliseconds elapsed() const {
    return std::chrono::duration_cast<Milliseconds>(SteadyClock::now() - start_);
  }

 private:
  SteadyClock::time_point start_ = SteadyClock::now();
};

/// Holds threads until it is opened; stays open.
class Gate {
 public:
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    opened_.notify_all();
  }
  bool wait_for(Milliseconds within) {
    std::unique_lock lock(mutex_);
    return opened_.wait_for(lock, within, [this] { return open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable opened_;
  bool open_ = false;
};

}  // namespace holdfast::testing
