// Metrics: everything /metrics tells (contract §4), counted by each worker for itself and summed
// when somebody asks.
//
// A worker counts through its WorkerMetrics, an Observer, in cells that only it writes
// (metric_cells.h): nothing is shared between workers, nothing is locked or hashed for a request.
// Names become slots once, when a configuration is put into use; a name that a reload removes keeps
// its slot and its counters, so that a counter never goes back. Gauges are told for the upstreams
// that are configured at the moment of the scrape, and these have their breaker's counters from 0
// on, so that rate() sees the first step.
// `status` is "cancelled" for a request whose client left before an answer began, and for an
// attempt that was given up without a failure of its own.
//
// Contract: Metrics is thread-safe. A WorkerMetrics is its worker's alone.
// Limits: as many rows as there are routes × methods × statuses (or reasons) in use.
// Ownership: Metrics owns the WorkerMetrics and must outlive the workers.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "holdfast/app/access_log.h"
#include "holdfast/app/certificates.h"
#include "holdfast/app/idempotency_metrics.h"
#include "holdfast/app/metric_cells.h"
#include "holdfast/base/log.h"
#include "holdfast/proxy/config.h"
#include "holdfast/proxy/observer.h"
#include "holdfast/proxy/shared_upstream.h"
#include "holdfast/store/store.h"

namespace holdfast::app {

/// What became of a request or an attempt, as the labels `method` and `status` have it.
struct Outcome {
  http::Method method;
  std::uint16_t status;  // 0: none, it was cancelled; to 999: a status code; above: an ErrorType

  static Outcome of_status(http::Method method, int status);
  static Outcome of_error(http::Method method, ErrorType error);
  std::string status_label() const;

  auto operator<=>(const Outcome&) const = default;
};

/// The labels `from` and `to` of a breaker's transition.
struct BreakerMove {
  policy::BreakerState from;
  policy::BreakerState to;

  auto operator<=>(const BreakerMove&) const = default;
};

inline constexpr std::string_view retry_denials[] = {"budget", "deadline", "body", "method"};

/// All that one worker counts. Slots are a route's or an upstream's.
struct WorkerCells {
  SlotTable<Outcome, Counter> requests;                  // by route
  SlotTable<http::Method, Histogram> request_durations;  // by route
  SlotTable<Outcome, Histogram> attempts;                // by upstream; its samples are the counter
  SlotTable<std::string, Counter> retries;               // by route; the key is the reason
  SlotTable<std::string, Counter> fallbacks;             // by route; the key is the reason
  SlotTable<BreakerMove, Counter> breaker_transitions;   // by upstream
  SlotTable<std::monostate, Counter> breaker_rejected;   // by upstream
  std::array<Counter, std::size(retry_denials)> retries_denied;
  Counter dropped_headers;
  SlotTable<std::string, Counter> failed_handshakes;  // by listener; the key is the reason
  IdempotencyCells keys;
};

/// Names and their slots, in the order they came.
class SlotNames {
 public:
  proxy::Slot slot(std::string_view name);
  std::vector<std::string> all() const;
  /// "" for a slot that nobody was given. Searches: for rare events.
  std::string name(proxy::Slot slot) const;

 private:
  mutable std::mutex mutex_;
  std::map<std::string, proxy::Slot, std::less<>> slots_;
};

/// An upstream as its gauges show it.
struct UpstreamGauges {
  std::string name;
  policy::BreakerState breaker = policy::BreakerState::closed;
  std::int64_t active_connections = 0;
  std::int64_t idle_connections = 0;
  std::array<std::size_t, 4> endpoints{};  // by proxy::EndpointState
  std::uint64_t ejections = 0;
  std::uint64_t checks_passed = 0;
  std::uint64_t checks_failed = 0;
  /// Of one whose requests choose where they go: its destinations, by policy::BreakerState. Which
  /// they are stands on the page /upstreams only: clients choose their names, and how many.
  std::optional<std::array<std::size_t, 3>> destinations{};
  std::size_t names = 0;  // among its endpoints; neither found nor failing: not looked up yet
  std::size_t names_found = 0;
  std::size_t names_failing = 0;
};

/// The gauges of every upstream of `config`; connections are those of its destinations, too.
std::vector<UpstreamGauges> upstream_gauges(const proxy::Config& config,
                                            const proxy::SharedUpstreams& upstreams, TimePoint now);

class WorkerMetrics;

class Metrics {
 public:
  Metrics(std::string_view version, std::string_view commit);
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  /// The Observer of one more worker. `access_log` is that worker's; both must outlive its use.
  WorkerMetrics& add_worker(AccessLog& access_log, Logger& logger);

  proxy::Slot route_slot(std::string_view name) { return routes_.slot(name); }
  proxy::Slot upstream_slot(std::string_view name) { return upstreams_.slot(name); }
  proxy::Slot listener_slot(std::string_view name) { return listeners_.slot(name); }
  std::string route_name(proxy::Slot slot) const { return routes_.name(slot); }

  /// A configuration was put into use: at the start and after a reload.
  void reload_succeeded(WallTime now);
  void reload_failed();

  /// Asked at every scrape, on the thread that scrapes; neither may call back into this.
  void set_upstreams(std::function<std::vector<UpstreamGauges>()> provider);
  void set_log_dropped(std::function<std::uint64_t()> provider);
  void set_certificates(std::function<std::vector<CertificateState>()> provider);
  /// A store is in use: from now on there are metrics of idempotency. The provider is asked as the
  /// others are.
  void set_store(store::StoreKind kind, std::function<store::StoreStats()> provider);

  /// The Prometheus text format.
  std::string render();

 private:
  const std::string version_;
  const std::string commit_;
  SlotNames routes_;
  SlotNames upstreams_;
  SlotNames listeners_;
  std::atomic<bool> last_reload_successful_{false};
  std::atomic<std::int64_t> last_success_milliseconds_{0};
  std::atomic<std::uint64_t> generation_{0};

  std::mutex mutex_;  // of what follows; held during a scrape
  std::vector<std::unique_ptr<WorkerMetrics>> workers_;
  std::function<std::vector<UpstreamGauges>()> upstream_provider_;
  std::function<std::uint64_t()> log_dropped_provider_;
  std::function<std::vector<CertificateState>()> certificate_provider_;
  store::StoreKind store_kind_ = store::StoreKind::local;
  std::function<store::StoreStats()> store_provider_;
};

class WorkerMetrics final : public proxy::Observer {
 public:
  WorkerMetrics(Metrics& metrics, AccessLog& access_log, Logger& logger)
      : metrics_(metrics), access_log_(access_log), logger_(logger) {}

  proxy::Slot route_slot(std::string_view name) override { return metrics_.route_slot(name); }
  proxy::Slot upstream_slot(std::string_view name) override { return metrics_.upstream_slot(name); }

  void attempt_finished(const proxy::AttemptRecord& record) override;
  /// Counts, and writes the access log.
  void exchange_finished(const proxy::ExchangeRecord& record) override;
  void retried(proxy::Slot route, std::string_view reason) override;
  void retry_denied(std::string_view reason) override;
  void fell_back(proxy::Slot route, std::string_view reason) override;
  /// Counts, and says so in the operational log.
  void breaker_moved(proxy::Slot upstream, std::string_view upstream_name,
                     policy::Breaker::Transition transition, std::string_view last) override;
  void breaker_rejected(proxy::Slot upstream) override;
  void headers_dropped(std::uint32_t count) override;
  void handshake_failed(std::string_view listener, const Error& error) override;
  void keyed(proxy::Slot route, std::string_view outcome) override;
  /// Counts; and says in the operational log what an operator may have to act upon.
  void key_event(const proxy::KeyEvent& event) override;
  void key_gauge(proxy::KeyGauge gauge, int change) override;
  void key_waited(Duration waited) override;
  void store_operation(policy::Command command, Duration duration,
                       std::optional<store::StoreError::Kind> error) override;

  const WorkerCells& cells() const { return cells_; }

 private:
  Metrics& metrics_;
  AccessLog& access_log_;
  Logger& logger_;
  WorkerCells cells_;
};

}  // namespace holdfast::app
