// Breaker: stops calling an upstream that fails, and finds out when it is well again.
//
// closed --failure rate, slow-call rate or a run of failures--> open --open_for--> half_open
// half_open --half_open_requests successes--> closed;   half_open --one failure--> open (longer)
//
// closed: every call is admitted and counted in a rolling window of ten exact buckets. It opens
// when the window holds min_requests results and the share of failures (or of slow calls) has
// reached its threshold, or after `consecutive_failures` in a row whatever the window holds.
//
// open: no call is admitted. The pause is open_for, doubled with each re-opening in a row up to
// open_max, plus up to 10 % at random (so that many instances do not probe at once).
//
// half_open: at most half_open_requests probes are out at a time; as many successes in all close
// it, one failure re-opens it, and so do successes of which slow_call_rate were slow: an upstream
// that opened it by being slow has to become fast again. A probe that ends as `ignored` gives its
// place back.
//
// A breaker that is not enabled is closed, admits every call and counts nothing.
//
// Contract: pure; told the time. Times never go back between calls. A result that belongs to an
// earlier state (its permit's epoch is not the current one) changes nothing.
// Not thread-safe: one per upstream for the whole process, behind a mutex held for one call.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "holdfast/base/result.h"
#include "holdfast/base/rng.h"
#include "holdfast/base/time.h"
#include "holdfast/policy/condition.h"
#include "holdfast/policy/rolling_window.h"

namespace holdfast::policy {

struct BreakerOptions {
  bool enabled = true;
  Duration window = std::chrono::seconds(10);
  int min_requests = 20;
  double failure_rate = 0.5;
  std::optional<int> consecutive_failures;  // nullopt: off
  std::optional<Duration> slow_call;        // nullopt: off
  double slow_call_rate = 1.0;
  ConditionSet failures = default_failures();
  Duration open_for = std::chrono::seconds(5);
  Duration open_max = std::chrono::seconds(60);
  int half_open_requests = 3;

  static ConditionSet default_failures();
  bool operator==(const BreakerOptions&) const = default;
};

enum class BreakerState : std::uint8_t { closed, open, half_open };
std::string_view name(BreakerState state);

class Breaker {
 public:
  enum class Outcome : std::uint8_t { success, failure, ignored };

  struct Permit {
    std::uint64_t epoch = 0;
    bool probe = false;
  };

  /// Why a call was not admitted, and when asking again may help (> 0).
  struct Rejected {
    Duration retry_after;
  };

  struct Transition {
    BreakerState from;
    BreakerState to;
  };

  explicit Breaker(const BreakerOptions& options) : options_(options), window_(options.window) {}

  /// The permit that acquire() gives for as long as the breaker is closed; nullopt while it is not.
  std::optional<Permit> closed_permit() const {
    return state_ == BreakerState::closed ? std::optional(Permit{epoch_, false}) : std::nullopt;
  }
  /// Asks for one call. Every permit must be given back by exactly one record().
  Result<Permit, Rejected> acquire(TimePoint now);
  /// What acquire() would refuse with, and nothing changes.
  std::optional<Rejected> rejection(TimePoint now) const;

  /// Reports what became of a call that was admitted. `latency` counts for slow calls only.
  void record(Permit permit, Outcome outcome, Duration latency, TimePoint now, Rng& rng);

  /// The state as of `now`: an open breaker whose pause is over still reads open until a call asks.
  BreakerState state() const { return state_; }

  /// The next transition that has not been taken yet, oldest first; nullopt when there is none.
  /// acquire, record and reconfigure make at most one each.
  /// REQUIRES: transitions are taken before more than four are waiting.
  std::optional<Transition> take_transition();

  /// New options after a reload. State, window counts and permits stay as they are, except that a
  /// changed window length begins an empty window, and switching off closes.
  void reconfigure(const BreakerOptions& options);
  const BreakerOptions& options() const { return options_; }

 private:
  struct Counts {
    std::uint32_t calls = 0;
    std::uint32_t failures = 0;
    std::uint32_t slow = 0;

    Counts& operator+=(const Counts& other);
    Counts& operator-=(const Counts& other);
  };

  Result<Permit, Rejected> acquire_probe();
  Duration probe_wait() const;
  void record_call(bool failed, bool slow, TimePoint now, Rng& rng);
  void record_probe(Outcome outcome, bool slow, TimePoint now, Rng& rng);
  bool should_open(const Counts& counts) const;
  void open(TimePoint now, Rng& rng);
  void half_open();
  void close();
  void move_to(BreakerState to);

  BreakerOptions options_;
  BreakerState state_ = BreakerState::closed;
  std::uint64_t epoch_ = 0;

  RollingWindow<Counts> window_;
  int failures_in_a_row_ = 0;

  TimePoint open_until_{};
  int openings_in_a_row_ = 0;

  int probes_out_ = 0;
  int probes_succeeded_ = 0;
  int probes_slow_ = 0;  // of those that succeeded

  std::array<Transition, 4> transitions_{};
  std::size_t transition_count_ = 0;
};

}  // namespace holdfast::policy
