#include "holdfast/policy/breaker.h"

#include <algorithm>

#include "holdfast/base/assert.h"
#include "holdfast/policy/backoff.h"

namespace holdfast::policy {
namespace {

// With every probe out there is no date to name: one of them may come back at any moment.
constexpr Duration longest_probe_wait = std::chrono::seconds(1);
constexpr Duration shortest_wait = std::chrono::milliseconds(1);

// The quotient, not a product: 7.0 / 100 is the double that "0.07" names, 0.07 * 100 is not 7.
bool has_reached(std::uint32_t part, std::uint32_t whole, double rate) {
  return part > 0 && static_cast<double>(part) / static_cast<double>(whole) >= rate;
}

// open_for, doubled with each opening in a row before this one. open_max bounds the doubling, not
// an open_for that is longer by itself.
Duration pause_after(const BreakerOptions& options, int openings_in_a_row) {
  const BackoffOptions doubling{.kind = BackoffKind::exponential,
                                .base = options.open_for,
                                .max = std::max(options.open_for, options.open_max)};
  return backoff_ceiling(doubling, openings_in_a_row + 1);
}

// Up to a tenth of the pause.
Duration drawn_extra(Duration pause, Rng& rng) {
  const auto tenth = static_cast<std::uint64_t>(pause.count() / 10);
  return Duration(static_cast<Duration::rep>(rng.below(tenth + 1)));
}

}  // namespace

ConditionSet BreakerOptions::default_failures() {
  ConditionSet failures;
  for (const std::string_view condition : {"connect", "reset", "timeout", "5xx"}) {
    failures.add(condition);
  }
  return failures;
}

std::string_view name(BreakerState state) {
  switch (state) {
    case BreakerState::closed:
      return "closed";
    case BreakerState::open:
      return "open";
    case BreakerState::half_open:
      break;
  }
  return "half_open";
}

Breaker::Counts& Breaker::Counts::operator+=(const Counts& other) {
  calls += other.calls;
  failures += other.failures;
  slow += other.slow;
  return *this;
}

Breaker::Counts& Breaker::Counts::operator-=(const Counts& other) {
  calls -= other.calls;
  failures -= other.failures;
  slow -= other.slow;
  return *this;
}

Result<Breaker::Permit, Breaker::Rejected> Breaker::acquire(TimePoint now) {
  if (state_ == BreakerState::closed) return Permit{epoch_, false};
  if (state_ == BreakerState::open) {
    if (now < open_until_) return unexpected(Rejected{open_until_ - now});
    half_open();
  }
  return acquire_probe();
}

/// How long a probe that is out may take before asking again makes sense.
Duration Breaker::probe_wait() const {
  return std::clamp(options_.open_for, shortest_wait, longest_probe_wait);
}

std::optional<Breaker::Rejected> Breaker::rejection(TimePoint now) const {
  if (state_ == BreakerState::open && now < open_until_) return Rejected{open_until_ - now};
  if (state_ == BreakerState::half_open && probes_out_ >= options_.half_open_requests) {
    return Rejected{probe_wait()};
  }
  return std::nullopt;
}

Result<Breaker::Permit, Breaker::Rejected> Breaker::acquire_probe() {
  if (probes_out_ >= options_.half_open_requests) {
    return unexpected(Rejected{probe_wait()});
  }
  ++probes_out_;
  return Permit{epoch_, true};
}

void Breaker::record(Permit permit, Outcome outcome, Duration latency, TimePoint now, Rng& rng) {
  if (!options_.enabled || permit.epoch != epoch_) return;
  const bool slow = options_.slow_call && latency > *options_.slow_call;
  if (permit.probe) {
    record_probe(outcome, slow, now, rng);
  } else if (outcome != Outcome::ignored) {
    record_call(outcome == Outcome::failure, slow, now, rng);
  }
}

void Breaker::record_call(bool failed, bool slow, TimePoint now, Rng& rng) {
  failures_in_a_row_ = failed ? failures_in_a_row_ + 1 : 0;
  window_.add({.calls = 1, .failures = failed ? 1u : 0u, .slow = slow ? 1u : 0u}, now);
  if (should_open(window_.total(now))) open(now, rng);
}

bool Breaker::should_open(const Counts& counts) const {
  if (options_.consecutive_failures && failures_in_a_row_ >= *options_.consecutive_failures) {
    return true;
  }
  if (counts.calls < static_cast<std::uint32_t>(options_.min_requests)) return false;
  return has_reached(counts.failures, counts.calls, options_.failure_rate) ||
         has_reached(counts.slow, counts.calls, options_.slow_call_rate);
}

void Breaker::record_probe(Outcome outcome, bool slow, TimePoint now, Rng& rng) {
  HOLDFAST_ASSERT(probes_out_ > 0);
  --probes_out_;
  if (outcome == Outcome::ignored) return;
  if (outcome == Outcome::failure) {
    open(now, rng);
    return;
  }
  ++probes_succeeded_;
  if (slow) ++probes_slow_;
  if (probes_succeeded_ < options_.half_open_requests) return;
  const bool still_slow =
      has_reached(static_cast<std::uint32_t>(probes_slow_),
                  static_cast<std::uint32_t>(probes_succeeded_), options_.slow_call_rate);
  if (still_slow) {
    open(now, rng);
  } else {
    close();
  }
}

void Breaker::open(TimePoint now, Rng& rng) {
  const Duration pause = pause_after(options_, openings_in_a_row_);
  open_until_ = after(after(now, pause), drawn_extra(pause, rng));
  ++openings_in_a_row_;
  move_to(BreakerState::open);
}

void Breaker::half_open() {
  probes_out_ = 0;
  probes_succeeded_ = 0;
  probes_slow_ = 0;
  move_to(BreakerState::half_open);
}

void Breaker::close() {
  window_ = RollingWindow<Counts>(options_.window);
  failures_in_a_row_ = 0;
  openings_in_a_row_ = 0;
  move_to(BreakerState::closed);
}

// A new epoch makes the permits of the old state stale.
void Breaker::move_to(BreakerState to) {
  HOLDFAST_ASSERT(transition_count_ < transitions_.size());
  transitions_[transition_count_++] = {state_, to};
  state_ = to;
  ++epoch_;
}

std::optional<Breaker::Transition> Breaker::take_transition() {
  if (transition_count_ == 0) return std::nullopt;
  const Transition oldest = transitions_.front();
  std::ranges::rotate(transitions_, transitions_.begin() + 1);
  --transition_count_;
  return oldest;
}

void Breaker::reconfigure(const BreakerOptions& options) {
  const bool window_changed = options.window != options_.window;
  options_ = options;
  if (window_changed) window_ = RollingWindow<Counts>(options.window);
  if (!options.enabled && state_ != BreakerState::closed) close();
}

}  // namespace holdfast::policy
