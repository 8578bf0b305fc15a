#include "holdfast/app/metrics_page.h"

#include <prometheus/text_serializer.h>

namespace holdfast::app {

using prometheus::ClientMetric;

ClientMetric::Label label(std::string_view name, std::string_view value) {
  return {std::string(name), std::string(value)};
}

void MetricsPage::begin(prometheus::MetricType type, std::string_view name, std::string_view help) {
  families_.push_back({std::string(name), std::string(help), type, {}});
}

void MetricsPage::counter(double value, Labels labels) {
  row(std::move(labels)).counter.value = value;
}

void MetricsPage::counter(std::uint64_t value, Labels labels) {
  counter(static_cast<double>(value), std::move(labels));
}

void MetricsPage::gauge(double value, Labels labels) {
  row(std::move(labels)).gauge.value = value;
}

void MetricsPage::histogram(const Histogram::Total& total, Labels labels) {
  ClientMetric::Histogram& histogram = row(std::move(labels)).histogram;
  std::uint64_t cumulative = 0;
  for (std::size_t i = 0; i < Histogram::bounds.size(); ++i) {
    cumulative += total.counts[i];
    histogram.bucket.push_back({cumulative, to_seconds(Histogram::bounds[i])});
  }
  histogram.sample_count = total.samples();
  histogram.sample_sum = static_cast<double>(total.nanoseconds) / 1e9;
}

std::string MetricsPage::text() const {
  return prometheus::TextSerializer().Serializer::Serialize(families_);
}

ClientMetric& MetricsPage::row(Labels labels) {
  ClientMetric& metric = families_.back().metric.emplace_back();
  metric.label = std::move(labels);
  return metric;
}

}  // namespace holdfast::app
