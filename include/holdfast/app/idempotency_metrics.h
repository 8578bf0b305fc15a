// What is counted, logged and told of keyed requests and of the store behind them (contract §4,
// idempotency §6). A part of app/metrics.h.
//
// Contract: cells as in metric_cells.h: one worker writes, any thread reads. No key, tenant or path
// is ever a label or a field; the log has the first 12 hex digits of a record's id.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

#include "holdfast/app/metric_cells.h"
#include "holdfast/base/log.h"
#include "holdfast/policy/idempotency.h"
#include "holdfast/proxy/observer.h"
#include "holdfast/store/store.h"

namespace holdfast::app {

class MetricsPage;
struct Scrape;

/// One command's operations of the store.
struct StoreOperationCells {
  static constexpr auto error_kinds =
      static_cast<std::size_t>(store::StoreError::Kind::replicas) + 1;

  Histogram durations;  // of failures too
  std::array<Counter, error_kinds> errors;
};

/// What one worker counts of keyed requests. Slots are a route's.
struct IdempotencyCells {
  static constexpr auto gauge_count = static_cast<std::size_t>(proxy::KeyGauge::waiters) + 1;
  static constexpr auto command_count = static_cast<std::size_t>(policy::Command::resolve) + 1;

  SlotTable<std::string, Counter> outcomes;    // the key is the outcome
  SlotTable<std::string, Counter> released;    // the key is the reason
  SlotTable<std::string, Counter> unknown;     // the key is the reason
  SlotTable<std::string, Counter> tombstones;  // the key is the reason
  Counter fenced;
  Counter commit_retries;
  Counter unrecorded;
  Counter renew_failures;
  Counter jwt_scopes;
  std::array<Gauge, gauge_count> gauges;
  Histogram waits;
  std::array<StoreOperationCells, command_count> operations;
};

/// Counts `event`; one that was bypassed is counted by its outcome alone.
void count(IdempotencyCells& cells, const proxy::KeyEvent& event);

/// Whether an operator should read of it: a result is in doubt, lost, discarded or unprotected.
bool is_logged(proxy::KeyEvent::Kind kind);
/// REQUIRES: is_logged(event.kind).
void log(Logger& logger, const proxy::KeyEvent& event, std::string_view route);

void tell_keys(MetricsPage& page, const Scrape& scrape);
void tell_store(MetricsPage& page, store::StoreKind kind, const store::StoreStats& stats);

}  // namespace holdfast::app
