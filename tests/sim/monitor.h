// Monitor: what one process tells of itself, held against what it was told to keep to: the
// breaker's rules, those of ejections, the budget, the number of attempts, and sums that must
// agree.
//
// Contract: an Observer for all workers of one process. What is broken goes to the ledger: the
// breaker's rules at once, the sums when conclude() is called, after the process has ended.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "holdfast/proxy/observer.h"
#include "holdfast/proxy/shared_upstream.h"
#include "tests/sim/ledger.h"
#include "tests/sim/names.h"
#include "tests/sim/scenario.h"
#include "tests/sim/wellness.h"

namespace holdfast::sim {

class Monitor final : public proxy::Observer {
 public:
  Monitor(const test::World& world, const NameServer& names, const Scenario& scenario,
          Ledger& ledger, std::string process);

  /// What its transitions have made of the breaker of that upstream.
  policy::BreakerState state_of(std::string_view upstream);
  /// Something about endpoints has changed: looks at what is shared, and judges it.
  void look_at_endpoints(proxy::SharedUpstreams& upstreams);
  /// Another configuration is about to be used.
  void reconfigured(const proxy::Config& config);
  /// An endpoint was to be taken out by hand, or put back; `found`: what was said to that.
  void drained(const std::string& upstream, const std::string& key, bool out, bool found);
  /// Who is out by hand, by upstream.
  std::vector<std::pair<std::string, std::string>> drained() const;
  /// Those who have failed every check for long must be out of service.
  void check_the_ill(proxy::SharedUpstreams& upstreams, const Wellness& wellness);
  /// Nobody is ill or taken out any more.
  void check_recovery(proxy::SharedUpstreams& upstreams);
  /// The process has ended; `crashed`: without having finished what it did.
  void conclude(bool crashed);

  proxy::Slot route_slot(std::string_view name) override { return slot(name); }
  proxy::Slot upstream_slot(std::string_view name) override { return slot(name); }
  void attempt_finished(const proxy::AttemptRecord& record) override;
  void exchange_finished(const proxy::ExchangeRecord& record) override;
  void retried(proxy::Slot, std::string_view) override { ++retries_; }
  void retry_denied(std::string_view) override {}
  void fell_back(proxy::Slot, std::string_view) override {}
  void breaker_moved(proxy::Slot upstream, std::string_view name,
                     policy::Breaker::Transition transition, std::string_view last) override;
  void breaker_rejected(proxy::Slot) override {}
  void headers_dropped(std::uint32_t) override {}
  void handshake_failed(std::string_view listener, const Error& error) override;
  void keyed(proxy::Slot, std::string_view) override { ++key_outcomes_; }
  void key_event(const proxy::KeyEvent& event) override;
  void key_gauge(proxy::KeyGauge gauge, int change) override;
  void key_waited(Duration) override {}
  void store_operation(policy::Command command, Duration duration,
                       std::optional<store::StoreError::Kind> error) override;

 private:
  struct Span {
    TimePoint from;
    TimePoint to;
  };
  /// A breaker's time in one state, and the attempts that began in it.
  struct Period {
    policy::BreakerState state = policy::BreakerState::closed;
    TimePoint since = TimePoint::min();
    std::vector<Span> attempts = {};  // of a half-open one
    int recorded = 0;                 // attempts that began and ended in it
    int failures = 0;                 // ... of them, without a body, with a failure's status
    bool only_failures = true;
    std::optional<TimePoint> had_to_open = {};
  };

  /// The endpoints of an upstream that nobody should ask, from a moment on: those that draining
  /// took out, and without panic the others that are not in service.
  struct OutOfService {
    TimePoint since;
    std::set<std::string, std::less<>> endpoints;

    bool operator==(const OutOfService&) const = default;
  };

  void check_endpoint(const proxy::ExchangeRecord& record);
  void check_census(proxy::SharedUpstream& upstream,
                    const std::vector<proxy::EndpointReport>& reports);
  std::vector<Period>& periods_of(proxy::Slot upstream);
  proxy::Slot slot(std::string_view name);
  void violated(std::string_view rule, const std::string& what);
  void count(Period& period, const proxy::AttemptRecord& record,
             const policy::BreakerOptions& options);
  void check_opening(const Period& closed, const policy::BreakerOptions& options,
                     const std::string& upstream);
  void check_closing(const Period& half_open, const policy::BreakerOptions& options,
                     const std::string& upstream);
  void check_probes(const Period& period, int most, const std::string& upstream);

  const test::World& world_;
  const NameServer& name_server_;
  const Scenario& scenario_;
  Ledger& ledger_;
  const std::string process_;
  std::vector<std::string> names_{"none"};
  std::map<proxy::Slot, std::vector<Period>> periods_;
  std::map<std::string, std::vector<OutOfService>, std::less<>> out_of_service_;
  std::map<std::string, std::set<std::string>, std::less<>> drained_;
  std::map<proxy::KeyGauge, int> gauges_;
  int exchanges_ = 0;  // that asked for an upstream
  int attempts_told_ = 0;
  int attempts_ = 0;
  int retries_ = 0;
  int keyed_exchanges_ = 0;
  int key_outcomes_ = 0;
  int bypassed_exchanges_ = 0;
  int bypasses_ = 0;
};

}  // namespace holdfast::sim
