#include "holdfast/proxy/exchange.h"

#include <algorithm>
#include <utility>

#include "holdfast/base/assert.h"
#include "holdfast/base/text.h"
#include "holdfast/http/date.h"
#include "holdfast/http/problem.h"
#include "holdfast/policy/retry.h"

namespace holdfast::proxy {
namespace {

using policy::Breaker;

/// A loop is our own name this often in Via (wire.md).
constexpr int max_times_in_via = 10;

BodyMode request_body_mode(const http::Framing& framing) {
  switch (framing.kind) {
    case http::Framing::Kind::length:
      return BodyMode::length;
    case http::Framing::Kind::chunked:
      return BodyMode::chunked;
    default:
      return BodyMode::none;
  }
}

bool is_event_stream(const http::ResponseHead& head) {
  const std::string_view type = head.fields.value(http::FieldName::content_type);
  return iequals(trim(type.substr(0, type.find(';'))), "text/event-stream");
}

}  // namespace

Exchange::Exchange(Transaction& transaction, Generation& generation, Services& services)
    : transaction_(transaction), generation_(generation), services_(services) {
  generation_.pin();
  const std::string_view given = transaction_.request().fields.value(http::FieldName::x_request_id);
  if (transaction_.request().fields.count(http::FieldName::x_request_id) == 1 &&
      is_request_id(given)) {
    request_id_ = given;
  } else {
    made_request_id_.emplace(services_.context.clock.wall_now(), services_.context.rng);
    request_id_ = made_request_id_->text();
  }
}

Exchange::~Exchange() {
  const http::RequestHead& request = transaction_.request();
  for (std::optional<Attempt>& slot : slots_) drop(slot);
  ExchangeRecord record;
  if (route_ != nullptr) {
    record.route = route_->slot;
    record.route_name = route_->config->name;
    if (route_->cluster != nullptr) {
      record.upstream = route_->cluster->config().name;
      record.breaker = policy::name(route_->cluster->shared().breaker_state());
    }
  }
  record.method = request.method;
  record.method_text = request.method_text;
  record.path = request.path;
  record.status = transaction_.status();
  record.endpoint = endpoint_text_;
  record.attempts = attempts_;
  record.error = error_name_;
  record.fallback = fell_back_;
  record.bytes_in = transaction_.body().received() + tunnelled_.to_upstream;
  record.bytes_out = transaction_.bytes_out() + tunnelled_.to_client;
  record.request_id = request_id_;
  record.trace_id = trace_id_of(request.fields.value(http::FieldName::traceparent));
  record.client = transaction_.client();
  record.started = transaction_.started_wall();
  record.duration = now() - transaction_.started();
  if (request.dropped_fields > 0) services_.observer.headers_dropped(request.dropped_fields);
  services_.observer.exchange_finished(record);
  generation_.unpin();
}

runtime::Task<void> Exchange::run() {
  const http::RequestHead& request = transaction_.request();
  const RouteTable::Input input{transaction_.listener(), request.authority,   request.path,
                                request.method,          request.method_text, request.fields};
  const int index = generation_.routes().match(input);
  if (index < 0) {
    const http::RequestError error{http::Problem::no_route, "no route matches the request"};
    co_await answer_problem(error);
    co_return;
  }
  route_ = &generation_.route(index);
  const std::string_view hops = request.fields.value(http::FieldName::max_forwards);
  if (request.method == http::Method::options && parse_decimal(hops) == 0) {
    OwnResponse response;  // RFC 9110 §7.6.2: the last recipient answers by itself
    response.status = 204;
    response.allow = "GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH";
    co_await transaction_.respond(response);
    co_return;
  }
  if (route_->config->respond) {
    co_await answer_static(*route_->config->respond, "");
    co_return;
  }
  if (request.fields.has(http::FieldName::via) &&
      times_in_via(request.fields, generation_.config().server.name) >= max_times_in_via) {
    const Error error{ErrorType::proxy_loop_detected,
                      "the request has come through here too often"};
    co_await answer_error(error, std::nullopt);
    co_return;
  }
  if (const auto& failure = transaction_.body().early_failure()) {
    const http::RequestError error = failure->error;
    co_await answer_problem(error);
    co_return;
  }
  if (!prepare()) {
    const http::RequestError error{http::Problem::bad_request,
                                   "the deadline header is not a number of milliseconds"};
    co_await answer_problem(error);
    co_return;
  }
  co_await proxied();
}

/// Reads what the route needs of the request. False: its deadline header is malformed.
bool Exchange::prepare() {
  const policy::TimeoutOptions& timeout = route_->config->timeout;
  if (!timeout.deadline_header.empty()) {
    for (const http::Field& field : transaction_.request().fields) {
      if (!iequals(field.name, timeout.deadline_header)) continue;
      if (client_deadline_) return false;  // two lines: which of them is meant?
      client_deadline_ = policy::parse_deadline(field.value);
      if (!client_deadline_) return false;
    }
  }
  stream_deadline_ = policy::deadline_after(transaction_.started(), timeout.stream);
  RequestBody& body = transaction_.body();
  body.keep_up_to(route_->config->retry.body_limit);
  const bool kept = body.received() <= route_->config->retry.body_limit;
  if (body.complete() && kept) start_clocks(now());
  route_->cluster->shared().record_request(now());
  return true;
}

void Exchange::start_clocks(TimePoint at) {
  if (clocks_started_at_) return;
  clocks_started_at_ = at;
  total_deadline_ = policy::deadline_after(at, route_->config->timeout.total);
  if (client_deadline_) total_deadline_ = std::min(total_deadline_, after(at, *client_deadline_));
}

runtime::Task<void> Exchange::proxied() {
  co_await retried();
  Attempt& result = outcome();
  if (result.client_failure) {
    if (result.client_failure->client_gone) co_return;
    const http::RequestError error = result.client_failure->error;
    result.lease.close();
    co_await answer_problem(error);
    co_return;
  }
  if (!result.error && !fallback_listed()) {
    const bool answered = co_await deliver(result, "");
    if (answered) co_return;
  }
  const bool fell_back = co_await fall_back();
  if (fell_back) co_return;
  if (!result.error) {
    const bool answered = co_await deliver(result, "");
    if (answered) co_return;
  }
  const Error error = *result.error;
  const std::optional<Duration> retry_after = result.retry_after;
  co_await answer_error(error, retry_after);
}

/// Ends with an attempt; one that was still under way is recorded as cancelled.
void Exchange::drop(std::optional<Attempt>& slot) {
  if (slot) slot->record(transaction_.request().method);
  slot.reset();
}

Attempt& Exchange::begin_attempt(Cluster& cluster) {
  const std::size_t free = slots_[outcome_] ? 1 - outcome_ : outcome_;
  slots_[free].emplace(cluster, services_);
  return *slots_[free];
}

runtime::Task<void> Exchange::retried() {
  Attempt& first = begin_attempt(*route_->cluster);
  if (!first.admit(now())) {
    error_name_ = name(first.error->type);
    // Fall through to the decision: `open` may be listed among the conditions of a retry.
  } else {
    co_await attempted();
  }
  for (;;) {
    Attempt& last = outcome();
    Duration delay{};
    if (last.client_failure || !grant_retry(last, delay)) co_return;
    const TimePoint wake = after(now(), delay);
    co_await runtime::sleep_until(services_.context.timers, wake);
    // The breaker is asked before the last answer is let go: if it opened meanwhile, that one
    // stands.
    Attempt& next = begin_attempt(*route_->cluster);
    if (!next.admit(now())) {
      drop(slots_[1 - outcome_]);
      co_return;
    }
    services_.observer.retried(route_->slot, last.failure_name());
    let_go(last);
    drop(slots_[outcome_]);
    outcome_ = 1 - outcome_;
    co_await attempted();
  }
}

/// Decides about another attempt, spends the budget for it, and says what was decided.
bool Exchange::grant_retry(Attempt& last, Duration& delay) {
  const policy::RetryOptions& options = route_->config->retry;
  policy::AttemptFacts facts;
  if (last.error) facts.error = last.error->type;
  facts.status = last.status;
  if (last.has_response()) {
    const http::Field* field =
        last.lease->parser().head().fields.find(http::FieldName::retry_after);
    if (field != nullptr) {
      facts.retry_after = http::parse_retry_after(field->value, services_.context.clock.wall_now());
    }
  }
  facts.sent = sent_;
  facts.method_listed = method_listed();
  facts.body_kept = transaction_.body().can_repeat();
  facts.attempts_made = std::max(attempts_, 1);
  facts.time_left = policy::time_left(std::min(total_deadline_, stream_deadline_), now());
  const policy::RetryDecision decision =
      policy::decide_retry(options, facts, services_.context.rng);
  if (decision.verdict != policy::RetryVerdict::retry) {
    const std::string_view denied = policy::denied_reason(decision.verdict);
    if (!denied.empty()) services_.observer.retry_denied(denied);
    return false;
  }
  if (!last.cluster().shared().try_retry(options.budget, now())) {
    services_.observer.retry_denied("budget");
    return false;
  }
  if (last.pool != nullptr) tried_.push_back(last.pool);
  delay = decision.delay;
  return true;
}

runtime::Task<void> Exchange::attempted() {
  if (may_hedge()) {
    co_await hedged();
  } else {
    co_await attempt(outcome());
  }
}

/// One attempt, and a second beside it when the first has no answer by then; the first good answer
/// wins.
runtime::Task<void> Exchange::hedged() {
  Attempt& first = outcome();
  runtime::Task<void> first_run = attempt(first);
  const TimePoint pause_end = now() + *route_->config->retry.hedge_after;
  runtime::Task<void> pause = pause_until(pause_end);
  co_await runtime::first_of(first_run, pause);
  if (first_run.done()) co_return;

  tried_.push_back(first.pool);
  Attempt& second = begin_attempt(*route_->cluster);
  bool granted = second.admit(now());
  if (granted && !route_->cluster->shared().try_retry(route_->config->retry.budget, now())) {
    services_.observer.retry_denied("budget");
    granted = false;
  }
  if (!granted) {
    drop(slots_[1 - outcome_]);
    co_await first_run;
    co_return;
  }
  services_.observer.retried(route_->slot, "hedge");
  hedging_ = true;
  runtime::Task<void> second_run = attempt(second);
  co_await runtime::first_of(first_run, second_run);
  const bool first_won = first_run.done() && stands(first);
  const bool second_won = second_run.done() && stands(second);
  if (!first_won && !second_won) {
    if (!first_run.done()) {
      co_await first_run;
    } else if (!second_run.done()) {
      co_await second_run;
    }
  }
  hedging_ = false;
  const bool second_wins = second_run.done() && !(first_run.done() && stands(first)) &&
                           (stands(second) || !first_run.done());
  first_run.reset();
  second_run.reset();
  if (second_wins) outcome_ = 1 - outcome_;
  endpoint_text_ = outcome().pool->text();
  drop(slots_[1 - outcome_]);
}

runtime::Task<void> Exchange::pause_until(TimePoint at) {
  co_await runtime::sleep_until(services_.context.timers, at);
}

runtime::Task<void> Exchange::attempt(Attempt& attempt) {
  ++attempts_;
  attempt.started = now();
  attempt.pool = &attempt.cluster().pick(tried_, services_.context.rng);
  endpoint_text_ = attempt.pool->text();
  co_await connect(attempt, false);
  if (!attempt.error) co_await round_trip(attempt);
  if (attempt.stale) {
    // The pooled connection had closed meanwhile: a fresh one takes its place, once, and it is the
    // same attempt (contract §2, Retries).
    attempt.error.reset();
    attempt.lease.close();
    co_await connect(attempt, true);
    if (!attempt.error) co_await round_trip(attempt);
  }
  finish_attempt(attempt);
}

runtime::Task<void> Exchange::connect(Attempt& attempt, bool fresh) {
  if (!fresh) {
    attempt.lease = attempt.pool->take_idle(!method_listed());
    if (attempt.lease) co_return;
  }
  const std::optional<Duration> patience = route_->config->timeout.connect;
  TimePoint deadline = attempt_deadline(attempt);
  if (!clocks_started_at_) {
    // The clocks do not run yet, but nobody waits for a place in the pool for ever.
    deadline = std::min(deadline, policy::deadline_after(now(), route_->config->timeout.total));
  }
  Result<Lease> lease = co_await attempt.pool->acquire(fresh, patience, deadline);
  if (lease) {
    attempt.lease = std::move(*lease);
  } else {
    attempt.error = std::move(lease.error());
  }
}

/// The request out, the head of its response in.
runtime::Task<void> Exchange::round_trip(Attempt& attempt) {
  RequestBody& body = transaction_.body();
  send_request(attempt);
  net::Stream& stream = attempt.lease->stream();
  if (body.complete() && !stream.sending()) {
    attempt.request_sent = true;
    start_clocks(now());
    const TimePoint deadline = attempt_deadline(attempt);
    co_await read_head(attempt, deadline);
  } else {
    runtime::Task<void>& uploading = attempt.uploading;
    uploading = upload(attempt);
    runtime::Task<void> heading = read_head(attempt, stream_deadline_);
    co_await runtime::first_of(uploading, heading);
    const bool answered_early = heading.done();
    heading.reset();
    // An upstream may answer while it still reads: the upload goes on beside the answer. Not so if
    // the client waits for a 100 that can no longer be given.
    const bool goes_on = answered_early && attempt.has_response() && !uploading.done();
    if (!goes_on || body.continue_pending()) uploading.reset();
    if (!answered_early && !attempt.client_failure && !attempt.error) {
      start_clocks(now());
      const TimePoint deadline = attempt_deadline(attempt);
      co_await read_head(attempt, deadline);
    }
  }
  const bool untouched = attempt.error && attempt.error->type == ErrorType::connection_terminated;
  const bool repeatable = method_listed() && body.can_repeat() && !attempt.client_failure;
  attempt.stale =
      untouched && attempt.lease->reused() && !attempt.lease->parser().started() && repeatable;
}

/// Composes the request and hands it to the kernel, with whatever of the body is there.
void Exchange::send_request(Attempt& attempt) {
  const http::RequestHead& request = transaction_.request();
  RequestBody& body = transaction_.body();
  net::Stream& stream = attempt.lease->stream();
  std::string host_buffer;

  RequestEdits edits;
  edits.server_name = generation_.config().server.name;
  edits.host = host_for(attempt, host_buffer);
  if (!transaction_.stream().peer().is_unix()) edits.client_ip = transaction_.client();
  edits.peer_trusted = std::ranges::any_of(
      generation_.config().server.trusted_proxies,
      [&](const net::Cidr& range) { return range.contains(transaction_.stream().peer()); });
  edits.request_id = request_id_;
  edits.strip_prefix = route_->config->rewrite.strip_prefix;
  edits.rewrite = &route_->config->rewrite;
  edits.deadline_header = route_->config->timeout.deadline_header;
  edits.deadline = deadline_to_tell();
  edits.upgrade = wanted_upgrade();
  edits.body = request_body_mode(request.framing);
  edits.body_length = request.framing.length;
  edits.trailers = route_->config->trailers;

  attempt.lease->parser().begin(request.method, !edits.upgrade.empty());
  std::string& head = services_.scratch;
  head.clear();
  append_upstream_head(head, request, edits);

  const std::string_view kept = body.kept();
  const std::uint64_t before = stream.bytes_sent();
  write_body(stream, head, edits.body, Pieces(&kept, 1), body.complete(),
             {&body.trailers(), route_->config->trailers});
  if (stream.bytes_sent() > before) {
    sent_ = true;
    body.note_sent(body.received());
  }
}

runtime::Task<void> Exchange::upload(Attempt& attempt) {
  RequestBody& body = transaction_.body();
  net::Stream& stream = attempt.lease->stream();
  const std::optional<Duration> idle = route_->config->timeout.idle;
  const BodyMode mode = request_body_mode(transaction_.request().framing);
  for (;;) {
    if (stream.sending()) {
      const TimePoint deadline = attempt_deadline(attempt);
      const bool taken = co_await drained(stream, idle, deadline, services_.context);
      if (!taken && !stream.failure()) {
        const bool over = now() >= deadline;
        attempt.error = over ? Error{ErrorType::http_response_timeout,
                                     "the time was over before the upstream had taken the request"}
                             : Error{ErrorType::connection_write_timeout,
                                     "the upstream took nothing of the request for too long"};
        co_return;
      }
    }
    // A failed stream tells the reader of the response as well, who may find an answer before it.
    if (stream.failure() || body.complete()) break;
    Result<Pieces, BodyFailure> pieces = co_await body.pull(idle);
    if (!pieces) {
      attempt.client_failure = std::move(pieces.error());
      co_return;
    }
    if (body.complete() && body.can_repeat()) start_clocks(now());
    write_body(stream, "", mode, *pieces, body.complete(),
               {&body.trailers(), route_->config->trailers});
    body.note_sent(body.received());
  }
  attempt.request_sent = !stream.failure();
}

runtime::Task<void> Exchange::read_head(Attempt& attempt, TimePoint deadline) {
  net::Stream& stream = attempt.lease->stream();
  http::ResponseParser& parser = attempt.lease->parser();
  for (;;) {
    Result<http::ParseStep, Error> step = parser.parse(stream.input());
    if (!step) {
      attempt.error = std::move(step.error());
      co_return;
    }
    stream.consume(step->consumed);
    if (step->event == http::ParseEvent::head) {
      const http::ResponseHead& head = parser.head();
      if (head.status == 101 &&
          !iequals(head.fields.value(http::FieldName::upgrade), wanted_upgrade())) {
        attempt.error =
            Error{ErrorType::http_upgrade_failed, "the upstream switched to another protocol"};
        co_return;
      }
      if (!head.informational() || head.status == 101) {
        attempt.status = head.status;
        co_return;
      }
      // 100 is holdfast's own to give; of two attempts at once only the winner may speak.
      if (head.status != 100 && !hedging_) transaction_.inform(head);
      continue;
    }
    if (!stream.open_for_input()) {
      Result<void, Error> end = parser.finish();
      attempt.error =
          end ? Error{ErrorType::http_response_incomplete, "the response ended in its head"}
              : std::move(end.error());
      co_return;
    }
    const bool in_time = co_await stream.until_input(deadline);
    if (!in_time) {
      attempt.error = Error{ErrorType::http_response_timeout, "no answer came in time"};
      co_return;
    }
  }
}

/// Tells the breaker and the metrics what is known at the head of the response.
void Exchange::finish_attempt(Attempt& attempt) {
  attempt.latency = now() - attempt.started;
  attempt.record(transaction_.request().method);
  if (attempt.client_failure) return;  // says nothing about the upstream
  if (attempt.error) {
    error_name_ = name(attempt.error->type);
    attempt.lease.close();
    if (attempt.error->local) attempt.settle(Breaker::Outcome::ignored);
    attempt.settle_failure(attempt.error->type);
  } else {
    error_name_ = {};
    const http::ResponseHead& head = attempt.lease->parser().head();
    if (attempt.cluster().config().breaker.failures.matches_status(attempt.status)) {
      attempt.settle(Breaker::Outcome::failure);
    } else if (attempt.is_probe() || attempt.status == 101 || is_event_stream(head)) {
      // These may last for hours, and a probe's question is answered when they begin.
      attempt.settle(Breaker::Outcome::success);
    }
  }
}

bool Exchange::method_listed() const {
  const http::Method method = transaction_.request().method;
  return method != http::Method::other && (route_->config->retry.methods & http::bit(method)) != 0;
}

bool Exchange::may_hedge() const {
  return route_->config->retry.hedge_after && method_listed() && transaction_.body().complete() &&
         transaction_.body().can_repeat() && attempts_ + 1 < route_->config->retry.attempts &&
         wanted_upgrade().empty();
}

/// An answer that no retry would be made for.
bool Exchange::stands(const Attempt& attempt) const {
  return attempt.has_response() && !route_->config->retry.on.matches_status(attempt.status);
}

/// What an upstream is told to be left: of the running clock, or, while the body still streams, of
/// the one that will start with its last byte.
std::optional<Duration> Exchange::deadline_to_tell() const {
  if (clocks_started_at_) {
    const Duration left = left_of_total();
    return left == Duration::max() ? std::nullopt : std::optional(left);
  }
  const std::optional<Duration>& total = route_->config->timeout.total;
  if (total && client_deadline_) return std::min(*total, *client_deadline_);
  return total ? total : client_deadline_;
}

Duration Exchange::left_of_total() const {
  return policy::time_left(total_deadline_, now());
}

TimePoint Exchange::attempt_deadline(const Attempt& attempt) const {
  TimePoint deadline = std::min(total_deadline_, stream_deadline_);
  if (!clocks_started_at_) return deadline;
  // The attempt's own clock, too, starts with the request's last byte.
  const TimePoint from = std::max(attempt.started, *clocks_started_at_);
  return std::min(deadline, policy::deadline_after(from, route_->config->timeout.per_try));
}

std::string_view Exchange::wanted_upgrade() const {
  const http::RequestHead& request = transaction_.request();
  if (!request.upgrade || route_->config->upgrade.empty()) return {};
  std::string_view wanted;
  for (const http::Field& field : request.fields) {
    if (field.id != http::FieldName::upgrade) continue;
    http::for_each_element(field.value, [&](std::string_view protocol) {
      const bool allowed = std::ranges::any_of(
          route_->config->upgrade, [&](const std::string& one) { return iequals(one, protocol); });
      if (allowed && wanted.empty()) wanted = protocol;
      return wanted.empty();
    });
  }
  return wanted;
}

std::string_view Exchange::host_for(const Attempt& attempt, std::string& buffer) const {
  if (!route_->config->rewrite.host.empty()) return route_->config->rewrite.host;
  const net::Endpoint& endpoint = attempt.pool->endpoint().endpoint;
  bool preserve = true;
  switch (attempt.cluster().config().host_header) {
    case HostHeader::preserve:
      break;
    case HostHeader::upstream:
      preserve = false;
      break;
    case HostHeader::automatic:
      preserve = endpoint.scheme != net::Endpoint::Scheme::https &&
                 (!endpoint.is_named() || iequals(endpoint.host, "localhost"));
      break;
  }
  if (preserve && !transaction_.request().authority.empty())
    return transaction_.request().authority;
  buffer = endpoint.authority();
  return buffer;
}

}  // namespace holdfast::proxy
