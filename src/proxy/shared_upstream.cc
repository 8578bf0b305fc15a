#include "holdfast/proxy/shared_upstream.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "holdfast/base/assert.h"

namespace holdfast::proxy {
namespace {

constexpr std::uint64_t no_limit = std::numeric_limits<std::uint64_t>::max();

constexpr std::uint64_t not_closed = std::numeric_limits<std::uint64_t>::max();

/// The options of `general` for one of its destinations. What that connects with is `general`'s,
/// too: it alone is kept in step with its files.
UpstreamConfig newest(const UpstreamConfig& general, std::vector<EndpointConfig> endpoints) {
  const auto secure = std::ranges::find_if(
      general.endpoints, [](const auto& endpoint) { return endpoint.credentials != nullptr; });
  for (EndpointConfig& endpoint : endpoints) {
    if (endpoint.credentials && secure != general.endpoints.end()) {
      endpoint.credentials = secure->credentials;
    }
  }
  UpstreamConfig its = general;
  its.dynamic = false;
  its.endpoints = std::move(endpoints);
  return its;
}

}  // namespace

SharedUpstream::SharedUpstream(const UpstreamConfig& config, TimePoint now,
                               EndpointListener listener)
    : name_(config.name),
      breaker_(config.breaker),
      max_connections_(config.pool.max_connections.value_or(no_limit)),
      max_pending_(config.pool.max_pending.value_or(no_limit)),
      endpoints_(config, now, std::move(listener)) {
  publish_state();
}

void SharedUpstream::publish(Transitions& transitions) {
  while (auto transition = breaker_.take_transition()) transitions.push_back(*transition);
  publish_state();
}

void SharedUpstream::publish_state() {
  const auto permit = breaker_.closed_permit();
  const std::uint64_t epoch = permit ? permit->epoch : not_closed;
  // Written where it changes only: every worker reads it for every request.
  if (closed_epoch_.load(std::memory_order_relaxed) != epoch) {
    closed_epoch_.store(epoch, std::memory_order_relaxed);
  }
  if (breaker_state() != breaker_.state()) {
    state_.store(breaker_.state(), std::memory_order_relaxed);
  }
}

Result<policy::Breaker::Permit, policy::Breaker::Rejected> SharedUpstream::acquire(
    TimePoint now, Transitions& transitions) {
  const std::uint64_t epoch = closed_epoch_.load(std::memory_order_relaxed);
  if (epoch != not_closed) return policy::Breaker::Permit{epoch, false};
  const std::lock_guard lock(mutex_);
  auto permit = breaker_.acquire(now);
  publish(transitions);
  return permit;
}

std::optional<policy::Breaker::Rejected> SharedUpstream::rejection(TimePoint now) {
  if (breaker_state() == policy::BreakerState::closed) return std::nullopt;
  const std::lock_guard lock(mutex_);
  return breaker_.rejection(now);
}

void SharedUpstream::record(policy::Breaker::Permit permit, policy::Breaker::Outcome outcome,
                            Duration latency, TimePoint now, Rng& rng, Transitions& transitions) {
  const std::lock_guard lock(mutex_);
  breaker_.record(permit, outcome, latency, now, rng);
  publish(transitions);
}

policy::RetryBudget& SharedUpstream::budget_for(Duration window) {
  for (policy::RetryBudget& budget : budgets_) {
    if (budget.window() == window) return budget;
  }
  return budgets_.emplace_back(window);
}

void SharedUpstream::record_request(TimePoint now) {
  const std::lock_guard lock(mutex_);
  for (policy::RetryBudget& budget : budgets_) budget.record_request(now);
}

bool SharedUpstream::try_retry(const policy::RetryBudgetOptions& options, TimePoint now) {
  const std::lock_guard lock(mutex_);
  policy::RetryBudget& asked = budget_for(options.window);
  if (!asked.try_retry(options, now)) return false;
  for (policy::RetryBudget& budget : budgets_) {
    if (&budget != &asked) budget.record_retry(now);
  }
  return true;
}

bool SharedUpstream::try_open() {
  const std::lock_guard lock(mutex_);
  if (open_ >= max_connections_) return false;
  ++open_;
  return true;
}

bool SharedUpstream::enqueue(ConnectionTicket& ticket) {
  const std::lock_guard lock(mutex_);
  if (open_ < max_connections_) {
    ++open_;  // a place came free between try_open() and now
    ticket.granted();
    return true;
  }
  if (queue_.size() >= max_pending_ && queue_.size() - max_pending_ >= free_soon()) return false;
  queue_.push_back(&ticket);
  ticket.queued = true;
  waiters_.store(static_cast<int>(queue_.size()), std::memory_order_relaxed);
  for (const auto& [owner, close_idle] : pressure_) close_idle();
  return true;
}

/// Places of connections that nobody needs any more: they do not make anybody wait for an answer.
std::uint64_t SharedUpstream::free_soon() const {
  const std::int64_t free = idle_connections.load(std::memory_order_relaxed) +
                            ending_connections.load(std::memory_order_relaxed);
  return static_cast<std::uint64_t>(std::max<std::int64_t>(free, 0));
}

bool SharedUpstream::withdraw(ConnectionTicket& ticket) {
  const std::lock_guard lock(mutex_);
  if (!ticket.queued) return false;
  queue_.remove(&ticket);
  ticket.queued = false;
  waiters_.store(static_cast<int>(queue_.size()), std::memory_order_relaxed);
  return true;
}

void SharedUpstream::closed() {
  const std::lock_guard lock(mutex_);
  HOLDFAST_ASSERT(open_ > 0);
  if (queue_.empty() || open_ > max_connections_) {
    --open_;
  } else {
    grant_first();
  }
}

/// Under the lock, so that a ticket cannot be withdrawn, and its worker end, while it is being
/// granted.
void SharedUpstream::grant_first() {
  ConnectionTicket& first = *queue_.front();
  queue_.pop_front();
  first.queued = false;
  waiters_.store(static_cast<int>(queue_.size()), std::memory_order_relaxed);
  first.granted();
}

void SharedUpstream::on_pressure(const void* owner, std::function<void()> close_idle) {
  const std::lock_guard lock(mutex_);
  pressure_.emplace_back(owner, std::move(close_idle));
}

void SharedUpstream::forget_pressure(const void* owner) {
  const std::lock_guard lock(mutex_);
  std::erase_if(pressure_, [owner](const auto& entry) { return entry.first == owner; });
}

void SharedUpstream::reconfigure(const UpstreamConfig& config, TimePoint now) {
  endpoints_.configure(config, now);
  const std::lock_guard lock(mutex_);
  breaker_.reconfigure(config.breaker);
  publish_state();
  max_connections_ = config.pool.max_connections.value_or(no_limit);
  max_pending_ = config.pool.max_pending.value_or(no_limit);
  while (open_ < max_connections_ && !queue_.empty()) {
    ++open_;
    grant_first();
  }
}

void SharedUpstream::count_window(Duration window) {
  const std::lock_guard lock(mutex_);
  budget_for(window);
}

void SharedUpstreams::apply(const Config& config, TimePoint now) {
  const std::lock_guard lock(mutex_);
  std::erase_if(upstreams_,
                [&](const auto& entry) { return !config.upstreams.contains(entry.first); });
  for (const auto& [name, upstream] : config.upstreams) {
    auto& shared = upstreams_[name];
    if (shared) {
      shared->reconfigure(upstream, now);
    } else {
      shared = std::make_shared<SharedUpstream>(upstream, now, listener_);
    }
  }
  dynamic_.clear();
  for (const auto& [name, upstream] : config.upstreams) {
    if (upstream.dynamic) dynamic_.emplace(name, upstream);
  }
  for (auto& [key, destination] : destinations_) {
    const auto shared = destination.shared.lock();
    if (!shared) continue;
    const auto found = config.upstreams.find(shared->name());
    if (found == config.upstreams.end()) continue;
    const UpstreamConfig its = newest(found->second, destination.endpoints);
    destination.endpoints = its.endpoints;
    shared->reconfigure(its, now);
  }
  for (const RouteConfig& route : config.routes) {
    if (!route.upstream.empty())
      upstreams_[route.upstream]->count_window(route.retry.budget.window);
  }
}

std::shared_ptr<SharedUpstream> SharedUpstreams::destination(const UpstreamConfig& config,
                                                             std::string_view authority,
                                                             TimePoint now) {
  const std::lock_guard lock(mutex_);
  std::erase_if(destinations_, [](const auto& entry) { return entry.second.shared.expired(); });
  Destination& known = destinations_[config.name + " " + std::string(authority)];
  auto shared = known.shared.lock();
  if (!shared) {
    // The worker that asks may not have seen the newest configuration yet.
    const auto found = dynamic_.find(config.name);
    const UpstreamConfig its =
        found == dynamic_.end() ? config : newest(found->second, config.endpoints);
    shared = std::make_shared<SharedUpstream>(its, now);
    known = {shared, its.endpoints};
  }
  return shared;
}

std::shared_ptr<SharedUpstream> SharedUpstreams::find(std::string_view name) const {
  const std::lock_guard lock(mutex_);
  const auto found = upstreams_.find(name);
  return found == upstreams_.end() ? nullptr : found->second;
}

std::vector<std::shared_ptr<SharedUpstream>> SharedUpstreams::all() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<SharedUpstream>> all;
  for (const auto& [name, shared] : upstreams_) all.push_back(shared);
  return all;
}

std::vector<SharedUpstreams::NamedDestination> SharedUpstreams::destinations(
    std::string_view upstream) const {
  const std::string prefix = std::string(upstream) + " ";
  const std::lock_guard lock(mutex_);
  std::vector<NamedDestination> found;
  for (auto at = destinations_.lower_bound(prefix); at != destinations_.end(); ++at) {
    if (!at->first.starts_with(prefix)) break;
    auto shared = at->second.shared.lock();
    if (!shared || shared->name() != upstream) continue;
    found.push_back({at->first.substr(prefix.size()), std::move(shared)});
  }
  return found;
}

}  // namespace holdfast::proxy
