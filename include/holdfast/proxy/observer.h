// Observer: what the path of a request tells about itself. One for each worker; metrics and the
// access log implement it, and nothing on the path knows either.
//
// Contract: called on the worker's loop; must not block, wait or throw. Records hold views that are
// valid during the call only.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "holdfast/base/error.h"
#include "holdfast/base/time.h"
#include "holdfast/http/method.h"
#include "holdfast/policy/breaker.h"
#include "holdfast/policy/idempotency.h"
#include "holdfast/store/store.h"

namespace holdfast::proxy {

/// Names are turned into slots when a configuration is put into use, so that counting never
/// compares strings. A name keeps its slot for the life of the process.
using Slot = std::uint32_t;

/// One attempt: one request sent, or tried to be sent, to one endpoint.
struct AttemptRecord {
  Slot upstream = 0;
  http::Method method = http::Method::get;
  int status = 0;  // 0 without a response
  std::optional<ErrorType>
      error;            // neither: the attempt was cancelled (a hedge lost, the client left)
  Duration duration{};  // to the end of the response's head, or to the failure
};

/// One client request, from its first byte to the end of its answer.
struct ExchangeRecord {
  Slot route = 0;
  std::string_view route_name = "none";
  http::Method method = http::Method::other;
  std::string_view method_text;
  std::string_view path;      // no query
  int status = 0;             // 0: the client left before an answer began
  std::string_view upstream;  // "" for none
  std::string_view endpoint;  // of the last attempt
  int attempts = 0;
  /// The failure behind holdfast's own answer or behind a fallback, or what cut the answer short;
  /// for a refused request, the problem's name.
  std::string_view error;
  std::string_view breaker;  // state after the exchange; "" without an upstream
  bool fallback = false;
  /// How the key fared, as in the label `outcome`; "" where no key was looked at.
  std::string_view idempotency;
  std::string_view idempotency_id;  // the first 12 hex digits of the record's id, or ""
  std::uint64_t bytes_in = 0;       // of the request's body
  std::uint64_t bytes_out = 0;      // of the answer's body
  std::string_view request_id;
  std::string_view trace_id;  // of traceparent; "" without a valid one
  std::string_view client;    // the peer's IP address, or "unix"
  WallTime started{};
  Duration duration{};
};

/// Something worth counting (and, for most, a line in the log) in the life of an idempotency
/// record.
struct KeyEvent {
  enum class Kind : std::uint8_t {
    released,      // `reason`
    unknown,       // `reason`
    tombstone,     // `reason`
    fenced,        // another owner has the record: the result was discarded
    bypassed,      // forwarded without protection: the store failed, on_store_error = "open"
    unrecorded,    // the client has its answer, the store has not
    commit_retry,  // a completion is tried again
    renew_failed,  // the lease could not be renewed
    jwt_scope      // a bearer token that looks as if it were renewed is the scope
  };
  Kind kind = Kind::released;
  Slot route = 0;
  std::string_view reason;
  std::string_view id;  // the first 12 hex digits
};

/// What there is of keyed requests at a moment, over all workers.
enum class KeyGauge : std::uint8_t { inflight, detached, waiters };

class Observer {
 public:
  virtual ~Observer() = default;

  /// Slot 0 is the route "none".
  virtual Slot route_slot(std::string_view name) = 0;
  virtual Slot upstream_slot(std::string_view name) = 0;

  virtual void attempt_finished(const AttemptRecord& record) = 0;
  virtual void exchange_finished(const ExchangeRecord& record) = 0;
  /// `reason` is a group's name or a status.
  virtual void retried(Slot route, std::string_view reason) = 0;
  /// `reason` is budget, deadline, body or method.
  virtual void retry_denied(std::string_view reason) = 0;
  virtual void fell_back(Slot route, std::string_view reason) = 0;
  /// `last`: the attempt that moved it, as in "503 at 10.0.0.5:80"; "" if it was none.
  virtual void breaker_moved(Slot upstream, std::string_view upstream_name,
                             policy::Breaker::Transition transition, std::string_view last) = 0;
  virtual void breaker_rejected(Slot upstream) = 0;
  virtual void headers_dropped(std::uint32_t count) = 0;
  /// A client's connection ended in its TLS handshake.
  virtual void handshake_failed(std::string_view listener, const Error& error) = 0;

  /// A request of a route with idempotency has its outcome: a word of the label.
  virtual void keyed(Slot route, std::string_view outcome) = 0;
  virtual void key_event(const KeyEvent& event) = 0;
  virtual void key_gauge(KeyGauge gauge, int change) = 0;
  /// A duplicate waited so long for the result of another request.
  virtual void key_waited(Duration waited) = 0;
  /// One operation of the store has ended; `error` where it failed.
  virtual void store_operation(policy::Command command, Duration duration,
                               std::optional<store::StoreError::Kind> error) = 0;
};

}  // namespace holdfast::proxy
