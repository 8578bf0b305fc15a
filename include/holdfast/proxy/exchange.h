// Exchange: the life of one request, from its head to the end of its answer. It reads top to bottom
// in exchange.cc, a stage after the other:
//
//   run        routes; answers what needs no upstream
//   proxied    the whole of an upstream's exchange: attempts (proxy/attempts.h), then an answer, a
//              fallback or an error
//   keyed      the same behind an idempotency key: an Execution (proxy/execution.h) sends, and this
//              waits for it like any duplicate
//   deliver    the response to the client, its body as it comes
//
// Stages speak through the Attempt they fill. An Error becomes a response in one place,
// answer_error().
//
// Contract: single-threaded. Destroying run()'s task at any moment is a client that has gone:
// permits go back, connections in use close, nothing is counted for or against the upstream.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "holdfast/base/uuid.h"
#include "holdfast/http/idempotency_problem.h"
#include "holdfast/policy/idempotency_key.h"
#include "holdfast/proxy/attempts.h"
#include "holdfast/proxy/cluster.h"
#include "holdfast/proxy/downstream.h"
#include "holdfast/proxy/execution.h"
#include "holdfast/proxy/key_waiter.h"
#include "holdfast/proxy/tunnel.h"
#include "holdfast/runtime/task.h"

namespace holdfast::proxy {

/// Idempotency-Status of an answer to a keyed request of which nothing was sent.
inline constexpr std::string_view not_executed = "not-executed";

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
  runtime::Task<void> refuse(const http::RequestError& error);
  runtime::Task<void> answer_options();
  runtime::Task<void> answer_loop();
  runtime::Task<void> answer_crowd();
  runtime::Task<void> proxied();
  runtime::Task<void> conclude();
  runtime::Task<bool> deliver(Attempt& attempt, std::string_view fallback_of,
                              const Execution* execution);
  runtime::Task<void> open_tunnel(Attempt& attempt);
  runtime::Task<void> tunnel(Attempt& attempt);
  runtime::Task<bool> fall_back();
  runtime::Task<bool> fall_back_to(Cluster& cluster, std::string_view cause, std::size_t next);
  runtime::Task<void> answer_error(const Error& error, std::optional<Duration> retry_after);
  runtime::Task<void> answer_problem(const http::RequestError& error);
  runtime::Task<void> answer_static(const StaticResponse& response, std::string_view proxy_status);

  // -- stages of a keyed request, in exchange_keyed.cc
  runtime::Task<void> keyed();
  runtime::Task<bool> take_whole_body();
  runtime::Task<void> deduplicated(const KeyedRequest& wanted);
  runtime::Task<bool> settled();
  runtime::Task<void> tell_outcome();
  runtime::Task<void> tell_verdict(const policy::Verdict& verdict);
  runtime::Task<void> without_the_key(Execution& execution);
  runtime::Task<void> store_failed(Execution& execution);
  runtime::Task<void> say_again(int status, std::string_view headers, std::string_view body,
                                std::optional<policy::Milliseconds> age);
  runtime::Task<void> answer_key(http::IdempotencyProblem problem, int status,
                                 const http::IdempotencyMembers& members,
                                 std::string_view stored_headers);

  // -- what stages ask
  bool wants_key() const;
  Result<std::string, policy::KeyFault> find_key(bool& present) const;
  policy::Scope scope() const;
  KeyedRequest allowed(const KeyedRequest& wanted) const;
  Duration jittered(Duration pause);
  void note_key(std::string_view outcome);
  void leave_execution();
  std::optional<http::RequestError> misdirected() const;
  bool find_way(int matched);
  bool is_connect() const { return transaction_.request().method == http::Method::connect; }
  bool prepare();
  Outgoing outgoing();
  void give_up(Attempt& attempt);
  bool fallback_listed() const;
  bool is_for(const FallbackConfig& fallback) const;
  void note_fallback();
  int attempts_made() const;
  void append_attempts(std::string& proxy_status) const;
  TimePoint now() const { return services_.context.now(); }

  Transaction& transaction_;
  Generation& generation_;
  Services& services_;
  const RouteState* route_ = nullptr;
  RoutePin route_pin_;                         // of a destination
  std::optional<http::RequestError> refusal_;  // of a request that gets no further

  std::string_view request_id_;
  std::optional<Uuid7> made_request_id_;
  std::optional<Duration> client_deadline_;  // of deadline_header
  std::optional<Attempts> attempts_;

  // -- of a keyed request
  Execution* execution_ = nullptr;
  std::string_view key_outcome_;
  std::string key_id_;         // the record's, in hex
  std::string generated_key_;  // "" if the client sent its own
  std::string_view idempotency_status_;
  bool waited_ = false;

  // -- for the record
  std::string_view error_name_;
  bool fell_back_ = false;
  std::string fallback_reason_;  // a group or a status
  std::string_view fallback_error_;
  TunnelCounts tunnelled_;
};

}  // namespace holdfast::proxy
