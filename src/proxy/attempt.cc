#include "holdfast/proxy/attempt.h"

#include <utility>

namespace holdfast::proxy {

using policy::Breaker;

namespace {

/// When an upstream without an endpoint in service may have one again.
constexpr Duration look_again = std::chrono::seconds(1);

}  // namespace

bool Attempt::admit(std::span<const PoolPin> tried, std::optional<std::uint64_t> key,
                    TimePoint now) {
  Transitions transitions;
  SharedUpstream& shared = cluster_.shared();
  auto permit = shared.acquire(now, transitions);
  report(transitions);
  if (permit) {
    permit_ = *permit;
    if (pick(tried, key)) return true;
    settle(Breaker::Outcome::ignored);
    return false;
  }
  retry_after = permit.error().retry_after;
  services_.observer.breaker_rejected(cluster_.slot());
  error = Error{ErrorType::destination_unavailable, "the circuit breaker of the upstream is open"};
  return false;
}

bool Attempt::pick(std::span<const PoolPin> tried, std::optional<std::uint64_t> key) {
  pool = PoolPin(cluster_.pick(tried, services_.context.rng, key));
  if (pool) return true;
  retry_after = look_again;
  error = Error{ErrorType::destination_unavailable, "no endpoint of the upstream is in service"};
  return false;
}

void Attempt::settle(Breaker::Outcome outcome) {
  if (!permit_) return;
  Transitions transitions;
  cluster_.shared().record(*permit_, outcome, latency, services_.context.now(),
                           services_.context.rng, transitions);
  permit_.reset();
  report(transitions);
  if (begun && pool && outcome != Breaker::Outcome::ignored) tell_endpoint(outcome);
}

/// What says nothing to the breaker says nothing here.
void Attempt::tell_endpoint(Breaker::Outcome outcome) {
  using Outcome = policy::Outlier::Outcome;
  SharedEndpoint& endpoint = pool->shared();
  SharedEndpoints& all = cluster_.shared().endpoints();
  const TimePoint now = services_.context.now();
  if (outcome == Breaker::Outcome::failure) {
    all.record(endpoint, Outcome::failure, started, now, failure());
  } else if (endpoint.failing()) {
    all.record(endpoint, Outcome::success, started, now, {});
  }
}

void Attempt::settle_failure(ErrorType type) {
  const ErrorGroup group = group_of(type);
  // What holdfast itself refuses says nothing about the upstream (contract §2).
  const bool refused_here = group == ErrorGroup::open || group == ErrorGroup::overload ||
                            group == ErrorGroup::rate_limited || group == ErrorGroup::none;
  if (refused_here) return settle(Breaker::Outcome::ignored);
  const bool counts = cluster_.config().breaker.failures.matches(type);
  settle(counts ? Breaker::Outcome::failure : Breaker::Outcome::success);
}

/// What is known at the head of the response, or at the failure. Nothing for an attempt that was
/// not begun.
void Attempt::record(http::Method method) {
  if (!begun || std::exchange(recorded_, true)) return;
  AttemptRecord record;
  record.upstream = cluster_.slot();
  record.method = method;
  record.status = status;
  if (error) record.error = error->type;
  record.duration = services_.context.now() - started;
  services_.observer.attempt_finished(record);
}

bool Attempt::read_body() {
  net::Stream& stream = lease->stream();
  http::ResponseParser& parser = lease->parser();
  Result<http::ParseStep, Error> step = parser.parse(stream.input());
  if (!step) {
    error = std::move(step.error());
    return false;
  }
  stream.consume(step->consumed);
  if (step->event == http::ParseEvent::complete) return true;
  // The end of the connection is looked at when everything before it has been passed on.
  if (!stream.input().empty() || !parser.body().empty() || stream.open_for_input()) return false;
  if (stream.failure()) {
    error = Error{ErrorType::http_response_incomplete, "the connection broke within the response"};
    return false;
  }
  Result<void, Error> end = parser.finish();
  if (!end) error = std::move(end.error());
  return end.has_value();
}

void Attempt::give_up() {
  settle_failure(error->type);
  uploading.reset();
  lease.close();
}

void Attempt::let_go() {
  if (has_response()) settle(Breaker::Outcome::success);  // unless it was told otherwise
  uploading.reset();
  if (!lease) return;
  if (has_response() && request_sent) {
    bool last = false;
    do {
      last = read_body();
    } while (!last && !error && !lease->parser().body().empty());
    if (last) return hand_back();
  }
  lease.close();
}

void Attempt::hand_back() {
  if (lease->parser().head().keep_alive && request_sent && !single_use) return lease.release();
  // Who closes first waits in TIME_WAIT with its port; at one connection a request they run out.
  if (single_use) lease->stream().abort();
  lease.close();
}

void Attempt::report(const Transitions& transitions) {
  if (transitions.empty()) return;
  const std::string last = begun && pool ? failure() + " at " + std::string(pool->text()) : "";
  for (const Breaker::Transition& transition : transitions) {
    services_.observer.breaker_moved(cluster_.slot(), cluster_.config().name, transition, last);
  }
}

std::string Attempt::failure() const {
  return error ? std::string(name(error->type)) : std::to_string(status);
}

std::string Attempt::failure_name() const {
  return error ? std::string(name(error->group())) : std::to_string(status);
}

}  // namespace holdfast::proxy
