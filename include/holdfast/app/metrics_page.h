// MetricsPage: one answer of /metrics while it is being written, and what it is written from.
//
// Contract: for app/metrics.cc and its parts, on the thread that scrapes, under Metrics' lock.
#pragma once

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
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

inline prometheus::ClientMetric::Label label(std::string_view name, std::string_view value) {
  return {std::string(name), std::string(value)};
}

/// The families of one answer, filled one after the other.
class MetricsPage {
 public:
  void begin(prometheus::MetricType type, std::string_view name, std::string_view help) {
    families_.push_back({std::string(name), std::string(help), type, {}});
  }

  void counter(double value, Labels labels = {}) { row(std::move(labels)).counter.value = value; }
  void counter(std::uint64_t value, Labels labels = {}) {
    counter(static_cast<double>(value), std::move(labels));
  }

  void gauge(double value, Labels labels = {}) { row(std::move(labels)).gauge.value = value; }

  void histogram(const Histogram::Total& total, Labels labels = {}) {
    prometheus::ClientMetric::Histogram& histogram = row(std::move(labels)).histogram;
    std::uint64_t cumulative = 0;
    for (std::size_t i = 0; i < Histogram::bounds.size(); ++i) {
      cumulative += total.counts[i];
      histogram.bucket.push_back({cumulative, to_seconds(Histogram::bounds[i])});
    }
    histogram.sample_count = total.samples();
    histogram.sample_sum = static_cast<double>(total.nanoseconds) / 1e9;
  }

  /// The rows of a table whose slots are routes, its keys the values of the label `key_name`.
  template <class Rows>
  void by_route(const Rows& rows, const std::vector<std::string>& names,
                std::string_view key_name) {
    for (const auto& [row, total] : rows) {
      counter(total, {label("route", names[row.first]), label(key_name, row.second)});
    }
  }

  std::string text() const { return prometheus::TextSerializer().Serializer::Serialize(families_); }

 private:
  prometheus::ClientMetric& row(Labels labels) {
    prometheus::ClientMetric& metric = families_.back().metric.emplace_back();
    metric.label = std::move(labels);
    return metric;
  }

  std::vector<prometheus::MetricFamily> families_;
};

}  // namespace holdfast::app
