// MetricsPage: one answer of /metrics while it is being written, and what it is written from.
//
// Contract: for app/metrics.cc and its parts, on the thread that scrapes, under Metrics' lock.
#pragma once

#include <prometheus/metric_family.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "holdfast/app/metrics.h"

namespace holdfast::app {

using Workers = std::vector<std::unique_ptr<WorkerMetrics>>;

/// All that one scrape tells from. Names are read after the sums: a slot that is counted has a
/// name.
struct Scrape {
  const Workers& workers;
  const SlotNames& route_names;
  const SlotNames& upstream_names;
  const SlotNames& listener_names;
  const std::vector<std::pair<proxy::Slot, UpstreamGauges>>& upstreams;  // configured now
};

/// A table's rows over all workers, in the order of slots and keys. `table` finds it in
/// WorkerCells.
template <class Table>
auto sum_rows(const Workers& workers, Table table) {
  using Cells = std::remove_cvref_t<std::invoke_result_t<Table, const WorkerCells&>>;
  std::map<std::pair<proxy::Slot, typename Cells::KeyType>, typename Cells::Total> rows;
  for (const auto& worker : workers) {
    std::invoke(table, worker->cells())
        .for_each([&rows](proxy::Slot slot, const auto& key, const auto& cell) {
          cell.add_to(rows[{slot, key}]);
        });
  }
  return rows;
}

/// A cell's sum over all workers. `cell` finds it in WorkerCells.
template <class Find>
auto sum_cells(const Workers& workers, Find cell) {
  typename std::remove_cvref_t<std::invoke_result_t<Find, const WorkerCells&>>::Total total{};
  for (const auto& worker : workers) std::invoke(cell, worker->cells()).add_to(total);
  return total;
}

using Labels = std::vector<prometheus::ClientMetric::Label>;

prometheus::ClientMetric::Label label(std::string_view name, std::string_view value);

/// The families of one answer, filled one after the other.
class MetricsPage {
 public:
  void begin(prometheus::MetricType type, std::string_view name, std::string_view help);

  // -- rows of the family that was begun last
  void counter(double value, Labels labels = {});
  void counter(std::uint64_t value, Labels labels = {});
  void gauge(double value, Labels labels = {});
  void histogram(const Histogram::Total& total, Labels labels = {});
  /// The rows of a table whose slots are routes, its keys the values of the label `key_name`.
  template <class Rows>
  void by_route(const Rows& rows, const std::vector<std::string>& names,
                std::string_view key_name) {
    for (const auto& [row, total] : rows) {
      counter(total, {label("route", names[row.first]), label(key_name, row.second)});
    }
  }

  /// The Prometheus text format.
  std::string text() const;

 private:
  prometheus::ClientMetric& row(Labels labels);

  std::vector<prometheus::MetricFamily> families_;
};

}  // namespace holdfast::app
