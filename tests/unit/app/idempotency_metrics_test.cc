#include "holdfast/app/idempotency_metrics.h"

#include <doctest/doctest.h>

#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/capture_file.h"
#include "tests/support/golden.h"
#include "tests/unit/app/metrics_bench.h"

namespace holdfast::app {

using namespace std::chrono_literals;

TEST_CASE("the whole text of a small history of keys") {
  Bench bench;
  bench.metrics.set_store(store::StoreKind::local, [] {
    store::StoreStats stats;
    stats.bytes = 4096;
    stats.inflight = 1;
    stats.completed = 2;
    stats.gone = 3;
    stats.unknown = 4;
    return stats;
  });
  WorkerMetrics& first = bench.add_worker();
  WorkerMetrics& second = bench.add_worker();
  const proxy::Slot charge = first.route_slot("charge");
  using Kind = proxy::KeyEvent::Kind;
  for (WorkerMetrics* worker : {&first, &second}) {
    worker->keyed(charge, "executed");
    worker->key_event({Kind::released, charge, "refused", "0123456789ab"});
    worker->key_event({Kind::unknown, charge, "reset", "0123456789ab"});
    worker->key_event({Kind::tombstone, charge, "too_large", "0123456789ab"});
    worker->key_event({Kind::fenced, charge, {}, "0123456789ab"});
  }
  first.keyed(charge, "replayed");
  first.key_event({Kind::commit_retry, charge, {}, {}});
  for (int i = 0; i < 2; ++i) first.key_event({Kind::unrecorded, charge, "timeout", {}});
  for (int i = 0; i < 3; ++i) first.key_event({Kind::renew_failed, charge, "timeout", {}});
  for (int i = 0; i < 4; ++i) first.key_event({Kind::jwt_scope, charge, {}, {}});
  for (int i = 0; i < 5; ++i) first.key_gauge(proxy::KeyGauge::inflight, 1);
  second.key_gauge(proxy::KeyGauge::inflight, -1);
  first.key_gauge(proxy::KeyGauge::detached, 3);
  first.key_gauge(proxy::KeyGauge::waiters, 2);
  first.key_waited(120ms);
  first.store_operation(policy::Command::claim, 700us, std::nullopt);
  second.store_operation(policy::Command::claim, 100ms, store::StoreError::Kind::timeout);
  second.store_operation(policy::Command::complete, 2ms, store::StoreError::Kind::replicas);

  const std::string text = bench.metrics.render();
  std::istringstream lines(text);
  std::string of_keys;
  for (std::string line; std::getline(lines, line);) {
    if (line.find("holdfast_idempotency_") != std::string::npos) of_keys += line + "\n";
  }
  holdfast::testing::check_golden("metrics_idempotency.txt", of_keys);
}

TEST_CASE("without a store nothing is told of keys") {
  Bench bench;
  bench.add_worker().keyed(0, "no_key");
  CHECK(bench.metrics.render().find("holdfast_idempotency_") == std::string::npos);
}

TEST_CASE("a Redis tells its dangers, and no records that it does not count") {
  Bench bench;
  store::StoreStats stats;
  bench.metrics.set_store(store::StoreKind::redis, [&stats] { return stats; });
  const std::string eviction = "holdfast_idempotency_store_unsafe{reason=\"eviction\"}";
  const std::string lost = "holdfast_idempotency_store_unsafe{reason=\"lost\"}";
  CHECK(bench.value("holdfast_idempotency_store_up") == 1);
  CHECK(bench.value("holdfast_idempotency_store_local") == 0);
  CHECK(bench.value(eviction) == 0);
  CHECK(bench.value(lost) == 0);
  CHECK(bench.value("holdfast_idempotency_store_bytes") == -1);
  CHECK(bench.value("holdfast_idempotency_records{state=\"unknown\"}") == -1);

  stats.up = false;
  stats.unsafe_eviction = true;
  CHECK(bench.value("holdfast_idempotency_store_up") == 0);
  CHECK(bench.value(eviction) == 1);
  CHECK(bench.value(lost) == 0);
  stats.unsafe_lost = true;
  CHECK(bench.value(lost) == 1);
}

TEST_CASE("what is in doubt stands in the operational log, by route, reason and id") {
  holdfast::testing::CaptureFile file;
  using Kind = proxy::KeyEvent::Kind;
  {
    LogSink sink(file.fd());
    AccessLog access_log(sink, quiet);
    Logger logger(sink, LogLevel::debug, LogFormat::json);
    Metrics metrics("0", "0");
    WorkerMetrics& worker = metrics.add_worker(access_log, logger);
    const proxy::Slot charge = worker.route_slot("charge");
    for (const Kind kind :
         {Kind::released, Kind::unknown, Kind::tombstone, Kind::fenced, Kind::bypassed,
          Kind::unrecorded, Kind::commit_retry, Kind::renew_failed, Kind::jwt_scope}) {
      worker.key_event({kind, charge, "why", "0123456789ab"});
    }
  }
  std::istringstream lines(file.text());
  std::vector<std::string> messages;
  for (std::string line; std::getline(lines, line);) {
    CAPTURE(line);
    CHECK(line.find(R"("route":"charge","reason":"why","id":"0123456789ab")") != std::string::npos);
    const std::size_t level = line.find("\"level\":");
    messages.push_back(line.substr(level, line.find(",\"route\"") - level));
  }
  CHECK(messages ==
        std::vector<std::string>{
            R"("level":"warn","message":"idempotency: outcome unknown")",
            R"("level":"warn",)"
            R"("message":"idempotency: executed, but the answer cannot be replayed")",
            R"("level":"warn","message":"idempotency: fenced, the record has another owner")",
            R"("level":"warn","message":"idempotency: bypassed, the store failed")",
            R"("level":"error","message":"idempotency: answered, but not recorded")"});
}

}  // namespace holdfast::app
