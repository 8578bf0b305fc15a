#include "holdfast/proxy/attempts.h"

#include <algorithm>
#include <utility>

#include "holdfast/base/assert.h"
#include "holdfast/base/text.h"
#include "holdfast/http/date.h"
#include "holdfast/policy/idempotency_key.h"
#include "holdfast/policy/retry.h"
#include "holdfast/proxy/balance_key.h"
#include "holdfast/proxy/connecting.h"

namespace holdfast::proxy {
namespace {

using policy::Breaker;

bool is_event_stream(const http::ResponseHead& head) {
  const std::string_view type = head.fields.value(http::FieldName::content_type);
  return iequals(trim(type.substr(0, type.find(';'))), "text/event-stream");
}

}  // namespace

Attempts::Attempts(Generation& generation, const RouteState& route, const Outgoing& outgoing,
                   std::optional<Duration> client_deadline, TimePoint started, Services& services,
                   Keeper* keeper)
    : generation_(generation),
      route_(route),
      outgoing_(outgoing),
      services_(services),
      keeper_(keeper),
      client_deadline_(client_deadline),
      stream_deadline_(policy::deadline_after(started, route.config->timeout.stream)) {
  const RequestBody& body = outgoing_.body;
  const bool kept = keyed() || body.received() <= route_.config->retry.body_limit;
  const bool late_already = client_deadline_ == Duration::zero();
  if ((body.complete() && kept) || late_already) start_clocks(now());
}

Attempts::~Attempts() {
  for (std::optional<Attempt>& slot : slots_) drop(slot);
}

void Attempts::start_clocks(TimePoint at) {
  if (clocks_started_at_) return;
  clocks_started_at_ = at;
  total_deadline_ = policy::deadline_after(at, route_.config->timeout.total);
  if (client_deadline_) total_deadline_ = std::min(total_deadline_, after(at, *client_deadline_));
}

/// Ends with an attempt; one that was still under way is recorded as cancelled.
void Attempts::drop(std::optional<Attempt>& slot) {
  if (slot) slot->record(outgoing_.head.method);
  if (slot && &*slot == last_) endpoint_ = std::exchange(last_, nullptr)->pool;
  slot.reset();
}

Attempt& Attempts::begin(Cluster& cluster) {
  const std::size_t free = slots_[outcome_] ? 1 - outcome_ : outcome_;
  slots_[free].emplace(cluster, services_);
  return *slots_[free];
}

bool Attempts::admit(Attempt& attempt) {
  return attempt.admit(tried_, key_for(attempt.cluster()), now());
}

std::optional<std::uint64_t> Attempts::key_for(const Cluster& cluster) const {
  const UpstreamConfig& config = cluster.config();
  if (config.balance != policy::BalanceKind::consistent_hash) return std::nullopt;
  return balance_key(config.hash_key, outgoing_.head.fields, outgoing_.client_ip,
                     outgoing_.client_trusted, generation_.config().server.trusted_proxies);
}

runtime::Task<void> Attempts::run() {
  Attempt& first = begin(*route_.cluster);
  if (left_of_total() == Duration::zero()) {
    first.error = Error{ErrorType::http_response_timeout, "the client's deadline had passed", true};
    error_name_ = name(first.error->type);
    co_return;
  }
  if (!admit(first)) {
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
    Attempt& next = begin(*route_.cluster);
    if (!admit(next)) {
      drop(slots_[1 - outcome_]);
      co_return;
    }
    services_.observer.retried(route_.slot, last.failure_name());
    last.let_go();
    drop(slots_[outcome_]);
    outcome_ = 1 - outcome_;
    co_await attempted();
  }
}

/// Decides about another attempt, spends the budget for it, and says what was decided.
bool Attempts::grant_retry(Attempt& last, Duration& delay) {
  const policy::RetryOptions& options = route_.config->retry;
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
  facts.refused = keyed() && last.has_response() && !sent_;
  facts.method_listed = keyed() ? keeper_->upstream_honours_key : method_listed();
  facts.body_kept = outgoing_.body.can_repeat();
  facts.attempts_made = std::max(count_, 1);
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
  // What it would still take of the body could be missing when the next attempt sends it.
  last.uploading.reset();
  if (last.pool) tried_.push_back(last.pool);
  delay = decision.delay;
  return true;
}

void Attempts::fail(const Error& error, std::optional<Duration> retry_after, int count) {
  Attempt& failed = begin(*route_.cluster);
  failed.error = error;
  failed.retry_after = retry_after;
  error_name_ = name(error.type);
  count_ = count;
}

Attempt* Attempts::begin_other(Cluster& cluster) {
  Attempt& other = begin(cluster);
  if (admit(other)) return &other;
  forget_other();
  return nullptr;
}

void Attempts::forget_other() {
  drop(slots_[1 - outcome_]);
}

runtime::Task<void> Attempts::attempted() {
  return may_hedge() ? hedged() : attempt(outcome());
}

/// One attempt, and a second beside it when the first has no answer by then; the first good answer
/// wins.
runtime::Task<void> Attempts::hedged() {
  Attempt& first = outcome();
  runtime::Task<void> first_run = attempt(first);
  const TimePoint pause_end = now() + *route_.config->retry.hedge_after;
  runtime::Task<void> pause = pause_until(pause_end);
  co_await runtime::first_of(first_run, pause);
  if (first_run.done()) co_return;

  tried_.push_back(first.pool);
  Attempt& second = begin(*route_.cluster);
  bool granted = admit(second);
  if (granted && !route_.cluster->shared().try_retry(route_.config->retry.budget, now())) {
    services_.observer.retry_denied("budget");
    granted = false;
  }
  if (!granted) {
    drop(slots_[1 - outcome_]);
    co_await first_run;
    co_return;
  }
  // The reason is what a longer wait would have become: no answer in time.
  services_.observer.retried(route_.slot, name(ErrorGroup::timeout));
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
  last_ = &outcome();
  drop(slots_[1 - outcome_]);
}

runtime::Task<void> Attempts::pause_until(TimePoint at) {
  co_await runtime::sleep_until(services_.context.timers, at);
}

runtime::Task<void> Attempts::attempt(Attempt& attempt) {
  ++count_;
  doubtful_ = sent_;
  attempt.started = now();
  attempt.single_use = keyed();
  attempt.begun = true;
  cluster_ = &attempt.cluster();
  last_ = &attempt;
  const bool own = keyed() || is_tunnel();  // a connection of its own
  if (!own) attempt.lease = attempt.pool->take_idle(!method_listed());
  if (!attempt.lease) co_await connect(attempt, own);
  if (!attempt.error && keyed()) {
    Result<void, Error> allowed = co_await keeper_->may_send();
    if (!allowed) attempt.error = std::move(allowed.error());
  }
  if (!attempt.error && is_tunnel()) {
    attempt.status = 200;  // holdfast's own: nothing is asked of who is at the other end
  } else if (!attempt.error) {
    co_await round_trip(attempt);
  }
  if (attempt.stale) {
    // The pooled connection had closed meanwhile: a fresh one takes its place, once, and it is the
    // same attempt (contract §2, Retries).
    attempt.error.reset();
    attempt.lease.close();
    if (!attempt.pool->shared().listed()) attempt.pick(tried_, key_for(attempt.cluster()));
    if (!attempt.error) co_await connect(attempt, true);
    if (!attempt.error) co_await round_trip(attempt);
  }
  finish(attempt);
}

/// A connection, of its own if `fresh`.
runtime::Task<void> Attempts::connect(Attempt& attempt, bool fresh) {
  TimePoint deadline = deadline_of(attempt);
  if (!clocks_started_at_) {
    // The clocks do not run yet, but nobody waits for a place in the pool for ever.
    deadline = std::min(deadline, policy::deadline_after(now(), route_.config->timeout.total));
  }
  const Choice choice{tried_, key_for(attempt.cluster())};
  return proxy::connect(attempt, choice, fresh, route_.config->timeout.connect, deadline,
                        services_.context);
}

/// The request out, the head of its response in.
runtime::Task<void> Attempts::round_trip(Attempt& attempt) {
  RequestBody& body = outgoing_.body;
  send_request(attempt);
  net::Stream& stream = attempt.lease->stream();
  if (body.complete() && !stream.sending()) {
    attempt.request_sent = true;
    start_clocks(now());
    const TimePoint deadline = deadline_of(attempt);
    co_await read_head(attempt, deadline);
  } else {
    runtime::Task<void>& uploading = attempt.uploading;
    uploading = upload(attempt);
    const TimePoint end = keyed() ? keeper_->execution_end : stream_deadline_;
    runtime::Task<void> heading = read_head(attempt, end);
    co_await runtime::first_of(uploading, heading);
    const bool answered_early = heading.done();
    heading.reset();
    // An upstream may answer while it still reads: the upload goes on beside the answer. Not so if
    // the client waits for a 100 that can no longer be given.
    const bool goes_on = answered_early && attempt.has_response() && !uploading.done();
    if (!goes_on || body.continue_pending()) uploading.reset();
    if (!answered_early && !attempt.client_failure && !attempt.error) {
      start_clocks(now());
      const TimePoint deadline = deadline_of(attempt);
      co_await read_head(attempt, deadline);
    }
  }
  const bool untouched = attempt.error && attempt.error->type == ErrorType::connection_terminated;
  const bool repeatable = method_listed() && body.can_repeat() && !attempt.client_failure;
  attempt.stale =
      untouched && attempt.lease->reused() && !attempt.lease->parser().started() && repeatable;
}

/// Composes the request and hands it to the kernel, with whatever of the body is there.
void Attempts::send_request(Attempt& attempt) {
  const http::RequestHead& request = outgoing_.head;
  RequestBody& body = outgoing_.body;
  net::Stream& stream = attempt.lease->stream();
  std::string host_buffer;

  RequestEdits edits;
  edits.server_name = generation_.config().server.name;
  edits.host = host_for(attempt, host_buffer);
  edits.client_ip = outgoing_.client_ip;
  edits.peer_trusted = outgoing_.client_trusted;
  edits.over_tls = outgoing_.over_tls;
  edits.client_certificate = outgoing_.client_certificate;
  edits.request_id = outgoing_.request_id;
  edits.strip_prefix = route_.config->rewrite.strip_prefix;
  edits.rewrite = &route_.config->rewrite;
  edits.deadline_header = route_.config->timeout.deadline_header;
  edits.deadline = deadline_to_tell();
  edits.upgrade = wanted_upgrade();
  edits.body = request_body_mode(request.framing);
  edits.body_length = request.framing.length;
  edits.trailers = route_.config->trailers;
  edits.close = keyed();  // its connection is used once: the upstream closes it

  attempt.lease->parser().begin(request.method, !edits.upgrade.empty());
  std::string& head = services_.scratch;
  head.clear();
  append_upstream_head(head, request, edits);

  const std::string_view kept = body.kept();
  const std::uint64_t before = stream.bytes_sent();
  write_body(stream, head, edits.body, Pieces(&kept, 1), body.complete(),
             {&body.trailers(), route_.config->trailers, &outgoing_.head.fields});
  if (stream.bytes_sent() > before) {
    sent_ = true;
    body.note_sent(body.received());
    if (keyed()) keeper_->sent();
  }
}

runtime::Task<void> Attempts::upload(Attempt& attempt) {
  RequestBody& body = outgoing_.body;
  net::Stream& stream = attempt.lease->stream();
  const std::optional<Duration> idle = patience();
  const BodyMode mode = request_body_mode(outgoing_.head.framing);
  for (;;) {
    if (stream.sending()) {
      const TimePoint deadline = deadline_of(attempt);
      const bool taken = co_await drained(stream, idle, deadline, services_.context);
      // An upstream that has answered may well take no more of the request.
      if (!taken && attempt.has_response()) co_return;
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
               {&body.trailers(), route_.config->trailers, &outgoing_.head.fields});
    body.note_sent(body.received());
  }
  attempt.request_sent = !stream.failure();
}

runtime::Task<void> Attempts::read_head(Attempt& attempt, TimePoint deadline) {
  net::Stream& stream = attempt.lease->stream();
  http::ResponseParser& parser = attempt.lease->parser();
  for (;;) {
    if (stream.input().empty()) {
      if (!stream.open_for_input()) break;
      const bool in_time = co_await stream.until_input(deadline);
      if (in_time) continue;
      attempt.error = Error{ErrorType::http_response_timeout, "no answer came in time"};
      co_return;
    }
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
      // Holdfast asks for no 100, so one that comes is the client's (RFC 9110 §15.2). Of two
      // attempts at once only the winner may speak.
      const bool heard = outgoing_.client != nullptr && !hedging_;
      if (heard) outgoing_.client->inform(head, count_);
    }
  }
  if (stream.failure() && !parser.started()) {
    // It knows why: TLS may have been refused, perhaps before a byte of the request was sent.
    attempt.error = *stream.failure();
    co_return;
  }
  Result<void, Error> end = parser.finish();
  attempt.error = end ? Error{ErrorType::http_response_incomplete, "the response ended in its head"}
                      : std::move(end.error());
}

/// Tells the breaker and the metrics what is known at the head of the response.
void Attempts::finish(Attempt& attempt) {
  attempt.latency = now() - attempt.started;
  attempt.record(outgoing_.head.method);
  if (attempt.client_failure) return;  // says nothing about the upstream
  if (attempt.error) {
    error_name_ = name(attempt.error->type);
    attempt.lease.close();
    if (says_nothing(*attempt.error)) attempt.settle(Breaker::Outcome::ignored);
    attempt.settle_failure(attempt.error->type);
  } else {
    error_name_ = {};
    const http::ResponseHead& head = attempt.lease->parser().head();
    // Who refuses a keyed request has done nothing: it is as if it had not been sent.
    if (keyed() &&
        policy::is_refusal(attempt.status, head.fields.has(http::FieldName::retry_after))) {
      sent_ = doubtful_;
    }
    if (attempt.cluster().config().breaker.failures.matches_status(attempt.status)) {
      attempt.settle(Breaker::Outcome::failure);
    } else if (attempt.is_probe() || attempt.status == 101 || is_tunnel() ||
               is_event_stream(head)) {
      // These may last for hours, and a probe's question is answered when they begin.
      attempt.settle(Breaker::Outcome::success);
    }
  }
}

bool Attempts::says_nothing(const Error& error) const {
  if (error.local) return true;
  const bool may_have_left =
      !keyed() && outgoing_.client != nullptr && outgoing_.client->stream().ended();
  return may_have_left && error.group() == ErrorGroup::timeout;
}

bool Attempts::method_listed() const {
  const http::Method method = outgoing_.head.method;
  return method != http::Method::other && (route_.config->retry.methods & http::bit(method)) != 0;
}

bool Attempts::may_hedge() const {
  return !keyed() && route_.config->retry.hedge_after && method_listed() &&
         outgoing_.body.complete() && outgoing_.body.can_repeat() &&
         count_ + 1 < route_.config->retry.attempts && wanted_upgrade().empty();
}

/// An answer that no retry would be made for.
bool Attempts::stands(const Attempt& attempt) const {
  return attempt.has_response() && !route_.config->retry.on.matches_status(attempt.status);
}

/// What an upstream is told to be left: of the running clock, or, while the body still streams, of
/// the one that will start with its last byte.
std::optional<Duration> Attempts::deadline_to_tell() const {
  if (clocks_started_at_) {
    const Duration left = left_of_total();
    return left == Duration::max() ? std::nullopt : std::optional(left);
  }
  const std::optional<Duration>& total = route_.config->timeout.total;
  if (total && client_deadline_) return std::min(*total, *client_deadline_);
  return total ? total : client_deadline_;
}

Duration Attempts::left_of_total() const {
  return policy::time_left(total_deadline_, now());
}

TimePoint Attempts::client_deadline(const Attempt& attempt) const {
  if (!clocks_started_at_) return total_deadline_;
  // The attempt's own clock, too, starts with the request's last byte.
  const TimePoint from = std::max(attempt.started, *clocks_started_at_);
  return std::min(total_deadline_, policy::deadline_after(from, route_.config->timeout.per_try));
}

TimePoint Attempts::deadline_of(const Attempt& attempt) const {
  if (!keyed()) return std::min(client_deadline(attempt), stream_deadline_);
  const bool sent = attempt.lease && attempt.lease->stream().bytes_sent() > 0;
  if (!sent) return std::min({client_deadline(attempt), stream_deadline_, keeper_->execution_end});
  // Whoever waits for it is answered by client_deadline(); the execution goes on (§2.7).
  if (!keeper_->upstream_honours_key) return keeper_->execution_end;
  const auto& per_try = route_.config->timeout.per_try;
  return std::min(policy::deadline_after(attempt.started, per_try), keeper_->execution_end);
}

std::optional<Duration> Attempts::patience() const {
  return keyed() ? std::nullopt : route_.config->timeout.idle;
}

std::string_view Attempts::wanted_upgrade() const {
  const http::RequestHead& request = outgoing_.head;
  if (keyed() || !request.upgrade || route_.config->upgrade.empty()) return {};
  std::string_view wanted;
  for (const http::Field& field : request.fields) {
    if (field.id != http::FieldName::upgrade) continue;
    http::for_each_element(field.value, [&](std::string_view protocol) {
      const bool allowed = std::ranges::any_of(
          route_.config->upgrade, [&](const std::string& one) { return iequals(one, protocol); });
      if (allowed && wanted.empty()) wanted = protocol;
      return wanted.empty();
    });
  }
  return wanted;
}

std::string_view Attempts::host_for(const Attempt& attempt, std::string& buffer) const {
  if (!route_.config->rewrite.host.empty()) return route_.config->rewrite.host;
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
  if (preserve && !outgoing_.head.authority.empty()) return outgoing_.head.authority;
  buffer = endpoint.authority();
  return buffer;
}

}  // namespace holdfast::proxy
