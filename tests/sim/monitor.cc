#include "tests/sim/monitor.h"

#include <algorithm>
#include <utility>

#include "tests/sim/message.h"

namespace holdfast::sim {

using policy::BreakerState;

Monitor::Monitor(const test::World& world, const NameServer& names, const Scenario& scenario,
                 Ledger& ledger, std::string process)
    : world_(world),
      name_server_(names),
      scenario_(scenario),
      ledger_(ledger),
      process_(std::move(process)) {}

proxy::Slot Monitor::slot(std::string_view name) {
  const auto found = std::ranges::find(names_, name);
  const auto index = static_cast<proxy::Slot>(found - names_.begin());
  if (found == names_.end()) names_.emplace_back(name);
  return index;
}

void Monitor::violated(std::string_view rule, const std::string& what) {
  ledger_.violated(rule, process_ + ": " + what);
}

void Monitor::handshake_failed(std::string_view, const Error& error) {
  ledger_.handshake_failed();
  if (error.group() == ErrorGroup::connect) return;
  violated("tls", "a handshake failed as " + std::string(name(error.type)));
}

// -- the breaker

std::vector<Monitor::Period>& Monitor::periods_of(proxy::Slot upstream) {
  std::vector<Period>& periods = periods_[upstream];
  if (periods.empty()) periods.emplace_back();
  return periods;
}

BreakerState Monitor::state_of(std::string_view upstream) {
  return periods_of(slot(upstream)).back().state;
}

void Monitor::breaker_moved(proxy::Slot upstream, std::string_view name,
                            policy::Breaker::Transition moved, std::string_view) {
  std::vector<Period>& periods = periods_of(upstream);
  const Period& last = periods.back();
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
  if (!legal || moved.from != last.state) violated("breaker", "went " + words);
  const std::string its_name(name);
  const policy::BreakerOptions& options = scenario_.config.upstreams.at(its_name).breaker;
  if (is(BreakerState::closed, BreakerState::open)) check_opening(last, options, its_name);
  if (is(BreakerState::half_open, BreakerState::closed)) check_closing(last, options, its_name);
  periods.push_back({moved.to, world_.now()});
}

/// It opens for as many calls as its options ask for, and not for fewer.
void Monitor::check_opening(const Period& closed, const policy::BreakerOptions& options,
                            const std::string& upstream) {
  const int least =
      std::min(options.min_requests, options.consecutive_failures.value_or(options.min_requests));
  if (closed.recorded >= least) return;
  violated("breaker", upstream + " opened after " + std::to_string(closed.recorded) + " attempts");
}

/// It closes after as many probes as its options ask for, of which one at least was fast.
void Monitor::check_closing(const Period& half_open, const policy::BreakerOptions& options,
                            const std::string& upstream) {
  const std::vector<Span>& probes = half_open.attempts;
  if (probes.size() < static_cast<std::size_t>(options.half_open_requests)) {
    violated("breaker", upstream + " closed after " + std::to_string(probes.size()) + " probes");
  }
  const auto slow = [&](const Span& probe) { return probe.to - probe.from > *options.slow_call; };
  if (options.slow_call && std::ranges::all_of(probes, slow)) {
    violated("breaker", upstream + " closed after slow probes");
  }
}

// -- endpoints

void Monitor::look_at_endpoints(proxy::SharedUpstreams& upstreams) {
  for (const auto& upstream : upstreams.all()) {
    const auto reports = upstream->endpoints().report(world_.now());
    check_census(*upstream, reports);
    const bool panic = upstream->endpoints().panic();
    OutOfService now{world_.now(), {}};
    std::string words;
    for (const proxy::EndpointReport& report : reports) {
      const bool draining = report.state == proxy::EndpointState::draining;
      if (report.state == proxy::EndpointState::healthy || (panic && !draining)) continue;
      now.endpoints.insert(report.key);
      words.append(" ").append(report.key).append(" ").append(proxy::name(report.state));
    }
    std::vector<OutOfService>& times = out_of_service_[upstream->name()];
    if (!times.empty() && times.back().endpoints == now.endpoints) continue;
    ledger_.note(process_ + ": out of service at " + upstream->name() + ":" + words);
    times.push_back(std::move(now));
  }
}

/// An ejection leaves one in service, and no more than the share of them are ejected; draining are
/// those that were taken out by hand, and nobody else; panic is where too few are in service.
void Monitor::check_census(proxy::SharedUpstream& upstream,
                           const std::vector<proxy::EndpointReport>& reports) {
  const policy::OutlierOptions& options = scenario_.config.upstreams.at(upstream.name()).outlier;
  const std::set<std::string>& drained = drained_[upstream.name()];
  std::map<proxy::EndpointState, std::size_t> count;
  for (const proxy::EndpointReport& report : reports) {
    ++count[report.state];
    const bool draining = report.state == proxy::EndpointState::draining;
    if (draining == drained.contains(report.key)) continue;
    violated("endpoints", report.key + " is " + std::string(proxy::name(report.state)) +
                              (draining ? ", put back" : ", taken out"));
  }
  const auto share = [](std::size_t part, std::size_t whole) {
    return static_cast<double>(part) / static_cast<double>(whole);
  };
  const std::size_t ejected = count[proxy::EndpointState::ejected];
  const std::size_t in_service = count[proxy::EndpointState::healthy];
  const std::size_t wanted = reports.size() - count[proxy::EndpointState::draining];
  if (ejected > 0 && in_service == 0) violated("endpoints", upstream.name() + " has none");
  if (share(ejected, reports.size()) > options.max_ejected) {
    violated("endpoints", upstream.name() + " has " + std::to_string(ejected) + " ejected of " +
                              std::to_string(reports.size()));
  }
  const bool panic = wanted > 0 && share(in_service, wanted) < options.panic_below;
  if (panic != upstream.endpoints().panic()) {
    violated("endpoints", upstream.name() + (panic ? " is not in panic" : " is in panic"));
  }
}

/// What is not configured any more is forgotten.
void Monitor::reconfigured(const proxy::Config& config) {
  for (auto& [upstream, keys] : drained_) {
    const auto& endpoints = config.upstreams.at(upstream).endpoints;
    std::erase_if(keys, [&](const std::string& key) {
      const std::string configured = key.substr(0, key.find(' '));
      return std::ranges::none_of(
          endpoints, [&](const auto& one) { return one.endpoint.text() == configured; });
    });
  }
}

void Monitor::drained(const std::string& upstream, const std::string& key, bool out, bool found) {
  std::set<std::string>& keys = drained_[upstream];
  ledger_.note(process_ + ": " + key + (out ? " is taken out" : " is put back") +
               (found ? "" : ", and is not there"));
  if (out && found) keys.insert(key);
  const bool was_out = !out && keys.erase(key) > 0;
  if (was_out && !found) violated("endpoints", key + " cannot be put back");
}

std::vector<std::pair<std::string, std::string>> Monitor::drained() const {
  std::vector<std::pair<std::string, std::string>> all;
  for (const auto& [upstream, keys] : drained_) {
    for (const std::string& key : keys) all.emplace_back(upstream, key);
  }
  return all;
}

void Monitor::check_the_ill(proxy::SharedUpstreams& upstreams, const Wellness& wellness) {
  for (const auto& upstream : upstreams.all()) {
    const policy::HealthOptions& health = scenario_.config.upstreams.at(upstream->name()).health;
    if (!health.enabled()) continue;
    // The check under way may have passed; one that fails may take its whole time.
    const Duration pause = std::max(health.interval * 11 / 10, health.timeout);
    const Duration limit = pause * health.unhealthy_after + health.timeout + scenario_.pauses + 1ms;
    for (const auto& report : upstream->endpoints().report(world_.now())) {
      const auto ill_since = wellness.ill_since(report.key.substr(report.key.find(' ') + 1));
      const bool out = report.state == proxy::EndpointState::unhealthy ||
                       report.state == proxy::EndpointState::draining;
      if (!ill_since || out || std::max(*ill_since, report.since) + limit >= world_.now()) continue;
      violated("endpoints", report.key + " has been ill for long and is " +
                                std::string(proxy::name(report.state)));
    }
  }
}

void Monitor::check_recovery(proxy::SharedUpstreams& upstreams) {
  for (const auto& upstream : upstreams.all()) {
    for (const auto& report : upstream->endpoints().report(world_.now())) {
      const bool out = report.state == proxy::EndpointState::unhealthy ||
                       report.state == proxy::EndpointState::draining;
      if (!out) continue;
      violated("recovery", report.key + " is " + std::string(proxy::name(report.state)));
    }
  }
}

/// Nobody was asked who was out of service from before the request came until after its end.
void Monitor::check_endpoint(const proxy::ExchangeRecord& record) {
  if (record.attempts == 0 || record.endpoint.empty()) return;
  const std::vector<OutOfService>& times = out_of_service_[std::string(record.upstream)];
  const TimePoint began = world_.now() - record.duration;
  auto moment =
      std::ranges::find_if(times, [&](const OutOfService& one) { return one.since >= began; });
  if (moment == times.begin()) return;
  const bool out_all_the_time = std::all_of(std::prev(moment), times.end(), [&](const auto& one) {
    return one.endpoints.contains(record.endpoint);
  });
  if (!out_all_the_time) return;
  violated("endpoints", "an attempt went to " + std::string(record.endpoint) + ", out of service");
}

void Monitor::attempt_finished(const proxy::AttemptRecord& record) {
  ++attempts_;
  const TimePoint began = world_.now() - record.duration;
  const std::string& upstream = names_[record.upstream];
  const policy::BreakerOptions& options = scenario_.config.upstreams.at(upstream).breaker;
  const bool nameless =
      record.error == ErrorType::dns_error || record.error == ErrorType::dns_timeout;
  if (nameless && name_server_.knew_all(process_, upstream, began)) {
    violated("names", "an attempt at " + upstream + " did not use the last good answer");
  }
  std::vector<Period>& periods = periods_of(record.upstream);
  const auto after_it =
      std::ranges::find_if(periods, [&](const Period& period) { return period.since > began; });
  Period& period = *std::prev(after_it);
  // What began at the very moment of the opening may have been admitted before it.
  if (period.state == BreakerState::open && period.since < began) {
    violated("breaker", "an attempt at " + upstream + " began while it was open");
  }
  if (period.had_to_open && *period.had_to_open < began) {
    violated("breaker", "an attempt at " + upstream + " began when it should have been open");
  }
  if (options.enabled && after_it == periods.end()) count(period, record, options);
  if (period.state != BreakerState::half_open) return;
  period.attempts.push_back({began, world_.now()});
  check_probes(period, options.half_open_requests, upstream);
}

/// Nothing but failures, without a success between them, and enough of them in a row: it opens.
void Monitor::count(Period& period, const proxy::AttemptRecord& record,
                    const policy::BreakerOptions& options) {
  ++period.recorded;
  const bool failed = !record.error && options.failures.matches_status(record.status);
  // With a body it may have been the client that failed.
  const bool bodiless = record.method == http::Method::get || record.method == http::Method::head;
  period.only_failures = period.only_failures && failed;
  if (failed && bodiless) ++period.failures;
  const bool must_open = period.state == BreakerState::closed && period.only_failures &&
                         options.consecutive_failures &&
                         period.failures >= *options.consecutive_failures;
  if (must_open && !period.had_to_open) period.had_to_open = world_.now();
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
  if (!record.idempotency.empty()) {
    ++keyed_exchanges_;
    ledger_.outcome(number_in(record.request_id), record.idempotency);
  }
  if (record.idempotency == "bypassed") ++bypassed_exchanges_;
  if (record.upstream.empty()) return;
  check_endpoint(record);
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
  if (event.kind == proxy::KeyEvent::Kind::bypassed) ++bypasses_;
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
  if (bypasses_ != bypassed_exchanges_) {
    violated("metrics", std::to_string(bypasses_) + " bypasses counted of " +
                            std::to_string(bypassed_exchanges_));
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
