#include "holdfast/app/idempotency_metrics.h"

#include "holdfast/app/metrics_page.h"
#include "holdfast/base/assert.h"

namespace holdfast::app {
namespace {

using prometheus::MetricType;
using proxy::KeyEvent;
using proxy::KeyGauge;
using store::StoreError;
using store::StoreKind;

/// What the log says of an event, and how loudly.
struct LogMessage {
  LogLevel level;
  std::string_view text;  // "" where the log is silent
};

LogMessage message_of(KeyEvent::Kind kind) {
  switch (kind) {
    case KeyEvent::Kind::unknown:
      return {LogLevel::warn, "idempotency: outcome unknown"};
    case KeyEvent::Kind::tombstone:
      return {LogLevel::warn, "idempotency: executed, but the answer cannot be replayed"};
    case KeyEvent::Kind::fenced:
      return {LogLevel::warn, "idempotency: fenced, the record has another owner"};
    case KeyEvent::Kind::bypassed:
      return {LogLevel::warn, "idempotency: bypassed, the store failed"};
    case KeyEvent::Kind::unrecorded:
      return {LogLevel::error, "idempotency: answered, but not recorded"};
    case KeyEvent::Kind::released:
    case KeyEvent::Kind::commit_retry:
    case KeyEvent::Kind::renew_failed:
    case KeyEvent::Kind::jwt_scope:
      break;
  }
  return {LogLevel::debug, ""};
}

/// Finds a cell or a table of IdempotencyCells in all that a worker counts.
template <class Member>
auto of_keys(Member member) {
  return [member](const WorkerCells& cells) -> const auto& {
    return cells.keys.*member;
  };
}

}  // namespace

void count(IdempotencyCells& cells, const KeyEvent& event) {
  switch (event.kind) {
    case KeyEvent::Kind::released:
      return cells.released.at(event.route, event.reason).add();
    case KeyEvent::Kind::unknown:
      return cells.unknown.at(event.route, event.reason).add();
    case KeyEvent::Kind::tombstone:
      return cells.tombstones.at(event.route, event.reason).add();
    case KeyEvent::Kind::fenced:
      return cells.fenced.add();
    case KeyEvent::Kind::unrecorded:
      return cells.unrecorded.add();
    case KeyEvent::Kind::commit_retry:
      return cells.commit_retries.add();
    case KeyEvent::Kind::renew_failed:
      return cells.renew_failures.add();
    case KeyEvent::Kind::jwt_scope:
      return cells.jwt_scopes.add();
    case KeyEvent::Kind::bypassed:
      return;
  }
}

bool is_logged(KeyEvent::Kind kind) {
  return !message_of(kind).text.empty();
}

void log(Logger& logger, const KeyEvent& event, std::string_view route) {
  const LogMessage message = message_of(event.kind);
  HOLDFAST_ASSERT(!message.text.empty());
  logger.log(message.level, message.text,
             {{"route", route}, {"reason", event.reason}, {"id", event.id}});
}

// -- telling

namespace {

void tell_events(MetricsPage& page, const Scrape& scrape) {
  const auto outcomes = sum_rows(scrape.workers, of_keys(&IdempotencyCells::outcomes));
  const auto released = sum_rows(scrape.workers, of_keys(&IdempotencyCells::released));
  const auto unknown = sum_rows(scrape.workers, of_keys(&IdempotencyCells::unknown));
  const auto tombstones = sum_rows(scrape.workers, of_keys(&IdempotencyCells::tombstones));
  const auto names = scrape.route_names.all();

  page.begin(MetricType::Counter, "holdfast_idempotency_requests_total",
             "Requests of routes with idempotency, by what became of them.");
  page.by_route(outcomes, names, "outcome");
  page.begin(MetricType::Counter, "holdfast_idempotency_released_total",
             "Keys given back: nothing was sent, or the upstream refused.");
  page.by_route(released, names, "reason");
  page.begin(MetricType::Counter, "holdfast_idempotency_unknown_total",
             "Executions that ended without a known outcome.");
  page.by_route(unknown, names, "reason");
  page.begin(MetricType::Counter, "holdfast_idempotency_tombstones_total",
             "Executions whose answer cannot be replayed.");
  page.by_route(tombstones, names, "reason");
}

void tell_counters(MetricsPage& page, const Scrape& scrape) {
  const auto counter = [&](std::string_view name, std::string_view help,
                           Counter IdempotencyCells::*member) {
    page.begin(MetricType::Counter, name, help);
    page.counter(sum_cells(scrape.workers, of_keys(member)));
  };
  counter("holdfast_idempotency_fenced_total",
          "Results discarded because another owner had the record.", &IdempotencyCells::fenced);
  counter("holdfast_idempotency_commit_retries_total",
          "Further tries to record an answer that the store did not take.",
          &IdempotencyCells::commit_retries);
  counter("holdfast_idempotency_unrecorded_total",
          "Answers that their clients have and the store did not take at once.",
          &IdempotencyCells::unrecorded);
  counter("holdfast_idempotency_lease_renew_failures_total",
          "Leases that could not be renewed in time.", &IdempotencyCells::renew_failures);
  counter("holdfast_idempotency_scope_jwt_total",
          "Scopes made of a bearer token that looks as if it were renewed.",
          &IdempotencyCells::jwt_scopes);
}

void tell_moment(MetricsPage& page, const Scrape& scrape) {
  const auto gauge = [&](std::string_view name, std::string_view help, KeyGauge which) {
    const auto total = sum_cells(
        scrape.workers, [which](const WorkerCells& cells) -> const auto& {
          return cells.keys.gauges[static_cast<std::size_t>(which)];
        });
    page.begin(MetricType::Gauge, name, help);
    page.gauge(static_cast<double>(total));
  };
  gauge("holdfast_idempotency_inflight", "Keys claimed and not settled.", KeyGauge::inflight);
  gauge("holdfast_idempotency_detached", "Executions that go on without their client.",
        KeyGauge::detached);
  gauge("holdfast_idempotency_waiters", "Requests that wait for another's result.",
        KeyGauge::waiters);
  page.begin(MetricType::Histogram, "holdfast_idempotency_wait_seconds",
             "How long a duplicate waited for another request's result.");
  page.histogram(sum_cells(scrape.workers, of_keys(&IdempotencyCells::waits)));
}

void tell_operations(MetricsPage& page, const Scrape& scrape) {
  page.begin(MetricType::Histogram, "holdfast_idempotency_store_op_seconds",
             "Operations of the store, failed ones included.");
  for (std::size_t i = 0; i < IdempotencyCells::command_count; ++i) {
    const auto durations = [i](const WorkerCells& cells) -> const auto& {
      return cells.keys.operations[i].durations;
    };
    const Histogram::Total total = sum_cells(scrape.workers, durations);
    if (total.samples() == 0) continue;
    page.histogram(total, {label("op", name(static_cast<policy::Command>(i)))});
  }
  page.begin(MetricType::Counter, "holdfast_idempotency_store_errors_total",
             "Operations of the store that failed.");
  for (std::size_t i = 0; i < IdempotencyCells::command_count; ++i) {
    for (std::size_t kind = 0; kind < StoreOperationCells::error_kinds; ++kind) {
      const auto errors = [ i, kind ](const WorkerCells& cells) -> const auto& {
        return cells.keys.operations[i].errors[kind];
      };
      const Counter::Total total = sum_cells(scrape.workers, errors);
      if (total == 0) continue;
      page.counter(total, {label("op", name(static_cast<policy::Command>(i))),
                           label("kind", name(static_cast<StoreError::Kind>(kind)))});
    }
  }
}

}  // namespace

void tell_keys(MetricsPage& page, const Scrape& scrape) {
  tell_events(page, scrape);
  tell_counters(page, scrape);
  tell_moment(page, scrape);
  tell_operations(page, scrape);
}

void tell_store(MetricsPage& page, StoreKind kind, const store::StoreStats& stats) {
  page.begin(MetricType::Gauge, "holdfast_idempotency_store_up", "1 if the store answers.");
  page.gauge(stats.up ? 1 : 0);
  page.begin(MetricType::Gauge, "holdfast_idempotency_store_unsafe",
             "1 if the store may forget records (eviction), or has (lost).");
  page.gauge(stats.unsafe_eviction ? 1 : 0, {label("reason", "eviction")});
  page.gauge(stats.unsafe_lost ? 1 : 0, {label("reason", "lost")});

  const bool shared = kind == StoreKind::redis;
  page.begin(MetricType::Gauge, "holdfast_idempotency_store_local",
             "1 if the records are this replica's alone: no guarantee across replicas.");
  page.gauge(shared ? 0 : 1);
  if (shared) return;
  page.begin(MetricType::Gauge, "holdfast_idempotency_records", "Records in the store.");
  const auto records = [&page](policy::RecordState state, std::uint64_t count) {
    page.gauge(static_cast<double>(count), {label("state", name(state))});
  };
  records(policy::RecordState::inflight, stats.inflight);
  records(policy::RecordState::completed, stats.completed);
  records(policy::RecordState::gone, stats.gone);
  records(policy::RecordState::unknown, stats.unknown);
  page.begin(MetricType::Gauge, "holdfast_idempotency_store_bytes",
             "Bytes that count against store.max_bytes.");
  page.gauge(static_cast<double>(stats.bytes));
}

}  // namespace holdfast::app
