#include "holdfast/proxy/execution.h"

#include <algorithm>
#include <utility>

#include "holdfast/base/assert.h"
#include "holdfast/base/text.h"
#include "holdfast/http/stored_head.h"
#include "holdfast/policy/backoff.h"
#include "holdfast/policy/idempotency_key.h"

namespace holdfast::proxy {
namespace {

using policy::Command;
using policy::Verdict;
using StoreAnswer = Result<Verdict, store::StoreError>;

/// How long an operation that must get through is tried again: a released key remembers its token
/// as long, so that a claim that comes late finds it.
constexpr Duration revoke_for = policy::revoked_for;
constexpr policy::BackoffOptions again{policy::BackoffKind::exponential,
                                       std::chrono::milliseconds(50), std::chrono::seconds(5),
                                       policy::JitterKind::full, 0};

policy::Milliseconds milliseconds(Duration duration) {
  return std::chrono::ceil<policy::Milliseconds>(duration);
}

bool is_event_stream(const http::ResponseHead& head) {
  const std::string_view type = head.fields.value(http::FieldName::content_type);
  return iequals(trim(type.substr(0, type.find(';'))), "text/event-stream");
}

/// The reason of an outcome that nobody knows, from how the exchange failed.
std::string_view unknown_reason(const Error& error) {
  if (error.type == ErrorType::http_protocol_error) return "bad_response";
  return error.group() == ErrorGroup::timeout ? "timeout" : "reset";
}

}  // namespace

Execution::Execution(Executions& executions, Generation& generation, const RouteState& route,
                     const Outgoing& outgoing, const KeyedRequest& keyed, std::string body,
                     std::optional<Duration> client_deadline, TimePoint started)
    : executions_(executions),
      generation_(generation),
      route_(route),
      route_pin_(route),
      options_(route.config->idempotency),
      head_(outgoing.head),
      request_id_(outgoing.request_id),
      client_ip_(outgoing.client_ip),
      client_certificate_(outgoing.client_certificate),
      outgoing_{head_.head(),
                body_,
                request_id_,
                client_ip_,
                outgoing.client_trusted,
                outgoing.over_tls,
                client_certificate_,
                outgoing.client},
      keyed_(keyed),
      body_(std::move(body)),
      client_deadline_(client_deadline),
      started_(started),
      token_(executions.new_token()),
      short_id_(hex(keyed.id).substr(0, 12)),
      changed_(executions.services_.context.timers) {
  generation_.pin();
  // A generated key is holdfast's own: no upstream has it to deduplicate by.
  upstream_honours_key = options_.upstream_honours_key && !keyed_.generated;
}

Execution::~Execution() {
  attempts_.reset();
  if (claimed_ && !ended_) services().observer.key_gauge(KeyGauge::inflight, -1);
  generation_.unpin();
}

Services& Execution::services() const {
  return executions_.services_;
}

TimePoint Execution::now() const {
  return services().context.now();
}

void Execution::tell(KeyEvent::Kind kind, std::string_view reason) const {
  services().observer.key_event({kind, route_.slot, reason, short_id_});
}

void Execution::settle(Outcome outcome) {
  outcome_ = outcome;
  changed_.notify(now());
  if (!client_present_) let_go();
  // Only an owner's outcome is news: a duplicate's would wake duplicates without end.
  if (!claimed_) return;
  executions_.board_.wake(keyed_.id, released_ ? shared_answer() : nullptr);
  if (std::exchange(announced_, false)) executions_.board_.withdraw_refusal(keyed_.id);
}

/// Nobody reads the answer, or what is left of it.
void Execution::let_go() {
  if (!attempts_ || !attempts_->outcome().lease) return;
  Attempt& answer = attempts_->outcome();
  answer.uploading.reset();
  if (answer_complete_) {
    answer.hand_back();
  } else {
    answer.let_go();
  }
}

TimePoint Execution::pending_at() {
  if (!attempts_ || !attempts_->sent()) return never;
  // Where per_try ends an attempt, total alone ends the wait for them all.
  if (upstream_honours_key) return attempts_->total_deadline();
  return attempts_->client_deadline(attempts_->outcome());
}

const Error& Execution::refusal() const {
  if (refusal_) return *refusal_;
  return attempts_ ? *attempts_->outcome().error : *keyed_.refusal;
}

std::optional<Duration> Execution::retry_after() const {
  return attempts_ ? attempts_->outcome().retry_after : keyed_.retry_after;
}

// -- the whole of it

runtime::Task<void> Execution::run() {
  if (keyed_.no_room) {
    store_error_ = {store::StoreError::Kind::full, "too many executions go on"};
    co_await peek();
  } else if (keyed_.peek_only) {
    co_await peek();
  } else {
    co_await claim();
  }
  if (claimed_) {
    runtime::Task<void> executing = execute();
    runtime::Task<void> keeping = keep_lease();
    co_await runtime::first_of(executing, keeping);
    if (!executing.done()) co_await executing;
    services().observer.key_gauge(KeyGauge::inflight, -1);
  }
  executions_.ended(*this);
}

runtime::Task<void> Execution::claim() {
  claimed_at_ = now();
  execution_end = after(claimed_at_, options_.max_execution);
  const policy::Operation wish = operation(Command::claim);
  runtime::Task<StoreAnswer> asking = executions_.ask(wish);
  asking.start();
  const bool at_once = asking.done();
  StoreAnswer answer = co_await asking;
  if (answer && answer->kind == Verdict::Kind::acquired) {
    claimed_ = true;
    attempt_ = answer->attempt;
    services().observer.key_gauge(KeyGauge::inflight, 1);
    co_return;
  }
  if (answer) {
    verdict_ = std::move(*answer);
    settle(Outcome::verdict);
    co_return;
  }
  store_error_ = std::move(answer.error());
  if (store_error_->kind == store::StoreError::Kind::full) {
    co_await peek();  // a full store still replays what it has
    co_return;
  }
  settle(Outcome::store_failed);
  // A store that is known to be down says so at once. If it was asked, and its answer was lost,
  // the claim may have been made: it must not stand in the way of the next one.
  const store::StoreError::Kind kind = store_error_->kind;
  const bool lost = kind == store::StoreError::Kind::timeout ||
                    (kind == store::StoreError::Kind::unavailable && !at_once);
  if (lost) co_await revoke();
}

/// Learns what became of the key, and takes nothing.
runtime::Task<void> Execution::peek() {
  const policy::Operation look = operation(Command::peek);
  StoreAnswer answer = co_await executions_.ask(look);
  if (!answer) {
    if (!store_error_) store_error_ = std::move(answer.error());
    settle(Outcome::store_failed);
  } else if (answer->kind != Verdict::Kind::absent) {
    verdict_ = std::move(*answer);
    settle(Outcome::verdict);
  } else {
    settle(store_error_ ? Outcome::store_failed : Outcome::not_sent);
  }
}

runtime::Task<void> Execution::execute() {
  Keeper* keeper = this;
  attempts_.emplace(generation_, route_, outgoing_, client_deadline_, started_, services(), keeper);
  co_await attempts_->run();
  const Attempt& result = attempts_->outcome();
  if (!result.error) {
    co_await take_answer();
  } else if (refusal_ && !attempts_->sent()) {
    co_await peek();  // whoever has the key now, this is what became of it
  } else if (attempts_->sent() || may_have_run()) {
    reason_ = unknown_reason(*result.error);
    co_await mark_unknown(reason_);
    settle(Outcome::unknown);
  } else {
    const std::string_view reason = client_present_ ? name(result.error->group()) : "client_gone";
    co_await release(reason);
    settle(store_error_ ? Outcome::store_failed : Outcome::not_sent);
    if (!released_) co_await revoke();
  }
}

/// Reads the answer, as far as it may be kept, and records it.
runtime::Task<void> Execution::take_answer() {
  Attempt& answer = attempts_->outcome();
  net::Stream& stream = answer.lease->stream();
  http::ResponseParser& parser = answer.lease->parser();
  const http::ResponseHead& head = parser.head();
  const http::Framing& framing = head.framing;
  const auto cookies =
      options_.replay_set_cookie ? http::StoredCookies::kept : http::StoredCookies::dropped;
  answer_headers_ = http::stored_head(head.fields, cookies, services().context.clock.wall_now());

  const std::uint64_t cap = options_.max_response_bytes;
  if (is_event_stream(head)) reason_ = "stream";
  if (framing.kind == http::Framing::Kind::length && framing.length > cap) reason_ = "too_large";
  while (!answer_complete_ && !answer.error && reason_.empty()) {
    answer_complete_ = answer.read_body();
    const std::size_t before = answer_body_.size();
    for (const std::string_view piece : parser.body()) answer_body_.append(piece);
    if (answer_body_.size() > cap) reason_ = "too_large";
    if (answer_complete_ || answer.error || answer_body_.size() > before) continue;
    const bool in_time = co_await stream.until_input(execution_end);
    if (in_time) continue;
    answer.error =
        Error{ErrorType::connection_read_timeout, "the response stood still for too long"};
  }
  if (answer.error) {
    // Its status line is known: it ran.
    answer.give_up();
    co_await bury("truncated");
    settle(Outcome::truncated);
    co_return;
  }
  answer.settle(policy::Breaker::Outcome::success);  // unless it was told otherwise
  co_await record_answer();
}

runtime::Task<void> Execution::record_answer() {
  const http::ResponseHead& head = attempts_->outcome().lease->parser().head();
  const bool retry_after = head.fields.has(http::FieldName::retry_after);
  const Outcome outcome = reason_.empty() ? Outcome::answered : Outcome::streaming;
  const bool recorded = policy::is_recorded(options_.record, head.status, retry_after);
  if (!recorded && (attempts_->doubtful() || may_have_run())) {
    co_await mark_unknown("reset");  // refused now, but an earlier attempt may have run
    settle(outcome);
    co_return;
  }
  if (!recorded) {
    const std::string status = std::to_string(head.status);
    announced_ = true;
    executions_.board_.announce_refusal(keyed_.id);
    co_await release(status);
    settle(outcome);
    if (!released_) co_await revoke();
    co_return;
  }
  if (outcome == Outcome::streaming) {
    co_await bury(reason_);
    settle(outcome);
    co_return;
  }
  const policy::Operation wish = completion(Command::complete);
  StoreAnswer answer = co_await executions_.ask(wish);
  if (!answer) {
    unrecorded_ = true;
    tell(KeyEvent::Kind::unrecorded, name(answer.error().kind));
    if (answer.error().kind == store::StoreError::Kind::full) {
      co_await bury("capacity");
      settle(outcome);
      co_return;
    }
    const bool kept = executions_.board_.keep(keyed_.id, shared_answer());
    settle(outcome);
    if (kept) co_await commit_later();
    co_return;
  }
  if (answer->kind == Verdict::Kind::fenced) {
    unrecorded_ = true;
    tell(KeyEvent::Kind::fenced);
  }
  settle(outcome);
}

/// Tells the store until it listens: an answer that the client has must never be forgotten.
runtime::Task<void> Execution::commit_later() {
  owed_ = completion(Command::complete);
  for (int n = 1;; ++n) {
    const TimePoint wake = after(now(), policy::backoff_delay(again, n, services().context.rng));
    co_await runtime::sleep_until(services().context.timers, wake);
    tell(KeyEvent::Kind::commit_retry);
    StoreAnswer answer = co_await executions_.ask(*owed_);
    if (answer) {
      if (answer->kind == Verdict::Kind::fenced) {
        tell(KeyEvent::Kind::fenced);
      } else if (owed_->command == Command::tombstone) {
        tell(KeyEvent::Kind::tombstone, owed_->reason);
      }
      break;
    }
    // A store that listens and has no room may have none for the whole ttl: that it is done fits.
    if (answer.error().kind == store::StoreError::Kind::full) owed_ = tombstone("capacity");
  }
  executions_.board_.forget(keyed_.id);
  executions_.board_.wake(keyed_.id, nullptr);
}

// -- what the store is told

policy::Operation Execution::operation(Command command) const {
  policy::Operation wish;
  wish.command = command;
  wish.id = keyed_.id;
  wish.token = token_;
  wish.fingerprint = keyed_.fingerprint;
  wish.lease = milliseconds(options_.lease);
  wish.attempt = attempt_;
  // A generated key lives from its completion; until then as long as its execution may.
  wish.ttl =
      milliseconds(keyed_.generated ? options_.max_execution + options_.lease : options_.ttl);
  wish.reexecute = options_.on_unknown == policy::OnUnknown::reexecute && !keyed_.generated;
  return wish;
}

policy::Operation Execution::completion(Command command) const {
  policy::Operation wish = operation(command);
  if (keyed_.generated) wish.ttl = milliseconds(options_.auto_ttl);
  wish.status = attempts_->outcome().status;
  if (command == Command::complete) {
    wish.headers = answer_headers_;
    wish.body = answer_body_;
  }
  return wish;
}

policy::Operation Execution::tombstone(std::string_view reason) const {
  policy::Operation wish = completion(Command::tombstone);
  wish.reason = reason;
  const Attempt& answer = attempts_->outcome();
  if (answer.lease) wish.headers = http::tombstone_head(answer.lease->parser().head().fields);
  return wish;
}

std::shared_ptr<const SharedAnswer> Execution::shared_answer() const {
  if (!answer_complete_) return nullptr;
  auto shared = std::make_shared<SharedAnswer>();
  shared->fingerprint = keyed_.fingerprint;
  shared->status = attempts_->outcome().status;
  const Attempt& answer = attempts_->outcome();
  // What was refused is shared as it came; what is kept in a store's stead, as a store would.
  const bool as_it_came = released_ && answer.lease;
  shared->headers =
      as_it_came ? http::shared_head(answer.lease->parser().head().fields) : answer_headers_;
  shared->body = answer_body_;
  return shared;
}

runtime::Task<void> Execution::release(std::string_view reason) {
  yields_ = true;
  const policy::Operation wish = operation(Command::release);
  StoreAnswer answer = co_await executions_.ask(wish);
  if (!answer) co_return;
  released_ = true;
  tell(answer->kind == Verdict::Kind::fenced ? KeyEvent::Kind::fenced : KeyEvent::Kind::released,
       reason);
}

runtime::Task<void> Execution::mark_unknown(std::string_view reason) {
  yields_ = true;
  policy::Operation wish = operation(Command::mark_unknown);
  wish.reason = reason;
  StoreAnswer answer = co_await executions_.ask(wish);
  // If the store was not reached the lease will say the same.
  const bool fenced = answer && answer->kind == Verdict::Kind::fenced;
  tell(fenced ? KeyEvent::Kind::fenced : KeyEvent::Kind::unknown, reason);
}

/// It ran, and its answer cannot be kept.
runtime::Task<void> Execution::bury(std::string_view reason) {
  const policy::Operation wish = tombstone(reason);
  StoreAnswer verdict = co_await executions_.ask(wish);
  if (!verdict) {
    unrecorded_ = true;
    tell(KeyEvent::Kind::unrecorded, name(verdict.error().kind));
  } else {
    const bool fenced = verdict->kind == Verdict::Kind::fenced;
    unrecorded_ = unrecorded_ || fenced;
    tell(fenced ? KeyEvent::Kind::fenced : KeyEvent::Kind::tombstone, reason);
  }
}

/// Gives back a key that was perhaps claimed and surely not used.
runtime::Task<void> Execution::revoke() {
  owed_ = operation(Command::release);
  const TimePoint end = after(now(), revoke_for);
  for (int n = 1; now() < end; ++n) {
    const TimePoint wake = after(now(), policy::backoff_delay(again, n, services().context.rng));
    co_await runtime::sleep_until(services().context.timers, wake);
    StoreAnswer answer = co_await executions_.ask(*owed_);
    if (answer) break;
  }
  executions_.board_.wake(keyed_.id, nullptr);
}

// -- the lease

runtime::Task<void> Execution::keep_lease() {
  for (;;) {
    const TimePoint wake = after(now(), options_.lease / 3);
    co_await runtime::sleep_until(services().context.timers, wake);
    if (yields_) co_return;
    const Result<bool, store::StoreError> ours = co_await renew();
    if (ours && !*ours) co_return;
  }
}

/// True if the store says that the key is still ours.
runtime::Task<Result<bool, store::StoreError>> Execution::renew() {
  const policy::Operation wish = operation(Command::renew);
  const TimePoint asked = now();
  StoreAnswer answer = co_await executions_.ask(wish);
  if (!answer) {
    tell(KeyEvent::Kind::renew_failed, name(answer.error().kind));
    co_return unexpected(std::move(answer.error()));
  }
  if (answer->kind == Verdict::Kind::fenced) {
    fenced_ = true;
    tell(KeyEvent::Kind::fenced);
  }
  const bool ours = answer->kind == Verdict::Kind::ok || answer->kind == Verdict::Kind::reasserted;
  if (ours) claimed_at_ = asked;
  co_return ours;
}

runtime::Task<Result<void, Error>> Execution::may_send() {
  Error refused{ErrorType::proxy_internal_error, "the client left before the request went out",
                true};
  if (fenced_ || now() - claimed_at_ > options_.lease / 2) {
    store_error_.reset();
    Result<bool, store::StoreError> ours = co_await renew();
    if (!ours) {
      store_error_ = std::move(ours.error());
      refused.detail = "the claim could not be renewed before the request went out";
      co_return unexpected(refused);
    }
    if (!*ours) {
      refused.detail = "the key was taken over before the request went out";
      refusal_ = refused;
      co_return unexpected(refused);
    }
  }
  if (!client_present_) co_return unexpected(refused);
  co_return Result<void, Error>();
}

void Execution::sent() {
  changed_.notify(now());
}

/// Instead of the rest of run(), which has been cancelled.
runtime::Task<void> Execution::abandon() {
  if (outcome_ == Outcome::running) {
    co_await give_up_key();
  } else if (owed_) {
    StoreAnswer answer = co_await executions_.ask(*owed_);
    if (answer && unrecorded_) executions_.board_.forget(keyed_.id);
  }
  if (claimed_) services().observer.key_gauge(KeyGauge::inflight, -1);
  executions_.ended(*this);
}

runtime::Task<void> Execution::give_up_key() {
  const bool ran =
      may_have_run() || (attempts_ && (attempts_->sent() || attempts_->outcome().has_response()));
  if (ran) {
    reason_ = "shutdown";
    co_await mark_unknown(reason_);
    settle(Outcome::shutdown);
    co_return;
  }
  if (!keyed_.peek_only && !keyed_.no_room) co_await release("shutdown");
  if (!claimed_) {
    // What the store would have said is not known: that nothing was executed is not ours to say.
    store_error_ = {store::StoreError::Kind::full, "holdfast is shutting down"};
    settle(Outcome::store_failed);
    co_return;
  }
  refusal_ = Error{ErrorType::connection_limit_reached, "holdfast is shutting down", true};
  settle(Outcome::not_sent);
}

// ----------------------------------------------------------------------------------------
// Executions

Executions::Executions(Services& services, store::Store& store, KeyBoard& board,
                       std::string replica)
    : services_(services),
      store_(store),
      board_(board),
      replica_(std::move(replica)),
      sweeper_(*this) {}

Executions::~Executions() {
  scope_.cancel_all();
}

std::string Executions::new_token() {
  return replica_ + "-" + std::to_string(++next_token_);
}

Execution& Executions::begin(Generation& generation, const RouteState& route,
                             const Outgoing& outgoing, const KeyedRequest& keyed, std::string body,
                             std::optional<Duration> client_deadline, TimePoint started) {
  Execution& execution = *all_.emplace_back(std::make_unique<Execution>(
      *this, generation, route, outgoing, keyed, std::move(body), client_deadline, started));
  ++running_;
  runtime::Scope::Entry* entry = scope_.spawn(execution.run());
  if (!execution.ended_) execution.entry_ = entry;
  return execution;
}

void Executions::leave(Execution& execution) {
  HOLDFAST_ASSERT(execution.client_present_);
  execution.client_present_ = false;
  execution.outgoing_.client = nullptr;
  if (execution.attempts_) execution.attempts_->forget_client();
  if (execution.ended_) return sweeper_.soon();
  if (execution.outcome_ != Execution::Outcome::running) execution.let_go();
  count_detached(1);
}

void Executions::count_detached(int change) {
  board_.detached.fetch_add(change, std::memory_order_relaxed);
  services_.observer.key_gauge(KeyGauge::detached, change);
}

void Executions::ended(Execution& execution) {
  execution.ended_ = true;
  --running_;
  execution.entry_ = nullptr;
  if (!execution.client_present_) count_detached(-1);
  sweeper_.soon();
}

/// Frees what has ended and was left: from the loop, for an execution cannot free itself.
void Executions::sweep() {
  std::erase_if(all_, [](const auto& each) { return each->ended_ && !each->client_present_; });
  if (running_ == 0 && on_idle_) on_idle_();
}

void Executions::shut_down() {
  for (const auto& execution : all_) {
    if (execution->entry_ == nullptr) continue;  // it has ended, or is being ended
    scope_.cancel(std::exchange(execution->entry_, nullptr));
    scope_.spawn(execution->abandon());
  }
}

runtime::Task<Result<Verdict, store::StoreError>> Executions::ask(
    const policy::Operation& operation) {
  const TimePoint began = services_.context.now();
  StoreAnswer answer = co_await store_.apply(operation);
  const auto error = answer ? std::nullopt : std::optional(answer.error().kind);
  services_.observer.store_operation(operation.command, services_.context.now() - began, error);
  co_return answer;
}

}  // namespace holdfast::proxy
