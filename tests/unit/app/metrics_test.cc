#include "holdfast/app/metrics.h"

#include <doctest/doctest.h>

#include <atomic>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/capture_file.h"
#include "tests/support/golden.h"
#include "tests/unit/app/metrics_bench.h"

using namespace holdfast;
using namespace holdfast::app;
using namespace std::chrono_literals;
using policy::BreakerState;

namespace {

proxy::ExchangeRecord exchange(proxy::Slot route, http::Method method, int status,
                               Duration duration) {
  proxy::ExchangeRecord record;
  record.route = route;
  record.method = method;
  record.status = status;
  record.duration = duration;
  return record;
}

proxy::AttemptRecord attempt(proxy::Slot upstream, int status, Duration duration) {
  return {upstream, http::Method::get, status, std::nullopt, duration};
}

proxy::AttemptRecord failure(proxy::Slot upstream, ErrorType error, Duration duration) {
  return {upstream, http::Method::get, 0, error, duration};
}

std::string mask_process_values(const std::string& text) {
  std::istringstream lines(text);
  std::string masked;
  for (std::string line; std::getline(lines, line);) {
    const bool process = line.starts_with("process_");
    masked += process ? line.substr(0, line.find(' ')) + " *\n" : line + "\n";
  }
  return masked;
}

std::vector<UpstreamGauges> open_and_closed() {
  return {{"payments", BreakerState::open, 3, 7, {2}}, {"search", BreakerState::closed, 0, 0, {1}}};
}

/// The names of metrics in a text: those after "# TYPE ", or wherever one stands.
std::set<std::string> metric_names(const std::string& path, const std::regex& pattern) {
  std::ifstream file(HOLDFAST_SOURCE_DIR "/" + path);
  REQUIRE_MESSAGE(file.is_open(), path);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  std::set<std::string> names;
  for (std::sregex_iterator match(text.begin(), text.end(), pattern), end; match != end; ++match) {
    names.insert((*match)[1]);
  }
  return names;
}

}  // namespace

TEST_CASE("the whole text of a small history") {
  Bench bench;
  bench.metrics.set_upstreams(open_and_closed);
  bench.metrics.set_log_dropped([] { return std::uint64_t{17}; });
  bench.metrics.reload_succeeded(WallTime(1767323045678ms));
  bench.metrics.reload_succeeded(WallTime(1767323055123ms));
  bench.metrics.reload_failed();

  WorkerMetrics& first = bench.add_worker();
  WorkerMetrics& second = bench.add_worker();
  const proxy::Slot charge = first.route_slot("charge");
  const proxy::Slot payments = first.upstream_slot("payments");
  REQUIRE(second.route_slot("charge") == charge);

  first.attempt_finished(attempt(payments, 503, 3ms));
  first.retried(charge, "503");
  first.attempt_finished(attempt(payments, 200, 4ms));
  first.exchange_finished(exchange(charge, http::Method::get, 200, 8ms));
  second.attempt_finished(failure(payments, ErrorType::connection_refused, 400us));
  second.retry_denied("budget");
  second.breaker_moved(payments, "payments", {BreakerState::closed, BreakerState::open}, "");
  second.breaker_rejected(payments);
  second.fell_back(charge, "open");
  second.exchange_finished(exchange(charge, http::Method::get, 200, 600us));
  second.exchange_finished(exchange(0, http::Method::other, 404, 30us));
  second.exchange_finished(exchange(charge, http::Method::post, 0, 61s));
  second.headers_dropped(2);

  testing::check_golden("metrics.txt", mask_process_values(bench.metrics.render()));
}

TEST_CASE(
    "before the first request there are zeros where the labels are known, and no other rows") {
  Bench bench;
  bench.metrics.set_upstreams(open_and_closed);
  CHECK(bench.value("holdfast_breaker_rejected_total{upstream=\"search\"}") == 0);
  CHECK(bench.value("holdfast_breaker_transitions_total{upstream=\"search\",from=\"open\","
                    "to=\"half_open\"}") == 0);
  CHECK(bench.value("holdfast_retries_denied_total{reason=\"method\"}") == 0);
  CHECK(bench.value("holdfast_dropped_headers_total") == 0);
  CHECK(bench.value("holdfast_log_dropped_total") == 0);
  CHECK(bench.value("holdfast_config_generation") == 0);
  CHECK(bench.metrics.render().find("holdfast_requests_total{") == std::string::npos);
}

TEST_CASE("every error and every status is a status of an attempt") {
  Bench bench;
  WorkerMetrics& worker = bench.add_worker();
  const proxy::Slot upstream = worker.upstream_slot("u");
  for (int i = 0; i < error_type_count; ++i) {
    const auto type = static_cast<ErrorType>(i);
    for (int n = 0; n <= i; ++n) worker.attempt_finished(failure(upstream, type, 1ms));
  }
  for (const int status : {100, 200, 599, 999}) {
    worker.attempt_finished(attempt(upstream, status, 1ms));
  }
  const auto count = [&bench](std::string_view status) {
    return bench.value("http_client_requests_total{method=\"GET\",host=\"u\",status=\"" +
                       std::string(status) + "\"}");
  };
  for (int i = 0; i < error_type_count; ++i) {
    CHECK(count(name(static_cast<ErrorType>(i))) == i + 1);
  }
  for (const std::string_view status : {"100", "200", "599", "999"}) CHECK(count(status) == 1);
}

TEST_CASE("what ended without a status or an error was cancelled") {
  Bench bench;
  WorkerMetrics& worker = bench.add_worker();
  worker.attempt_finished(attempt(worker.upstream_slot("u"), 0, 1ms));
  worker.exchange_finished(exchange(0, http::Method::get, 0, 1ms));
  CHECK(bench.value("http_client_requests_total{method=\"GET\",host=\"u\",status=\"cancelled\"}") ==
        1);
  CHECK(bench.value(
            "holdfast_requests_total{route=\"none\",method=\"GET\",status=\"cancelled\"}") == 1);
}

TEST_CASE("a removed upstream loses its gauges and keeps its counters") {
  Bench bench;
  WorkerMetrics& worker = bench.add_worker();
  bench.metrics.set_upstreams(open_and_closed);
  worker.breaker_rejected(worker.upstream_slot("payments"));
  const std::string state = "holdfast_breaker_state{upstream=\"payments\",state=\"open\"}";
  CHECK(bench.value(state) == 1);

  bench.metrics.set_upstreams([] { return std::vector<UpstreamGauges>(); });
  CHECK(bench.value(state) == -1);
  CHECK(bench.value("holdfast_breaker_rejected_total{upstream=\"payments\"}") == 1);
}

TEST_CASE("a name keeps its slot, and the route none is slot 0") {
  Metrics metrics("0", "0");
  CHECK(metrics.route_slot("none") == 0);
  const proxy::Slot a = metrics.route_slot("a");
  const proxy::Slot b = metrics.route_slot("b");
  CHECK(a != b);
  CHECK(metrics.route_slot("a") == a);
  CHECK(metrics.upstream_slot("b") != metrics.upstream_slot("a"));
}

TEST_CASE("a reload is told by its outcome, its time and its number") {
  Bench bench;
  CHECK(bench.value("holdfast_config_last_reload_successful") == 0);
  bench.metrics.reload_succeeded(WallTime(1500ms));
  CHECK(bench.value("holdfast_config_last_reload_successful") == 1);
  CHECK(bench.value("holdfast_config_last_reload_success_timestamp_seconds") == 1.5);
  bench.metrics.reload_failed();
  CHECK(bench.value("holdfast_config_last_reload_successful") == 0);
  CHECK(bench.value("holdfast_config_last_reload_success_timestamp_seconds") == 1.5);
  CHECK(bench.value("holdfast_config_generation") == 1);
}

TEST_CASE("gauges come from the configuration and the state that workers share") {
  proxy::Config config;
  config.upstreams["a"].name = "a";
  for (const char* url : {"http://10.0.0.1:80", "http://10.0.0.2:80", "http://10.0.0.3:80"}) {
    config.upstreams["a"].endpoints.push_back({*net::Endpoint::parse(url), url});
  }
  config.upstreams["b"].name = "b";
  proxy::SharedUpstreams upstreams;
  CHECK(upstream_gauges(config, upstreams, TimePoint()).size() == 2);  // none is shared yet

  upstreams.apply(config);
  CHECK(upstreams.find("a")->endpoints().drain("10.0.0.2:80", true, TimePoint()));
  upstreams.find("a")->active_connections = 5;
  upstreams.find("a")->idle_connections = 6;
  const auto gauges = upstream_gauges(config, upstreams, TimePoint());
  REQUIRE(gauges.size() == 2);
  CHECK(gauges[0].name == "a");
  CHECK(gauges[0].endpoints == std::array<std::size_t, 4>{2, 0, 0, 1});
  CHECK(gauges[0].active_connections == 5);
  CHECK(gauges[0].idle_connections == 6);
  CHECK(gauges[1].name == "b");
  CHECK(gauges[1].breaker == BreakerState::closed);
}

TEST_CASE("destinations that requests choose are counted, and their connections, without a name") {
  const auto internal = [](const std::string& url) {
    proxy::UpstreamConfig upstream;
    upstream.name = "internal";
    upstream.endpoints.push_back({*net::Endpoint::parse_pattern(url), url});
    upstream.breaker.consecutive_failures = 1;
    upstream.dynamic = true;
    return upstream;
  };
  proxy::Config config;
  config.upstreams.emplace("internal", internal("http://*.internal:80"));
  proxy::SharedUpstreams upstreams;
  upstreams.apply(config);
  const auto good =
      upstreams.destination(internal("http://good.internal:80"), "good.internal:80", {});
  const auto bad = upstreams.destination(internal("http://bad.internal:80"), "bad.internal:80", {});
  good->active_connections = 3;
  bad->idle_connections = 4;
  proxy::Transitions transitions;
  Rng rng(1);
  const auto permit = bad->acquire({}, transitions);
  REQUIRE(permit);
  bad->record(*permit, policy::Breaker::Outcome::failure, {}, {}, rng, transitions);
  Bench bench;
  bench.metrics.set_upstreams([&] { return upstream_gauges(config, upstreams, TimePoint()); });
  const auto value = [&](const std::string& name, const std::string& state) {
    return bench.value(name + "{upstream=\"internal\",state=\"" + state + "\"}");
  };
  CHECK(value("holdfast_upstream_destinations", "closed") == 1);
  CHECK(value("holdfast_upstream_destinations", "open") == 1);
  CHECK(value("holdfast_upstream_destinations", "half_open") == 0);
  CHECK(value("holdfast_upstream_connections", "active") == 3);
  CHECK(value("holdfast_upstream_connections", "idle") == 4);
  CHECK(bench.metrics.render().find("good.internal") == std::string::npos);
}

TEST_CASE("a breaker's moves stand in the operational log, an exchange in the access log") {
  testing::CaptureFile file;
  {
    LogSink sink(file.fd());
    AccessLog access_log(sink, proxy::LogConfig());
    Logger logger(sink, LogLevel::info, LogFormat::json);
    Metrics metrics("0", "0");
    WorkerMetrics& worker = metrics.add_worker(access_log, logger);
    worker.breaker_moved(0, "pay", {BreakerState::closed, BreakerState::open}, "503 at a.test:80");
    worker.breaker_moved(0, "pay", {BreakerState::open, BreakerState::half_open}, "");
    worker.breaker_moved(0, "pay", {BreakerState::half_open, BreakerState::closed}, "");
    worker.exchange_finished(exchange(0, http::Method::get, 200, 1ms));
  }
  const std::string text = file.text();
  for (const std::string_view part :
       {R"("level":"warn","message":"breaker opened","upstream":"pay","from":"closed",)"
        R"("to":"open","last":"503 at a.test:80"})",
        R"("level":"info","message":"breaker half-open",)"
        R"("upstream":"pay","from":"open","to":"half_open","last":""})",
        R"("level":"info","message":"breaker closed",)"
        R"("upstream":"pay","from":"half_open","to":"closed","last":""})",
        R"("route":"none","method":"GET")"}) {
    CAPTURE(part);
    CHECK(text.find(part) != std::string::npos);
  }
}

TEST_CASE("workers count while somebody scrapes, and nothing is lost") {
  constexpr int workers = 3;
  constexpr int rounds = 20'000;
  Bench bench;
  bench.metrics.set_upstreams(open_and_closed);
  std::atomic<int> running = workers;
  std::vector<std::jthread> threads;
  for (int i = 0; i < workers; ++i) {
    WorkerMetrics& worker = bench.add_worker();
    threads.emplace_back([&worker, &running] {
      for (int round = 0; round < rounds; ++round) {
        // New names and statuses keep coming, so that rows are added under the scrape.
        const std::string name = std::to_string(round % 40);
        const proxy::Slot route = worker.route_slot("route-" + name);
        worker.exchange_finished(exchange(route, http::Method::get, 200 + round % 7, 1ms));
        worker.attempt_finished(attempt(worker.upstream_slot(name), 200 + round % 5, 1ms));
        worker.retried(route, name);
        worker.retry_denied("deadline");
        worker.breaker_rejected(route);
        worker.headers_dropped(1);
      }
      running.fetch_sub(1);
    });
  }
  double last = 0;
  while (running.load() > 0) {
    const double now = bench.value("holdfast_dropped_headers_total");
    REQUIRE(now >= last);
    last = now;
  }
  threads.clear();
  CHECK(bench.value("holdfast_dropped_headers_total") == workers * rounds);
  CHECK(bench.value("holdfast_retries_denied_total{reason=\"deadline\"}") == workers * rounds);
  CHECK(bench.value("holdfast_retries_total{route=\"route-0\",reason=\"0\"}") ==
        workers * rounds / 40);
  CHECK(bench.value("holdfast_request_duration_seconds_count{route=\"route-3\",method=\"GET\"}") ==
        workers * rounds / 40);
}

TEST_CASE("the documentation names every metric, and none that is not there") {
  const std::regex typed("# TYPE ([a-z_]+) ");
  std::set<std::string> served = metric_names("tests/unit/app/golden/metrics.txt", typed);
  served.merge(metric_names("tests/unit/app/golden/metrics_idempotency.txt", typed));
  const std::regex named("\\b((?:holdfast|http_client|process)_[a-z_]+)");
  std::set<std::string> documented = metric_names("docs/operations.md", named);
  documented.merge(metric_names("docs/idempotency.md", named));
  CHECK(served == documented);
}
