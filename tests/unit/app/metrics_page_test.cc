#include "holdfast/app/metrics_page.h"

#include <doctest/doctest.h>

#include "tests/unit/app/metrics_bench.h"

namespace holdfast::app {

using namespace std::chrono_literals;
using prometheus::MetricType;

TEST_CASE("a page has its families in their order, each with its rows, escaped") {
  MetricsPage page;
  page.begin(MetricType::Counter, "b_total", "Second by name, first by order.");
  page.counter(std::uint64_t{3}, {label("route", "a \"b\"\n")});
  page.counter(0.5);
  page.begin(MetricType::Gauge, "a", "No rows.");
  page.begin(MetricType::Gauge, "c", "One.");
  page.gauge(-1);
  CHECK(page.text() ==
        "# HELP b_total Second by name, first by order.\n"
        "# TYPE b_total counter\n"
        "b_total{route=\"a \\\"b\\\"\\n\"} 3\n"
        "b_total 0.5\n"
        "# HELP a No rows.\n"
        "# TYPE a gauge\n"
        "# HELP c One.\n"
        "# TYPE c gauge\n"
        "c -1\n");
}

TEST_CASE("the buckets of a histogram are cumulative, and its sum is in seconds") {
  Histogram cell;
  for (const Duration duration : {Duration(500us), Duration(501us), Duration(2s), Duration(2h)}) {
    cell.observe(duration);
  }
  Histogram::Total total;
  cell.add_to(total);
  MetricsPage page;
  page.begin(MetricType::Histogram, "h", "");
  page.histogram(total, {label("op", "x")});
  const std::string text = page.text();
  CAPTURE(text);
  for (const std::string_view line :
       {"h_bucket{op=\"x\",le=\"0.0005\"} 1\n", "h_bucket{op=\"x\",le=\"0.001\"} 2\n",
        "h_bucket{op=\"x\",le=\"1\"} 2\n", "h_bucket{op=\"x\",le=\"2.5\"} 3\n",
        "h_bucket{op=\"x\",le=\"60\"} 3\n", "h_bucket{op=\"x\",le=\"+Inf\"} 4\n",
        "h_count{op=\"x\"} 4\n", "h_sum{op=\"x\"} 7202.001001\n"}) {
    CAPTURE(line);
    CHECK(text.find(line) != std::string::npos);
  }
}

TEST_CASE("sums are over all workers, by slot and key") {
  Metrics metrics("0", "0");
  holdfast::testing::CaptureFile file;
  LogSink sink(file.fd());
  AccessLog access_log(sink, quiet);
  Logger logger(sink, LogLevel::error, LogFormat::json);
  Workers workers;
  for (int i = 0; i < 2; ++i) {
    workers.push_back(std::make_unique<WorkerMetrics>(metrics, access_log, logger));
    workers.back()->retried(1, "503");
    workers.back()->headers_dropped(5);
  }
  workers.front()->retried(1, "reset");
  workers.front()->retried(0, "503");
  using Row = std::pair<proxy::Slot, std::string>;
  CHECK(sum_rows(workers, &WorkerCells::retries) ==
        std::map<Row, std::uint64_t>{{Row(0, "503"), 1}, {Row(1, "503"), 2}, {Row(1, "reset"), 1}});
  CHECK(sum_rows(workers, &WorkerCells::fallbacks).empty());
  CHECK(sum_cells(workers, &WorkerCells::dropped_headers) == 10);
  CHECK(sum_cells({}, &WorkerCells::dropped_headers) == 0);
}

}  // namespace holdfast::app
