// ProxyFixture: a whole worker's proxy over a FakeNetwork: clients on one side, upstreams on the
// other, everything it tells kept for questions. Its destructor checks that nothing is left: no
// frame, no permit, no connection in use.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "holdfast/proxy/connection_set.h"
#include "holdfast/proxy/proxy.h"
#include "tests/support/fake_network.h"

namespace holdfast::test {

/// Keeps what it is told, as text where that is easier to compare.
class Recorder final : public proxy::Observer {
 public:
  struct Exchange {
    std::string route, method, path, upstream, endpoint, error, breaker, idempotency,
        idempotency_id, request_id, trace_id, client;
    int status = 0;
    int attempts = 0;
    bool fallback = false;
    std::uint64_t bytes_in = 0;
    std::uint64_t bytes_out = 0;
    Duration duration{};
  };

  std::vector<Exchange> exchanges;
  std::vector<std::string> attempts;     // a status, an error's name, or "cancelled"
  std::vector<std::string> retries;      // reasons
  std::vector<std::string> denied;       // reasons
  std::vector<std::string> fallbacks;    // reasons
  std::vector<std::string> transitions;  // "closed>open"
  std::vector<std::string> key_outcomes;
  std::vector<std::string> key_events;        // "unknown reset": the kind, then the reason if any
  std::vector<std::string> store_operations;  // "claim", or "claim timeout" if it failed
  std::vector<Duration> key_waits;
  int keys_inflight = 0;
  int keys_detached = 0;
  int key_waiters = 0;
  int rejected = 0;
  std::uint32_t dropped = 0;
  std::vector<Error> handshake_failures;

  proxy::Slot route_slot(std::string_view name) override { return slot(name); }
  proxy::Slot upstream_slot(std::string_view name) override { return slot(name); }
  void attempt_finished(const proxy::AttemptRecord& record) override;
  void exchange_finished(const proxy::ExchangeRecord& record) override;
  void retried(proxy::Slot, std::string_view reason) override { retries.emplace_back(reason); }
  void retry_denied(std::string_view reason) override { denied.emplace_back(reason); }
  void fell_back(proxy::Slot, std::string_view reason) override { fallbacks.emplace_back(reason); }
  void breaker_moved(proxy::Slot, std::string_view, policy::Breaker::Transition transition,
                     std::string_view last) override;
  void breaker_rejected(proxy::Slot) override { ++rejected; }
  void headers_dropped(std::uint32_t count) override { dropped += count; }
  void handshake_failed(std::string_view, const Error& error) override {
    handshake_failures.push_back(error);
  }
  void keyed(proxy::Slot, std::string_view outcome) override { key_outcomes.emplace_back(outcome); }
  void key_event(const proxy::KeyEvent& event) override;
  void key_gauge(proxy::KeyGauge gauge, int change) override;
  void key_waited(Duration waited) override { key_waits.push_back(waited); }
  void store_operation(policy::Command command, Duration duration,
                       std::optional<store::StoreError::Kind> error) override;

 private:
  proxy::Slot slot(std::string_view name);
  std::vector<std::string> names_{"none"};
};

/// A route "main" to an upstream "api" of these endpoints, without jitter: times are exact.
proxy::Config one_upstream(const std::vector<std::string>& urls = {"http://10.0.0.1:80"});
proxy::UpstreamConfig upstream_of(const std::string& name, const std::vector<std::string>& urls);
policy::ConditionSet conditions(std::initializer_list<std::string_view> names);

class ProxyFixture {
 public:
  explicit ProxyFixture(proxy::Config config = one_upstream(), std::uint64_t seed = 1);
  ProxyFixture(const ProxyFixture&) = delete;
  ProxyFixture& operator=(const ProxyFixture&) = delete;
  ~ProxyFixture();

  /// Puts a configuration into use, as a reload does.
  void load(proxy::Config config);
  /// A client connects.
  std::shared_ptr<Peer> client(std::string_view address = "192.0.2.7");
  /// A client connects and sends.
  std::shared_ptr<Peer> client_sends(std::string_view bytes);
  /// The far end of the n-th connection made to an upstream, the last one by default.
  Peer& upstream(std::size_t index) { return *network.accepted.at(index); }
  Peer& upstream() { return *network.accepted.back(); }
  /// The last upstream connection sends, and all that follows from it happens.
  void upstream_answers(std::string_view bytes);
  proxy::SharedUpstream& shared(std::string_view name = "api") { return *upstreams.find(name); }
  const Recorder::Exchange& last() const { return seen.exchanges.back(); }
  /// Ends all clients; what is left over then is a leak. Called by the destructor.
  void finish();

  World world;
  FakeNetwork network{world};
  Recorder seen;
  proxy::SharedUpstreams upstreams;
  proxy::Services services;
  std::unique_ptr<proxy::Proxy> proxy;
  const std::string listener = "main";
  std::unique_ptr<proxy::ConnectionSet> clients;

 private:
  const std::size_t frames_before_;
};

// -- messages
std::string get(std::string_view path = "/", std::string_view fields = "");
std::string request(std::string_view method, std::string_view body, std::string_view fields = "");
std::string post(std::string_view body, std::string_view fields = "");
std::string answer(int status, std::string_view body = "", std::string_view fields = "");
/// The status of the first response in `bytes`; 0 if there is none.
int status_of(std::string_view bytes);
/// What follows the first head in `bytes`.
std::string body_of(std::string_view bytes);
/// The value of the first field of that name (as it is spelled) in `bytes`; "-" without one.
std::string field_of(std::string_view bytes, std::string_view name);
int count_of(std::string_view text, std::string_view part);

}  // namespace holdfast::test
