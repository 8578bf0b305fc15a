// Exchange behind an idempotency key: what is asked of the client, of the store and of the other
// requests with the same key, and what each outcome is to the client.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "holdfast/base/assert.h"
#include "holdfast/base/text.h"
#include "holdfast/http/problem.h"
#include "holdfast/http/stored_head.h"
#include "holdfast/net/tls_identity.h"
#include "holdfast/policy/timeout.h"
#include "holdfast/proxy/exchange.h"

namespace holdfast::proxy {
namespace {

using http::IdempotencyProblem;
using policy::Verdict;
using store::StoreError;

/// How often one of those who wait asks the store for all (idempotency §2.5).
constexpr Duration first_poll = std::chrono::milliseconds(50);
constexpr Duration slowest_poll = std::chrono::seconds(1);

policy::FingerprintInput fingerprint_input(const http::RequestHead& request,
                                           std::string_view body) {
  return {request.method_text,
          request.path,
          request.query,
          request.fields.value(http::FieldName::content_type),
          request.fields.value(http::FieldName::content_encoding),
          body};
}

/// True if Connection names the field that the key, or the principal, is in: it would be taken from
/// under the upstream's eyes. Of the fields that it knows the parser refuses this by itself.
bool is_taken_by_connection(const policy::IdempotencyOptions& options, const http::Fields& fields) {
  const auto is_named = [&fields](std::string_view field) {
    return http::lists_token(fields, http::FieldName::connection, field);
  };
  return is_named(options.header) ||
         std::ranges::any_of(options.scope, [&](const policy::ScopeSource& source) {
           return source.kind == policy::ScopeSource::Kind::header && is_named(source.header);
         });
}

/// Without one all who have none would share their keys, whatever scope_missing says: a client
/// whose listener asks for certificates since a reload, for instance, and did not when it came.
bool is_scoped_by_certificate(const policy::IdempotencyOptions& options) {
  return std::ranges::any_of(options.scope, [](const policy::ScopeSource& source) {
    return source.kind == policy::ScopeSource::Kind::client_cert;
  });
}

}  // namespace

bool Exchange::wants_key() const {
  const policy::IdempotencyOptions& options = route_->config->idempotency;
  if (!options.enabled) return false;
  // A route that keeps records has had its store opened before it was put into use.
  HOLDFAST_ASSERT(services_.executions != nullptr);
  return std::ranges::find(options.methods, transaction_.request().method_text) !=
         options.methods.end();
}

void Exchange::note_key(std::string_view outcome) {
  key_outcome_ = outcome;
  services_.observer.keyed(route_->slot, outcome);
}

/// The key of the request; `present` is false if it has none.
Result<std::string, policy::KeyFault> Exchange::find_key(bool& present) const {
  const policy::IdempotencyOptions& options = route_->config->idempotency;
  const http::Field* only = nullptr;
  for (const http::Field& field : transaction_.request().fields) {
    if (!iequals(field.name, options.header)) continue;
    if (only != nullptr) return unexpected(policy::KeyFault::multiple);
    only = &field;
  }
  present = only != nullptr;
  if (!present) return std::string();
  return policy::parse_key(only->value, options.key_syntax, options.max_key_length);
}

policy::Scope Exchange::scope() const {
  const auto values_of = [this](std::string_view name) {
    std::vector<std::string_view> values;
    if (name == policy::client_certificate_source) {
      const net::ClientIdentity* client = transaction_.stream().client_identity();
      if (client != nullptr && !client->name.empty()) values.push_back(client->name);
      return values;
    }
    for (const http::Field& field : transaction_.request().fields) {
      if (iequals(field.name, name)) values.push_back(field.value);
    }
    return values;
  };
  const policy::Scope scope = policy::scope_of(route_->config->idempotency.scope, values_of);
  if (scope.renewable) {
    services_.observer.key_event({KeyEvent::Kind::jwt_scope, route_->slot, {}, {}});
  }
  return scope;
}

runtime::Task<void> Exchange::keyed() {
  const policy::IdempotencyOptions& options = route_->config->idempotency;
  if (is_taken_by_connection(options, transaction_.request().fields)) {
    note_key("key_invalid");
    const http::RequestError error{http::Problem::bad_request,
                                   "Connection names a field that is meant for the far end"};
    co_await answer_problem(error);
    co_return;
  }
  bool present = true;
  const Result<std::string, policy::KeyFault> key = find_key(present);
  const bool generate = !present && options.missing_key == policy::MissingKey::generate;
  http::IdempotencyMembers members;
  if (!key) {
    note_key("key_invalid");
    members.reason = policy::name(key.error());
    co_await answer_key(IdempotencyProblem::key_invalid, 400, members, "");
    co_return;
  }
  if (!present && options.missing_key == policy::MissingKey::reject) {
    note_key("key_missing");
    co_await answer_key(IdempotencyProblem::key_missing, 400, members, "");
    co_return;
  }
  const policy::Scope who = scope();
  // Without knowing who asks, neighbours behind one address would be given one key.
  if (!present && (!generate || who.missing)) {
    note_key("no_key");
    co_await proxied();
    co_return;
  }
  if (who.missing && (options.scope_missing == policy::ScopeMissing::reject ||
                      is_scoped_by_certificate(options))) {
    note_key("key_invalid");
    co_await answer_key(IdempotencyProblem::scope_missing, 400, members, "");
    co_return;
  }
  const bool whole = co_await take_whole_body();
  if (!whole) co_return;

  const http::RequestHead& request = transaction_.request();
  const policy::FingerprintInput input = fingerprint_input(request, transaction_.body().kept());
  if (generate) generated_key_ = policy::generated_key(who.digest, input);
  const std::string& known = generate ? generated_key_ : *key;
  KeyedRequest wanted;
  wanted.generated = generate;
  wanted.id = policy::record_id(options.name_space, who.digest, request.method_text, known);
  wanted.fingerprint = policy::fingerprint(options.fingerprint, input);
  key_id_ = hex(wanted.id);
  co_await deduplicated(wanted);
}

/// Reads the body to its end. False: the client has been answered, or has gone.
runtime::Task<bool> Exchange::take_whole_body() {
  const policy::IdempotencyOptions& options = route_->config->idempotency;
  const std::uint64_t limit = options.max_request_bytes;
  const http::Framing& framing = transaction_.request().framing;
  RequestBody& body = transaction_.body();
  body.keep_up_to(limit);
  bool too_large = framing.kind == http::Framing::Kind::length && framing.length > limit;
  while (!too_large && !body.complete()) {
    Result<Pieces, BodyFailure> pieces = co_await body.pull(route_->config->timeout.idle);
    if (!pieces) {
      if (pieces.error().client_gone) co_return false;
      const http::RequestError error = pieces.error().error;
      co_await answer_problem(error);
      co_return false;
    }
    too_large = body.received() > limit;
  }
  if (!too_large && body.received() <= limit) co_return true;
  note_key("key_invalid");
  const http::IdempotencyMembers members;
  co_await answer_key(IdempotencyProblem::request_too_large, 413, members, "");
  co_return false;
}

/// What this request may do now: claim the key, or only look.
KeyedRequest Exchange::allowed(const KeyedRequest& wanted) const {
  KeyedRequest request = wanted;
  request.no_room = !services_.executions->has_room();
  if (services_.executions->draining()) {
    request.peek_only = true;
    request.refusal = Error{ErrorType::connection_limit_reached, "holdfast is shutting down", true};
  } else if (const auto rejected = route_->cluster->shared().rejection(now())) {
    request.peek_only = true;
    request.refusal = Error{ErrorType::destination_unavailable,
                            "the circuit breaker of the upstream is open", true};
    request.retry_after = rejected->retry_after;
  }
  return request;
}

Duration Exchange::jittered(Duration pause) {
  const auto half = static_cast<std::uint64_t>(pause.count() / 2);
  return Duration(static_cast<Duration::rep>(half + services_.context.rng.below(half)));
}

/// Runs the request, or learns what became of the one that ran; waits for that if it may.
runtime::Task<void> Exchange::deduplicated(const KeyedRequest& wanted) {
  const policy::IdempotencyOptions& options = route_->config->idempotency;
  Executions& executions = *services_.executions;
  RequestBody& body = transaction_.body();
  const TimePoint began = now();
  std::optional<KeyWaiter> waiter;
  Duration pause = first_poll;
  for (;;) {
    if (const auto kept = executions.board().unrecorded(wanted.id)) {
      Verdict verdict;
      verdict.kind = kept->fingerprint == wanted.fingerprint ? Verdict::Kind::completed
                                                             : Verdict::Kind::mismatch;
      verdict.status = kept->status;
      verdict.headers = kept->headers;
      verdict.body = kept->body;
      co_await tell_verdict(verdict);
      co_return;
    }
    const Outgoing request = outgoing();
    const KeyedRequest asked = allowed(wanted);
    execution_ = &executions.begin(generation_, *route_, request, asked, body.take(),
                                   client_deadline_, transaction_.started());
    const bool in_time = co_await settled();
    if (!in_time) co_return;
    const bool running_elsewhere = execution_->outcome() == Execution::Outcome::verdict &&
                                   execution_->verdict().kind == Verdict::Kind::inflight;
    if (!running_elsewhere || !options.in_flight_wait) break;
    const TimePoint end = after(began, *options.in_flight_wait);
    const bool first_time = !waiter.has_value();
    if (first_time) waiter.emplace(executions.board(), wanted.id, services_);
    if (!waiter->admitted() || now() >= end) break;
    body.give_back(execution_->take_request_body());
    leave_execution();
    // It may have ended before anybody knew that we wait.
    if (first_time && !waiter->soon_told()) continue;
    TimePoint next = end;
    if (waiter->asks()) next = std::min(end, after(now(), jittered(pause)));
    pause = std::min(pause * 2, slowest_poll);
    const bool woken = co_await waiter->until_woken(next);
    if (!woken && !waiter->asks()) co_await waiter->until_woken(end);  // it is about to be told
    waited_ = true;
    if (const auto answer = waiter->answer()) {
      if (answer->fingerprint != wanted.fingerprint) continue;  // the store says what that is
      waiter.reset();  // whoever reads slowly stands in nobody's way
      note_key("waited");
      idempotency_status_ = "released";
      co_await say_again(answer->status, answer->headers, answer->body, std::nullopt);
      co_return;
    }
  }
  waiter.reset();
  co_await tell_outcome();
}

/// Waits until the execution has an outcome. False: it is not there in time, and the client has
/// been told so.
runtime::Task<bool> Exchange::settled() {
  while (execution_->outcome() == Execution::Outcome::running) {
    const TimePoint deadline = execution_->pending_at();
    if (now() >= deadline) {
      note_key(generated_key_.empty() ? "executed" : "auto");
      error_name_ = name(ErrorType::http_response_timeout);
      const http::IdempotencyMembers members;
      co_await answer_key(IdempotencyProblem::execution_pending, 504, members, "");
      co_return false;
    }
    runtime::Signal& changed = execution_->changed();
    co_await runtime::wait_for(changed, services_.context.timers, deadline);
  }
  co_return true;
}

void Exchange::leave_execution() {
  if (execution_ != nullptr) services_.executions->leave(*std::exchange(execution_, nullptr));
}

// -- outcomes

runtime::Task<void> Exchange::tell_outcome() {
  Execution& execution = *execution_;
  http::IdempotencyMembers members;
  switch (execution.outcome()) {
    case Execution::Outcome::running:
      break;  // settled() has ended
    case Execution::Outcome::verdict:
      co_await tell_verdict(execution.verdict());
      co_return;
    case Execution::Outcome::store_failed:
      co_await store_failed(execution);
      co_return;
    case Execution::Outcome::not_sent:
      note_key("released");
      idempotency_status_ = not_executed;
      if (!execution.has_attempts() && execution.refusal().group() == ErrorGroup::open) {
        services_.observer.breaker_rejected(route_->cluster->slot());
      }
      co_await without_the_key(execution);
      co_return;
    case Execution::Outcome::unknown:
    case Execution::Outcome::shutdown: {
      const bool shutdown = execution.outcome() == Execution::Outcome::shutdown;
      note_key("unknown");
      error_name_ =
          shutdown ? name(ErrorType::connection_terminated) : execution.attempts().error_name();
      members.reason = execution.reason();
      members.id = key_id_;
      const int status = shutdown ? 503 : 502;
      co_await answer_key(IdempotencyProblem::outcome_unknown, status, members, "");
      co_return;
    }
    case Execution::Outcome::answered:
    case Execution::Outcome::streaming: {
      const bool released = execution.released();
      note_key(released ? "released" : generated_key_.empty() ? "executed" : "auto");
      idempotency_status_ = execution.unrecorded() ? "unrecorded" : released ? "released" : "";
      const bool answered = co_await deliver(execution.attempts().outcome(), "", execution_);
      if (answered) co_return;
      break;
    }
    case Execution::Outcome::truncated:
      note_key("result_unavailable");
      break;
  }
  // The answer broke off, and not a byte of it has gone to the client.
  error_name_ = name(ErrorType::http_response_incomplete);
  members.reason = "truncated";
  members.original_status = execution.attempts().outcome().status;
  co_await answer_key(IdempotencyProblem::result_unavailable, 502, members, "");
}

/// Nothing of the request was sent under the key, and nothing will be: what is left is a fallback,
/// an error, or, with a store that fails open, the request without protection.
runtime::Task<void> Exchange::without_the_key(Execution& execution) {
  const Outgoing request = outgoing();
  transaction_.body().give_back(execution.take_request_body());
  Error error = execution.refusal();
  const int count = execution.has_attempts() ? execution.attempts().count() : 0;
  const std::optional<Duration> retry_after = execution.retry_after();
  leave_execution();
  attempts_.emplace(generation_, *route_, request, client_deadline_, transaction_.started(),
                    services_);
  attempts_->fail(error, retry_after, count);
  co_await conclude();
}

runtime::Task<void> Exchange::store_failed(Execution& execution) {
  const policy::IdempotencyOptions& options = route_->config->idempotency;
  const StoreError::Kind kind = execution.store_error().kind;
  const http::IdempotencyMembers members;
  if (kind == StoreError::Kind::full) {
    note_key("capacity");
    co_await answer_key(IdempotencyProblem::capacity, 503, members, "");
    co_return;
  }
  const bool open = options.on_store_error == policy::OnStoreFailure::open;
  if (!open || kind == StoreError::Kind::corrupt) {
    note_key("store_error");
    co_await answer_key(IdempotencyProblem::store_unavailable, 503, members, "");
    co_return;
  }
  note_key("bypassed");
  idempotency_status_ = "bypassed";
  services_.observer.key_event({KeyEvent::Kind::bypassed, route_->slot, store::name(kind),
                                std::string_view(key_id_).substr(0, 12)});
  transaction_.body().give_back(execution.take_request_body());
  if (execution.has_attempts()) {
    // The time that the attempts under the key have taken is not given a second time.
    const Duration left = execution.attempts().left_of_total();
    const bool bounded = left != Duration::max();
    if (bounded) client_deadline_ = std::min(client_deadline_.value_or(left), left);
  }
  leave_execution();
  co_await proxied();
}

runtime::Task<void> Exchange::tell_verdict(const Verdict& verdict) {
  http::IdempotencyMembers members;
  switch (verdict.kind) {
    case Verdict::Kind::completed:
      note_key(waited_ ? "waited" : "replayed");
      idempotency_status_ = "replayed";
      co_await say_again(verdict.status, verdict.headers, verdict.body, verdict.age);
      co_return;
    case Verdict::Kind::gone:
      note_key("result_unavailable");
      members.reason = verdict.reason;
      members.original_status = verdict.status;
      co_await answer_key(IdempotencyProblem::result_unavailable, 409, members, verdict.headers);
      co_return;
    case Verdict::Kind::unknown:
      note_key("unknown");
      members.reason = verdict.reason;
      members.id = key_id_;
      co_await answer_key(IdempotencyProblem::outcome_unknown, 409, members, "");
      co_return;
    case Verdict::Kind::mismatch:
      note_key("mismatch");
      co_await answer_key(IdempotencyProblem::key_reused, 422, members, "");
      co_return;
    case Verdict::Kind::inflight:
      note_key("in_progress");
      co_await answer_key(IdempotencyProblem::in_progress, 409, members, "");
      co_return;
    default:
      // No claim is answered so; whatever it means, nothing is sent.
      note_key("store_error");
      co_await answer_key(IdempotencyProblem::store_unavailable, 503, members, "");
      co_return;
  }
}

// -- answers

/// An answer that an upstream gave to another request with this key. With an `age` it is a replay.
runtime::Task<void> Exchange::say_again(int status, std::string_view headers, std::string_view body,
                                        std::optional<policy::Milliseconds> age) {
  const std::optional<http::Fields> fields = http::parse_stored_head(headers);
  if (!fields) {
    const http::IdempotencyMembers members;
    co_await answer_key(IdempotencyProblem::store_unavailable, 503, members, "");
    co_return;
  }
  HeaderList list;
  list.reserve(fields->size() + 2);
  for (const http::Field& field : *fields) list.emplace_back(field.name, field.value);
  if (age) {
    const auto seconds = std::chrono::floor<std::chrono::seconds>(*age).count();
    list.emplace_back("Age", std::to_string(std::max<std::int64_t>(seconds, 0)));
    list.emplace_back("Idempotent-Replayed", "true");
  }
  if (!generated_key_.empty()) list.emplace_back("Idempotency-Key", '"' + generated_key_ + '"');
  OwnResponse response;
  response.status = status;
  response.headers = list;
  response.body = body;
  response.no_store = false;
  response.idempotency_status = idempotency_status_;
  co_await transaction_.respond(response);
}

runtime::Task<void> Exchange::answer_key(IdempotencyProblem problem, int status,
                                         const http::IdempotencyMembers& members,
                                         std::string_view stored_headers) {
  std::string body;
  http::append_idempotency_problem(body, problem, status, request_id_, members);
  HeaderList list{{"Content-Language", "en"}};
  const std::optional<http::Fields> fields = http::parse_stored_head(stored_headers);
  if (fields) {
    for (const http::Field& field : *fields) list.emplace_back(field.name, field.value);
  }
  if (status < 500) error_name_ = name(ErrorType::http_request_error);
  if (error_name_.empty()) {
    const bool no_room = problem == IdempotencyProblem::capacity;
    error_name_ =
        name(no_room ? ErrorType::connection_limit_reached : ErrorType::proxy_internal_error);
  }
  std::string proxy_status("error=");
  proxy_status.append(error_name_);
  append_attempts(proxy_status);
  OwnResponse response;
  response.status = status;
  response.content_type = "application/problem+json";
  response.headers = list;
  if (http::retry_same_key(problem)) response.retry_after = 1;
  response.proxy_status = proxy_status;
  response.idempotency_status = http::name(problem);
  response.body = body;
  co_await transaction_.respond(response);
}

}  // namespace holdfast::proxy
