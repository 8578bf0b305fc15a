// Exchange: the life of one request, from its head to the end of its answer. It reads top to bottom
// in exchange.cc, a stage after the other:
//
//   run        routes; answers what needs no upstream
//   proxied    the whole of an upstream's exchange: attempts, then an answer, a fallback or an
//   error retried    attempts until one stands (policy/retry.h decides, the budget allows)
//   attempted  one attempt, or two when hedging
//   attempt    breaker's permit, endpoint, connection, request, head of the response
//   deliver    the response to the client, its body as it comes
//
// The breaker stands inside the retry: each attempt asks it and reports to it, so a breaker that
// opens ends the retries. Stages speak through the Attempt they fill. An Error becomes a response
// in one place, answer_error().
//
// Contract: single-threaded. Destroying run()'s task at any moment is a client that has gone:
// permits go back, connections in use close, nothing is counted for or against the upstream.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "holdfast/base/uuid.h"
#include "holdfast/proxy/attempt.h"
#include "holdfast/proxy/cluster.h"
#include "holdfast/proxy/downstream.h"
#include "holdfast/proxy/tunnel.h"
#include "holdfast/runtime/task.h"

namespace holdfast::proxy {

class Exchange {
 public:
  Exchange(Transaction& transaction, Generation& generation, Services& services);
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;
  /// Tells the Observer, however it ended.
  ~Exchange();

  runtime::Task<void> run();

 private:
  // -- stages
  runtime::Task<void> proxied();
  runtime::Task<void> retried();
  runtime::Task<void> attempted();
  runtime::Task<void> hedged();
  runtime::Task<void> pause_until(TimePoint at);
  runtime::Task<void> attempt(Attempt& attempt);
  runtime::Task<void> connect(Attempt& attempt, bool fresh);
  runtime::Task<void> round_trip(Attempt& attempt);
  runtime::Task<void> upload(Attempt& attempt);
  runtime::Task<void> read_head(Attempt& attempt, TimePoint deadline);
  runtime::Task<bool> deliver(Attempt& attempt, std::string_view fallback_of);
  runtime::Task<void> tunnel(Attempt& attempt);
  runtime::Task<bool> fall_back();
  runtime::Task<bool> fall_back_to(Cluster& cluster, std::string_view cause);
  runtime::Task<void> answer_error(const Error& error, std::optional<Duration> retry_after);
  runtime::Task<void> answer_problem(const http::RequestError& error);
  runtime::Task<void> answer_static(const StaticResponse& response, std::string_view proxy_status);

  // -- what stages ask
  bool prepare();
  void start_clocks(TimePoint now);
  bool method_listed() const;
  bool may_hedge() const;
  Attempt& begin_attempt(Cluster& cluster);
  void drop(std::optional<Attempt>& slot);
  Attempt& outcome() { return *slots_[outcome_]; }
  bool grant_retry(Attempt& attempt, Duration& delay);
  bool stands(const Attempt& attempt) const;
  void send_request(Attempt& attempt);
  void finish_attempt(Attempt& attempt);
  bool read_body(Attempt& attempt);
  void give_up(Attempt& attempt);
  void let_go(Attempt& attempt);
  std::string_view host_for(const Attempt& attempt, std::string& buffer) const;
  std::optional<Duration> deadline_to_tell() const;
  bool fallback_listed() const;
  bool is_for(const FallbackConfig& fallback) const;
  void note_fallback();
  void append_attempts(std::string& proxy_status) const;
  std::string_view wanted_upgrade() const;
  TimePoint attempt_deadline(const Attempt& attempt) const;
  Duration left_of_total() const;
  TimePoint now() const { return services_.context.now(); }

  Transaction& transaction_;
  Generation& generation_;
  Services& services_;
  const RouteState* route_ = nullptr;

  std::string_view request_id_;
  std::optional<Uuid7> made_request_id_;
  std::optional<Duration> client_deadline_;  // of deadline_header
  TimePoint total_deadline_ = never;         // once the clocks run
  std::optional<TimePoint> clocks_started_at_;
  TimePoint stream_deadline_ = never;

  std::array<std::optional<Attempt>, 2> slots_;
  std::size_t outcome_ = 0;
  int attempts_ = 0;
  bool sent_ = false;  // a byte of any attempt may have reached an upstream
  bool hedging_ = false;
  std::vector<EndpointPool*> tried_;

  // -- for the record
  std::string_view error_name_;
  std::string_view endpoint_text_;
  bool fell_back_ = false;
  std::string fallback_reason_;  // a group or a status
  std::string_view fallback_error_;
  TunnelCounts tunnelled_;
};

}  // namespace holdfast::proxy
