#include "tests/sim/monitor.h"

#include <algorithm>
#include <utility>

namespace holdfast::sim {

using policy::BreakerState;

Monitor::Monitor(const test::World& world, const Scenario& scenario, Ledger& ledger,
                 std::string process)
    : world_(world), scenario_(scenario), ledger_(ledger), process_(std::move(process)) {}

proxy::Slot Monitor::slot(std::string_view name) {
  const auto found = std::ranges::find(names_, name);
  const auto index = static_cast<proxy::Slot>(found - names_.begin());
  if (found == names_.end()) names_.emplace_back(name);
  return index;
}

void Monitor::violated(std::string_view rule, const std::string& what) {
  ledger_.violated(rule, process_ + ": " + what);
}

// -- the breaker

void Monitor::breaker_moved(proxy::Slot upstream, std::string_view name,
                            policy::Breaker::Transition moved) {
  std::vector<Period>& periods = periods_[upstream];
  const BreakerState before = periods.empty() ? BreakerState::closed : periods.back().state;
  const auto is = [&](BreakerState from, BreakerState to) {
    return moved.from == from && moved.to == to;
  };
  const bool legal = is(BreakerState::closed, BreakerState::open) ||
                     is(BreakerState::open, BreakerState::half_open) ||
                     is(BreakerState::half_open, BreakerState::open) ||
                     is(BreakerState::half_open, BreakerState::closed);
  const std::string words =
      std::string(policy::name(moved.from)) + " > " + std::string(policy::name(moved.to));
  ledger_.note(process_ + ": breaker of " + std::string(name) + " " + words);
  if (!legal || moved.from != before) violated("breaker", "went " + words);
  periods.push_back({moved.to, world_.now()});
}

void Monitor::attempt_finished(const proxy::AttemptRecord& record) {
  ++attempts_;
  const TimePoint began = world_.now() - record.duration;
  const std::string& upstream = names_[record.upstream];
  std::vector<Period>& periods = periods_[record.upstream];
  const auto after_it =
      std::ranges::find_if(periods, [&](const Period& period) { return period.since > began; });
  if (after_it == periods.begin()) return;
  Period& period = *std::prev(after_it);
  // What began at the very moment of the opening may have been admitted before it.
  if (period.state == BreakerState::open && period.since < began) {
    violated("breaker", "an attempt at " + upstream + " began while it was open");
  }
  if (period.state != BreakerState::half_open) return;
  period.attempts.push_back({began, world_.now()});
  check_probes(period, scenario_.config.upstreams.at(upstream).breaker.half_open_requests,
               upstream);
}

void Monitor::check_probes(const Period& period, int most, const std::string& upstream) {
  const Span& last = period.attempts.back();
  for (const Span& moment : period.attempts) {
    const TimePoint at = std::max(moment.from, last.from);
    const auto out = std::ranges::count_if(
        period.attempts, [&](const Span& one) { return one.from <= at && at < one.to; });
    if (out <= most) continue;
    return violated("breaker", std::to_string(out) + " probes at " + upstream + " at a time");
  }
}

// -- the sums

void Monitor::exchange_finished(const proxy::ExchangeRecord& record) {
  ledger_.told(record.status);
  attempts_told_ += record.attempts;
  if (!record.idempotency.empty()) ++keyed_exchanges_;
  if (record.upstream.empty()) return;
  ++exchanges_;
  const auto& routes = scenario_.config.routes;
  const auto route = std::ranges::find(routes, record.route_name, &proxy::RouteConfig::name);
  constexpr int most_fallbacks = 2;
  if (record.attempts > route->retry.attempts + most_fallbacks) {
    violated("retries", std::to_string(record.attempts) + " attempts");
  }
}

void Monitor::key_event(const proxy::KeyEvent& event) {
  if (event.kind == proxy::KeyEvent::Kind::unrecorded) ledger_.unrecorded(event.id);
  constexpr std::string_view kinds[] = {"released",     "unknown",      "tombstone",
                                        "fenced",       "bypassed",     "unrecorded",
                                        "commit retry", "renew failed", "jwt scope"};
  ledger_.note(process_ + ": key " + std::string(event.id) + " " +
               std::string(kinds[static_cast<std::size_t>(event.kind)]) + " " +
               std::string(event.reason));
}

void Monitor::key_gauge(proxy::KeyGauge gauge, int change) {
  gauges_[gauge] += change;
  if (gauges_[gauge] < 0) violated("metrics", "a gauge of keys is below zero");
}

void Monitor::store_operation(policy::Command command, Duration,
                              std::optional<store::StoreError::Kind> error) {
  if (!error) return;
  ledger_.note(process_ + ": store " + std::string(policy::name(command)) + " " +
               std::string(store::name(*error)));
}

void Monitor::conclude(bool crashed) {
  const policy::RetryBudgetOptions& budget = scenario_.plain_route().retry.budget;
  const double most =
      std::max(budget.ratio * exchanges_, budget.min_per_second * to_seconds(budget.window));
  if (retries_ > most) {
    violated("budget",
             std::to_string(retries_) + " retries of " + std::to_string(exchanges_) + " requests");
  }
  if (key_outcomes_ != keyed_exchanges_) {
    violated("metrics", std::to_string(key_outcomes_) + " outcomes of " +
                            std::to_string(keyed_exchanges_) + " keyed requests");
  }
  // An execution that goes on without its client makes attempts that no exchange tells of.
  if (scenario_.keyed_percent == 0 && attempts_told_ != attempts_) {
    violated("metrics", std::to_string(attempts_) + " attempts, requests tell of " +
                            std::to_string(attempts_told_));
  }
  if (crashed) return;
  for (const auto& [gauge, value] : gauges_) {
    if (value != 0) violated("leak", "a gauge of keys is left at " + std::to_string(value));
  }
}

}  // namespace holdfast::sim
