#include "holdfast/app/metrics.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "holdfast/app/idempotency_metrics.h"
#include "holdfast/app/metrics_page.h"
#include "holdfast/app/process_stats.h"
#include "holdfast/base/assert.h"

namespace holdfast::app {
namespace {

using policy::BreakerState;
using prometheus::MetricType;
using proxy::Slot;

constexpr std::uint16_t first_error_status = 1000;

constexpr BreakerState breaker_states[] = {BreakerState::closed, BreakerState::open,
                                           BreakerState::half_open};

// The moves a breaker makes by itself; a reload that switches one off makes others.
constexpr BreakerMove usual_moves[] = {
    {BreakerState::closed, BreakerState::open},
    {BreakerState::open, BreakerState::half_open},
    {BreakerState::half_open, BreakerState::open},
    {BreakerState::half_open, BreakerState::closed},
};

}  // namespace

// -- labels

Outcome Outcome::of_status(http::Method method, int status) {
  return {method, static_cast<std::uint16_t>(status)};
}

Outcome Outcome::of_error(http::Method method, ErrorType error) {
  return {method, static_cast<std::uint16_t>(first_error_status + static_cast<unsigned>(error))};
}

std::string Outcome::status_label() const {
  if (status == 0) return "cancelled";
  if (status < first_error_status) return std::to_string(status);
  return std::string(name(static_cast<ErrorType>(status - first_error_status)));
}

std::string SlotNames::name(Slot slot) const {
  const std::lock_guard lock(mutex_);
  const auto found =
      std::ranges::find_if(slots_, [slot](const auto& entry) { return entry.second == slot; });
  return found == slots_.end() ? std::string() : found->first;
}

Slot SlotNames::slot(std::string_view name) {
  const std::lock_guard lock(mutex_);
  if (const auto found = slots_.find(name); found != slots_.end()) return found->second;
  return slots_.emplace(name, static_cast<Slot>(slots_.size())).first->second;
}

std::vector<std::string> SlotNames::all() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> names(slots_.size());
  for (const auto& [name, slot] : slots_) names[slot] = name;
  return names;
}

// -- counting, on a worker's thread

void WorkerMetrics::attempt_finished(const proxy::AttemptRecord& record) {
  const Outcome outcome = record.error ? Outcome::of_error(record.method, *record.error)
                                       : Outcome::of_status(record.method, record.status);
  cells_.attempts.at(record.upstream, outcome).observe(record.duration);
}

void WorkerMetrics::exchange_finished(const proxy::ExchangeRecord& record) {
  cells_.requests.at(record.route, Outcome::of_status(record.method, record.status)).add();
  cells_.request_durations.at(record.route, record.method).observe(record.duration);
  access_log_.write(record);
}

void WorkerMetrics::retried(Slot route, std::string_view reason) {
  cells_.retries.at(route, reason).add();
}

void WorkerMetrics::retry_denied(std::string_view reason) {
  const auto found = std::ranges::find(retry_denials, reason);
  HOLDFAST_ASSERT(found != std::end(retry_denials));
  cells_.retries_denied[static_cast<std::size_t>(found - std::begin(retry_denials))].add();
}

void WorkerMetrics::fell_back(Slot route, std::string_view reason) {
  cells_.fallbacks.at(route, reason).add();
}

void WorkerMetrics::breaker_moved(Slot upstream, std::string_view upstream_name,
                                  policy::Breaker::Transition transition, std::string_view last) {
  const auto [from, to] = transition;
  cells_.breaker_transitions.at(upstream, BreakerMove{from, to}).add();

  const bool opened = to == BreakerState::open;
  const std::string_view message = opened                       ? "breaker opened"
                                   : to == BreakerState::closed ? "breaker closed"
                                                                : "breaker half-open";
  logger_.log(
      opened ? LogLevel::warn : LogLevel::info, message,
      {{"upstream", upstream_name}, {"from", name(from)}, {"to", name(to)}, {"last", last}});
}

void WorkerMetrics::breaker_rejected(Slot upstream) {
  cells_.breaker_rejected.at(upstream, std::monostate()).add();
}

void WorkerMetrics::headers_dropped(std::uint32_t count) {
  cells_.dropped_headers.add(count);
}

void WorkerMetrics::handshake_failed(std::string_view listener, const Error& error) {
  cells_.failed_handshakes.at(metrics_.listener_slot(listener), name(error.type)).add();
  logger_.log(LogLevel::debug, "a TLS handshake failed",
              {{"listener", listener}, {"reason", error.detail}});
}

void WorkerMetrics::keyed(Slot route, std::string_view outcome) {
  cells_.keys.outcomes.at(route, outcome).add();
}

void WorkerMetrics::key_event(const proxy::KeyEvent& event) {
  count(cells_.keys, event);
  if (is_logged(event.kind)) log(logger_, event, metrics_.route_name(event.route));
}

void WorkerMetrics::key_gauge(proxy::KeyGauge gauge, int change) {
  cells_.keys.gauges[static_cast<std::size_t>(gauge)].change(change);
}

void WorkerMetrics::key_waited(Duration waited) {
  cells_.keys.waits.observe(waited);
}

void WorkerMetrics::store_operation(policy::Command command, Duration duration,
                                    std::optional<store::StoreError::Kind> error) {
  StoreOperationCells& cells = cells_.keys.operations[static_cast<std::size_t>(command)];
  cells.durations.observe(duration);
  if (error) cells.errors[static_cast<std::size_t>(*error)].add();
}

std::vector<UpstreamGauges> upstream_gauges(const proxy::Config& config,
                                            const proxy::SharedUpstreams& upstreams,
                                            TimePoint now) {
  std::vector<UpstreamGauges> gauges;
  for (const auto& [name, upstream] : config.upstreams) {
    UpstreamGauges& row = gauges.emplace_back();
    row.name = name;
    if (upstream.dynamic) row.destinations.emplace();
    for (const auto& [authority, destination] : upstreams.destinations(name)) {
      row.active_connections += destination->active_connections.load(std::memory_order_relaxed);
      row.idle_connections += destination->idle_connections.load(std::memory_order_relaxed);
      if (row.destinations) {
        ++(*row.destinations)[static_cast<std::size_t>(destination->breaker_state())];
      }
    }
    if (const auto shared = upstreams.find(name)) {
      row.breaker = shared->breaker_state();
      row.active_connections += shared->active_connections.load(std::memory_order_relaxed);
      row.idle_connections += shared->idle_connections.load(std::memory_order_relaxed);
      row.ejections = shared->endpoints().ejections();
      row.checks_passed = shared->endpoints().checks_passed();
      row.checks_failed = shared->endpoints().checks_failed();
      for (const proxy::EndpointReport& report : shared->endpoints().report(now)) {
        ++row.endpoints[static_cast<std::size_t>(report.state)];
      }
      if (upstream.dynamic) continue;  // its names are its destinations'
      for (const proxy::NameReport& report : shared->endpoints().names()) {
        ++row.names;
        if (report.answered && !report.failing_since) ++row.names_found;
        if (report.failing_since) ++row.names_failing;
      }
    }
  }
  return gauges;
}

Metrics::Metrics(std::string_view version, std::string_view commit)
    : version_(version), commit_(commit) {
  routes_.slot("none");  // slot 0, as the Observer promises
}

Metrics::~Metrics() = default;

WorkerMetrics& Metrics::add_worker(AccessLog& access_log, Logger& logger) {
  const std::lock_guard lock(mutex_);
  return *workers_.emplace_back(std::make_unique<WorkerMetrics>(*this, access_log, logger));
}

void Metrics::reload_succeeded(WallTime now) {
  const auto since_epoch = std::chrono::floor<std::chrono::milliseconds>(now.time_since_epoch());
  last_success_milliseconds_.store(since_epoch.count(), std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_relaxed);
  last_reload_successful_.store(true, std::memory_order_relaxed);
}

void Metrics::reload_failed() {
  last_reload_successful_.store(false, std::memory_order_relaxed);
}

void Metrics::set_upstreams(std::function<std::vector<UpstreamGauges>()> provider) {
  const std::lock_guard lock(mutex_);
  upstream_provider_ = std::move(provider);
}

void Metrics::set_log_dropped(std::function<std::uint64_t()> provider) {
  const std::lock_guard lock(mutex_);
  log_dropped_provider_ = std::move(provider);
}

void Metrics::set_certificates(std::function<std::vector<CertificateState>()> provider) {
  const std::lock_guard lock(mutex_);
  certificate_provider_ = std::move(provider);
}

void Metrics::set_store(store::StoreKind kind, std::function<store::StoreStats()> provider) {
  const std::lock_guard lock(mutex_);
  store_kind_ = kind;
  store_provider_ = std::move(provider);
}

// -- telling, on the thread that scrapes

namespace {

void tell_requests(MetricsPage& page, const Scrape& scrape) {
  const auto requests = sum_rows(scrape.workers, &WorkerCells::requests);
  const auto durations = sum_rows(scrape.workers, &WorkerCells::request_durations);
  const auto names = scrape.route_names.all();

  page.begin(MetricType::Counter, "holdfast_requests_total", "Requests from clients.");
  for (const auto& [row, total] : requests) {
    const auto& [slot, outcome] = row;
    page.counter(total, {label("route", names[slot]), label("method", http::label(outcome.method)),
                         label("status", outcome.status_label())});
  }
  page.begin(MetricType::Histogram, "holdfast_request_duration_seconds",
             "From a request's first byte to the end of its answer.");
  for (const auto& [row, total] : durations) {
    const auto& [slot, method] = row;
    page.histogram(total, {label("route", names[slot]), label("method", http::label(method))});
  }
}

void tell_attempts(MetricsPage& page, const Scrape& scrape) {
  const auto attempts = sum_rows(scrape.workers, &WorkerCells::attempts);
  const auto names = scrape.upstream_names.all();
  const auto labels = [&names](Slot slot, const Outcome& outcome) {
    return Labels{label("method", http::label(outcome.method)), label("host", names[slot]),
                  label("status", outcome.status_label())};
  };

  page.begin(MetricType::Counter, "http_client_requests_total", "Attempts to upstreams.");
  for (const auto& [row, total] : attempts) {
    page.counter(total.samples(), labels(row.first, row.second));
  }
  page.begin(MetricType::Histogram, "http_client_request_duration_seconds",
             "From the start of an attempt to the end of its answer's head, or to its failure.");
  for (const auto& [row, total] : attempts) {
    page.histogram(total, labels(row.first, row.second));
  }
}

void tell_retries_and_fallbacks(MetricsPage& page, const Scrape& scrape) {
  const auto retries = sum_rows(scrape.workers, &WorkerCells::retries);
  const auto fallbacks = sum_rows(scrape.workers, &WorkerCells::fallbacks);
  const auto names = scrape.route_names.all();

  page.begin(MetricType::Counter, "holdfast_retries_total", "Attempts after a request's first.");
  page.by_route(retries, names, "reason");

  page.begin(MetricType::Counter, "holdfast_retries_denied_total",
             "Failures that were worth a retry and got none.");
  for (std::size_t i = 0; i < std::size(retry_denials); ++i) {
    const auto denied = [i](const WorkerCells& cells) -> const auto& {
      return cells.retries_denied[i];
    };
    page.counter(sum_cells(scrape.workers, denied), {label("reason", retry_denials[i])});
  }

  page.begin(MetricType::Counter, "holdfast_fallbacks_total",
             "Requests answered by a fallback of their route.");
  page.by_route(fallbacks, names, "reason");
}

void tell_breaker_counters(MetricsPage& page, const Scrape& scrape) {
  auto transitions = sum_rows(scrape.workers, &WorkerCells::breaker_transitions);
  auto rejected = sum_rows(scrape.workers, &WorkerCells::breaker_rejected);
  for (const auto& [slot, gauges] : scrape.upstreams) {
    for (const BreakerMove& move : usual_moves) transitions.try_emplace({slot, move}, 0);
    rejected.try_emplace({slot, std::monostate()}, 0);
  }
  const auto names = scrape.upstream_names.all();

  page.begin(MetricType::Counter, "holdfast_breaker_transitions_total",
             "Changes of a breaker's state.");
  for (const auto& [row, total] : transitions) {
    const auto& [slot, move] = row;
    page.counter(total, {label("upstream", names[slot]), label("from", name(move.from)),
                         label("to", name(move.to))});
  }
  page.begin(MetricType::Counter, "holdfast_breaker_rejected_total",
             "Attempts that a breaker did not let through.");
  for (const auto& [row, total] : rejected) {
    page.counter(total, {label("upstream", names[row.first])});
  }
}

void tell_upstreams(MetricsPage& page, const Scrape& scrape) {
  const auto labels = [](const UpstreamGauges& upstream, std::string_view state) {
    return Labels{label("upstream", upstream.name), label("state", state)};
  };

  page.begin(MetricType::Gauge, "holdfast_breaker_state", "1 for the state a breaker is in.");
  for (const auto& [slot, upstream] : scrape.upstreams) {
    if (upstream.destinations) continue;  // each of these has one
    for (const BreakerState state : breaker_states) {
      page.gauge(state == upstream.breaker ? 1 : 0, labels(upstream, name(state)));
    }
  }
  page.begin(MetricType::Gauge, "holdfast_upstream_connections", "Open connections to upstreams.");
  for (const auto& [slot, upstream] : scrape.upstreams) {
    page.gauge(static_cast<double>(upstream.active_connections), labels(upstream, "active"));
    page.gauge(static_cast<double>(upstream.idle_connections), labels(upstream, "idle"));
  }
  page.begin(MetricType::Gauge, "holdfast_upstream_endpoints", "Endpoints of upstreams.");
  for (const auto& [slot, upstream] : scrape.upstreams) {
    for (std::size_t state = 0; state < upstream.endpoints.size(); ++state) {
      page.gauge(static_cast<double>(upstream.endpoints[state]),
                 labels(upstream, name(static_cast<proxy::EndpointState>(state))));
    }
  }
  page.begin(MetricType::Gauge, "holdfast_upstream_destinations",
             "Places that requests have chosen under a wildcard, by their breaker's state.");
  for (const auto& [slot, upstream] : scrape.upstreams) {
    if (!upstream.destinations) continue;
    for (const BreakerState state : breaker_states) {
      page.gauge(static_cast<double>((*upstream.destinations)[static_cast<std::size_t>(state)]),
                 labels(upstream, name(state)));
    }
  }
  page.begin(MetricType::Gauge, "holdfast_upstream_names",
             "Host names among the endpoints, by whether they were found when last looked up.");
  for (const auto& [slot, upstream] : scrape.upstreams) {
    if (upstream.names == 0) continue;
    page.gauge(static_cast<double>(upstream.names_found), labels(upstream, "found"));
    page.gauge(static_cast<double>(upstream.names_failing), labels(upstream, "failing"));
  }
  page.begin(MetricType::Counter, "holdfast_upstream_ejections_total",
             "Endpoints ejected because their answers failed.");
  for (const auto& [slot, upstream] : scrape.upstreams) {
    page.counter(upstream.ejections, {label("upstream", upstream.name)});
  }
  page.begin(MetricType::Counter, "holdfast_upstream_health_checks_total",
             "Active checks of endpoints that have ended.");
  for (const auto& [slot, upstream] : scrape.upstreams) {
    const auto result = [&](std::string_view word) {
      return Labels{label("upstream", upstream.name), label("result", word)};
    };
    page.counter(upstream.checks_passed, result("passed"));
    page.counter(upstream.checks_failed, result("failed"));
  }
}

void tell_dropped(MetricsPage& page, const Scrape& scrape, std::uint64_t dropped_lines) {
  page.begin(MetricType::Counter, "holdfast_log_dropped_total",
             "Log lines dropped because they could not be written in time.");
  page.counter(dropped_lines);

  page.begin(MetricType::Counter, "holdfast_dropped_headers_total",
             "Request fields dropped because of an underscore in their name.");
  page.counter(sum_cells(scrape.workers, &WorkerCells::dropped_headers));
}

void tell_handshakes(MetricsPage& page, const Scrape& scrape) {
  const auto failed = sum_rows(scrape.workers, &WorkerCells::failed_handshakes);
  const auto names = scrape.listener_names.all();
  page.begin(MetricType::Counter, "holdfast_tls_handshakes_failed_total",
             "Connections of clients that ended in their TLS handshake.");
  for (const auto& [row, total] : failed) {
    page.counter(total, {label("listener", names[row.first]), label("reason", row.second)});
  }
}

void tell_certificates(MetricsPage& page, const std::vector<CertificateState>& states) {
  page.begin(MetricType::Gauge, "holdfast_tls_certificate_expiry_timestamp_seconds",
             "When a certificate in use ends.");
  for (const CertificateState& state : states) {
    if (!state.end) continue;
    const double end = to_seconds(state.end->time_since_epoch());
    page.gauge(end, {label(state.kind, state.owner)});
  }
  page.begin(MetricType::Gauge, "holdfast_tls_certificate_stale",
             "1 if the files hold something that cannot be used, so that the old stays in use.");
  for (const CertificateState& state : states) {
    page.gauge(state.stale ? 1 : 0, {label(state.kind, state.owner)});
  }
}

void tell_config(MetricsPage& page, bool successful, double last_success,
                 std::uint64_t generation) {
  page.begin(MetricType::Gauge, "holdfast_config_last_reload_successful",
             "1 if the configuration was good when it was last read.");
  page.gauge(successful ? 1 : 0);
  page.begin(MetricType::Gauge, "holdfast_config_last_reload_success_timestamp_seconds",
             "When a configuration was last put into use.");
  page.gauge(last_success);
  page.begin(MetricType::Gauge, "holdfast_config_generation",
             "Configurations put into use since the start, the first included.");
  page.gauge(static_cast<double>(generation));
}

void tell_build(MetricsPage& page, std::string_view version, std::string_view commit) {
  page.begin(MetricType::Gauge, "holdfast_build_info", "Always 1; the labels tell the build.");
  page.gauge(1, {label("version", version), label("commit", commit)});
}

void tell_process(MetricsPage& page) {
  const ProcessStats stats = read_process_stats();
  const auto gauge = [&page](std::string_view name, std::string_view help, double value) {
    page.begin(MetricType::Gauge, name, help);
    page.gauge(value);
  };
  page.begin(MetricType::Counter, "process_cpu_seconds_total",
             "User and system CPU time in seconds.");
  page.counter(stats.cpu_seconds);
  gauge("process_resident_memory_bytes", "Memory in RAM.",
        static_cast<double>(stats.resident_bytes));
  gauge("process_virtual_memory_bytes", "Address space in use.",
        static_cast<double>(stats.virtual_bytes));
  gauge("process_open_fds", "Open file descriptors.", static_cast<double>(stats.open_fds));
  gauge("process_max_fds", "The most file descriptors there may be.",
        static_cast<double>(stats.max_fds));
  gauge("process_start_time_seconds", "Start, in seconds since 1970-01-01 UTC.",
        stats.start_time_seconds);
}

}  // namespace

std::string Metrics::render() {
  const std::lock_guard lock(mutex_);
  std::vector<std::pair<Slot, UpstreamGauges>> upstreams;
  if (upstream_provider_) {
    for (UpstreamGauges& gauges : upstream_provider_()) {
      upstreams.emplace_back(upstream_slot(gauges.name), std::move(gauges));
    }
  }
  const Scrape scrape{workers_, routes_, upstreams_, listeners_, upstreams};

  MetricsPage page;
  tell_requests(page, scrape);
  tell_attempts(page, scrape);
  tell_retries_and_fallbacks(page, scrape);
  tell_breaker_counters(page, scrape);
  tell_upstreams(page, scrape);
  if (store_provider_) {
    tell_keys(page, scrape);
    tell_store(page, store_kind_, store_provider_());
  }
  tell_dropped(page, scrape, log_dropped_provider_ ? log_dropped_provider_() : 0);
  tell_handshakes(page, scrape);
  tell_certificates(
      page, certificate_provider_ ? certificate_provider_() : std::vector<CertificateState>());

  tell_config(page, last_reload_successful_.load(std::memory_order_relaxed),
              static_cast<double>(last_success_milliseconds_.load(std::memory_order_relaxed)) / 1e3,
              generation_.load(std::memory_order_relaxed));
  tell_build(page, version_, commit_);
  tell_process(page);
  return page.text();
}

}  // namespace holdfast::app
