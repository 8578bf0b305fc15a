// The second half of Exchange: what the client gets. A response is passed on as it comes, a
// fallback stands in, or a failure becomes an answer of holdfast's own.
#include <algorithm>
#include <span>
#include <string>
#include <utility>

#include "holdfast/base/text.h"
#include "holdfast/http/problem.h"
#include "holdfast/proxy/exchange.h"
#include "holdfast/proxy/tunnel.h"

namespace holdfast::proxy {
namespace {

using policy::Breaker;

/// Whole seconds, rounded up, at least 1 (contract §2).
std::int64_t retry_after_seconds(std::optional<Duration> delay) {
  if (!delay) return 1;
  return std::max<std::int64_t>(1, std::chrono::ceil<std::chrono::seconds>(*delay).count());
}

/// How a response's body is framed towards the client.
BodyMode response_body_mode(const http::Framing& framing, int client_minor_version) {
  switch (framing.kind) {
    case http::Framing::Kind::none:
      return BodyMode::none;
    case http::Framing::Kind::length:
      return BodyMode::length;
    default:
      return client_minor_version == 0 ? BodyMode::until_close : BodyMode::chunked;
  }
}

/// An end of a tunnel. However the tunnel is cut (a client that goes, or the end of a drain, takes
/// the whole exchange with it), nobody must take that for the FIN of the other end.
class ResetUnlessClean {
 public:
  explicit ResetUnlessClean(net::Stream& stream) : stream_(stream) {}
  ResetUnlessClean(const ResetUnlessClean&) = delete;
  ResetUnlessClean& operator=(const ResetUnlessClean&) = delete;
  ~ResetUnlessClean() {
    if (!clean_) stream_.abort();
  }
  void set_clean() { clean_ = true; }

 private:
  net::Stream& stream_;
  bool clean_ = false;
};

/// What the log says of a tunnel that was cut. Nothing where the client was who failed.
std::optional<ErrorType> error_of(TunnelEnd end) {
  switch (end) {
    case TunnelEnd::upstream_failed:
      return ErrorType::connection_terminated;
    case TunnelEnd::silent:
      return ErrorType::connection_read_timeout;
    case TunnelEnd::untaken:
      return ErrorType::connection_write_timeout;
    default:
      return std::nullopt;
  }
}

}  // namespace

/// Passes the response on. False if it broke before a byte of it went to the client; `error` says
/// how.
/// Of an `execution` (else nullptr) the beginning of the body, or all of it, has been read.
runtime::Task<bool> Exchange::deliver(Attempt& attempt, std::string_view fallback_of,
                                      const Execution* execution) {
  const http::RequestHead& request = transaction_.request();
  net::Stream& stream = attempt.lease->stream();
  http::ResponseParser& parser = attempt.lease->parser();
  const http::ResponseHead& head = parser.head();
  const std::optional<Duration> idle = route_->config->timeout.idle;
  const TimePoint stream_end =
      policy::deadline_after(transaction_.started(), route_->config->timeout.stream);

  // What holdfast said before (100, 103) goes first. From here to the first write nothing may wait:
  // the body's pieces are views of what was just read.
  if (transaction_.stream().sending()) {
    const bool ready = co_await transaction_.flush(idle);
    if (!ready) {
      transaction_.cut();
      co_return true;
    }
  }
  // What came with the head is read before the head goes out: a response that is broken already is
  // a failure that can still be answered for, not half an answer.
  const std::string_view kept = execution != nullptr ? execution->body() : std::string_view{};
  Pieces pieces(&kept, 1);
  bool last = execution != nullptr && execution->body_complete();
  if (!last && kept.empty()) {
    last = attempt.read_body();
    pieces = parser.body();
  }
  if (attempt.error) {
    give_up(attempt);
    attempt.status = 0;
    co_return false;
  }

  ResponseEdits edits;
  edits.server_name = generation_.config().server.name;
  edits.attempts = attempts_made();
  edits.fallback_of = fallback_of;
  edits.body = response_body_mode(head.framing, request.minor_version);
  edits.body_length = head.framing.length;
  edits.switching = head.status == 101;
  edits.now = services_.context.clock.wall_now();
  edits.idempotency_status = idempotency_status_;
  edits.generated_key = generated_key_;
  const BodyMode mode = edits.body;
  if (head.status == 205) {
    // To a client a 205 may well have a body, so its end is said (RFC 9110 §15.3.6: there is none).
    edits.body = BodyMode::length;
    edits.body_length = 0;
  } else if (mode == BodyMode::none && head.status != 204 && !head.informational()) {
    // The length of the body that a GET would have had (RFC 9110 §8.6) passes with HEAD and 304.
    const auto length = parse_decimal(head.fields.value(http::FieldName::content_length));
    if (length && head.fields.count(http::FieldName::content_length) == 1) {
      edits.body = BodyMode::length;
      edits.body_length = *length;
    }
  }
  if (mode == BodyMode::until_close || !attempt.request_sent) transaction_.close_after();
  edits.close = !edits.switching && transaction_.closes();
  if (!fallback_of.empty()) note_fallback();
  append_downstream_head(transaction_.head_buffer(), head, edits);
  transaction_.begin(head.status, mode);
  if (edits.switching) {
    co_await tunnel(attempt);
    co_return true;
  }

  for (;;) {
    if (last) attempt.lease.answered();  // the client may ask again before write() has returned
    transaction_.write(pieces, last, {&parser.trailers(), route_->config->trailers, &head.fields});
    if (last) {
      // The upstream has done its part, however slowly the client takes the rest.
      attempt.settle(Breaker::Outcome::success);
      attempt.uploading.reset();
      attempt.hand_back();
    }
    if (transaction_.stream().sending()) {
      const Duration left = policy::time_left(stream_end, now());
      const std::optional<Duration> patience = idle ? std::min(*idle, left) : left;
      const bool taken = co_await transaction_.flush(patience);
      if (!taken) {
        if (!transaction_.stream().failure())
          error_name_ = name(ErrorType::connection_write_timeout);
        transaction_.cut();
        co_return true;
      }
    }
    if (last || transaction_.stream().failure()) co_return true;

    last = attempt.read_body();
    while (!last && !attempt.error && parser.body().empty()) {
      const TimePoint deadline = std::min(stream_end, policy::deadline_after(now(), idle));
      const bool in_time = co_await stream.until_input(deadline);
      if (in_time) {
        last = attempt.read_body();
      } else {
        attempt.error =
            Error{ErrorType::connection_read_timeout, "the response stood still for too long"};
      }
    }
    if (attempt.error) break;
    pieces = parser.body();
  }
  // The client has part of an answer: it must see that this was not the whole.
  give_up(attempt);
  transaction_.cut();
  co_return true;
}

/// The response of the attempt has failed after its head.
void Exchange::give_up(Attempt& attempt) {
  error_name_ = name(attempt.error->type);
  if (attempts_ && attempts_->says_nothing(*attempt.error)) {
    attempt.settle(Breaker::Outcome::ignored);
  }
  attempt.give_up();
}

/// The answer to a CONNECT whose destination is connected to. It has no body and says of none (RFC
/// 9110 §9.3.6); what the client has sent behind its request goes first.
runtime::Task<void> Exchange::open_tunnel(Attempt& attempt) {
  http::ResponseHead head;
  head.status = 200;
  head.reason = "Connection established";
  ResponseEdits edits;
  edits.server_name = generation_.config().server.name;
  edits.attempts = attempts_made();
  edits.now = services_.context.clock.wall_now();
  append_downstream_head(transaction_.head_buffer(), head, edits);
  transaction_.begin(head.status, BodyMode::none);
  co_await tunnel(attempt);
}

runtime::Task<void> Exchange::tunnel(Attempt& attempt) {
  TunnelLimits limits;
  limits.idle = route_->config->timeout.idle;
  limits.deadline = attempts_->stream_deadline();
  transaction_.write({}, true);
  transaction_.close_after();
  net::Stream& client = transaction_.stream();
  net::Stream& upstream = attempt.lease->stream();
  ResetUnlessClean client_end(client);
  ResetUnlessClean upstream_end(upstream);
  const bool ready = co_await transaction_.flush(limits.idle);
  if (!ready) {
    if (!client.failure()) error_name_ = name(ErrorType::connection_write_timeout);
    transaction_.cut();
    co_return;
  }
  const TunnelEnd end =
      co_await run_tunnel(client, upstream, limits, services_.context, tunnelled_);
  if (end == TunnelEnd::both_ended) {
    client_end.set_clean();
    upstream_end.set_clean();
  } else {
    if (const auto error = error_of(end)) error_name_ = name(*error);
    transaction_.cut();
  }
}

/// True if some fallback stands ready for what became of the attempts.
bool Exchange::fallback_listed() const {
  return std::ranges::any_of(route_->config->fallbacks,
                             [&](const FallbackConfig& fallback) { return is_for(fallback); });
}

bool Exchange::is_for(const FallbackConfig& fallback) const {
  const Attempt& failed = attempts_->outcome();
  return failed.error ? fallback.on.matches(failed.error->type)
                      : fallback.on.matches_status(failed.status);
}

/// Tries the fallbacks in order. True if one answered.
runtime::Task<bool> Exchange::fall_back() {
  if (!fallback_listed()) co_return false;
  const Attempt& failed = attempts_->outcome();
  fallback_reason_ = failed.failure_name();
  std::string cause = failed.error ? "error=" : "received-status=";
  cause.append(failed.error ? name(failed.error->type) : fallback_reason_).append("; fallback");
  fallback_error_ = error_name_.empty() ? attempts_->error_name() : error_name_;

  for (std::size_t i = 0; i < route_->config->fallbacks.size(); ++i) {
    const FallbackConfig& fallback = route_->config->fallbacks[i];
    if (!is_for(fallback)) continue;
    if (Cluster* cluster = route_->fallback_clusters[i]; cluster != nullptr) {
      // Who is told that nothing was executed may send the request again: it must be true.
      if (idempotency_status_ == not_executed) continue;
      const bool answered = co_await fall_back_to(*cluster, cause, i + 1);
      if (!answered) continue;
    } else {
      note_fallback();
      attempts_->outcome().let_go();
      append_attempts(cause);
      co_await answer_static(fallback.response, cause);
    }
    co_return true;
  }
  co_return false;
}

/// A fallback's answer begins: what led to it stays the exchange's error.
void Exchange::note_fallback() {
  fell_back_ = true;
  error_name_ = fallback_error_;
  services_.observer.fell_back(route_->slot, fallback_reason_);
}

/// Sends the request to another upstream, if that is allowed and possible. True if it answered, and
/// not with a status that one of the fallbacks from `next` on stands in for.
runtime::Task<bool> Exchange::fall_back_to(Cluster& cluster, std::string_view cause,
                                           std::size_t next) {
  RequestBody& body = transaction_.body();
  if (attempts_->sent() && !attempts_->method_listed()) co_return false;
  if (attempts_->left_of_total() == Duration::zero()) co_return false;
  attempts_->outcome().uploading.reset();  // two would read one body
  while (!body.complete() && body.can_repeat()) {
    const std::optional<Duration> idle = route_->config->timeout.idle;
    Result<Pieces, BodyFailure> pieces = co_await body.pull(idle);
    if (!pieces) co_return false;
  }
  if (!body.can_repeat()) co_return false;

  Attempt* attempt = attempts_->begin_other(cluster);
  if (attempt == nullptr) co_return false;
  co_await attempts_->attempt(*attempt);
  const auto listed = [&](const FallbackConfig& later) {
    return is_for(later) && later.on.matches_status(attempt->status);
  };
  const auto later = std::span(route_->config->fallbacks).subspan(next);
  if (!attempt->has_response() || attempt->client_failure || std::ranges::any_of(later, listed)) {
    attempt->let_go();
    attempts_->forget_other();
    co_return false;
  }
  Attempt& failed = attempts_->outcome();
  failed.let_go();
  const bool answered = co_await deliver(*attempt, cause, nullptr);
  if (answered) co_return true;
  // Now this is how the exchange failed: the first answer has been let go.
  failed.error = attempt->error;
  failed.status = 0;
  attempts_->forget_other();
  co_return false;
}

int Exchange::attempts_made() const {
  if (execution_ != nullptr && execution_->has_attempts()) return execution_->attempts().count();
  return attempts_ ? attempts_->count() : 0;
}

void Exchange::append_attempts(std::string& proxy_status) const {
  const int attempts = attempts_made();
  if (attempts > 1) proxy_status.append("; attempts=").append(std::to_string(attempts));
}

/// The one place where a failure becomes a response.
runtime::Task<void> Exchange::answer_error(const Error& error,
                                           std::optional<Duration> retry_after) {
  error_name_ = name(error.type);
  const int status = status_of(error.type);
  std::string body;
  http::append_problem_json(body, error_name_, http::title(error.type), status, error.detail,
                            request_id_);
  std::string proxy_status("error=");
  proxy_status.append(error_name_);
  append_attempts(proxy_status);
  OwnResponse response;
  response.status = status;
  response.content_type = "application/problem+json";
  response.body = body;
  response.proxy_status = proxy_status;
  const ErrorGroup group = error.group();
  if (group == ErrorGroup::open || group == ErrorGroup::overload ||
      group == ErrorGroup::rate_limited) {
    response.retry_after = retry_after_seconds(retry_after);
  }
  response.idempotency_status = idempotency_status_;
  co_await transaction_.respond(response);
}

runtime::Task<void> Exchange::answer_problem(const http::RequestError& error) {
  error_name_ = name(ErrorType::http_request_error);
  std::string body;
  const int status = http::status_of(error.problem);
  http::append_problem_json(body, http::name(error.problem), http::title(error.problem), status,
                            error.detail, request_id_);
  OwnResponse response;
  response.status = status;
  response.content_type = "application/problem+json";
  response.body = body;
  std::string proxy_status("error=");
  proxy_status.append(error_name_);
  append_attempts(proxy_status);
  response.proxy_status = proxy_status;
  if (error.problem != http::Problem::no_route) transaction_.close_after();
  co_await transaction_.respond(response);
}

runtime::Task<void> Exchange::answer_static(const StaticResponse& answer,
                                            std::string_view proxy_status) {
  OwnResponse response;
  response.status = answer.status;
  response.headers = answer.headers;
  response.body = answer.body;
  response.proxy_status = proxy_status;
  response.idempotency_status = idempotency_status_;
  co_await transaction_.respond(response);
}

}  // namespace holdfast::proxy
