#include "holdfast/proxy/attempt.h"

#include <utility>

namespace holdfast::proxy {

using policy::Breaker;

bool Attempt::admit(TimePoint now) {
  Transitions transitions;
  SharedUpstream& shared = cluster_.shared();
  auto permit = shared.acquire(now, transitions);
  report(transitions);
  if (permit) {
    permit_ = *permit;
    return true;
  }
  retry_after = permit.error().retry_after;
  services_.observer.breaker_rejected(cluster_.slot());
  error = Error{ErrorType::destination_unavailable, "the circuit breaker of the upstream is open"};
  return false;
}

void Attempt::settle(Breaker::Outcome outcome) {
  if (!permit_) return;
  Transitions transitions;
  cluster_.shared().record(*permit_, outcome, latency, services_.context.now(),
                           services_.context.rng, transitions);
  permit_.reset();
  report(transitions);
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
  if (pool == nullptr || std::exchange(recorded_, true)) return;
  AttemptRecord record;
  record.upstream = cluster_.slot();
  record.method = method;
  record.status = status;
  if (error) record.error = error->type;
  record.duration = services_.context.now() - started;
  services_.observer.attempt_finished(record);
}

void Attempt::report(const Transitions& transitions) {
  for (const Breaker::Transition& transition : transitions) {
    services_.observer.breaker_moved(cluster_.slot(), cluster_.config().name, transition);
  }
}

std::string Attempt::failure_name() const {
  return error ? std::string(name(error->group())) : std::to_string(status);
}

}  // namespace holdfast::proxy
