#include "holdfast/proxy/shared_endpoints.h"

#include <algorithm>
#include <utility>

namespace holdfast::proxy {
namespace {

std::string key_of(const EndpointConfig& config, const std::optional<net::Address>& address) {
  const std::string text = config.endpoint.text();
  return address ? text + " " + address->text() : text;
}

const EndpointMember* find(const EndpointMembers& members, std::string_view key) {
  const auto found = std::ranges::find_if(
      members.list, [key](const EndpointMember& member) { return member.shared->key() == key; });
  return found == members.list.end() ? nullptr : &*found;
}

}  // namespace

std::string_view SharedEndpoints::why(const SharedEndpoint& endpoint) {
  if (endpoint.state() == EndpointState::draining) return "taken out by hand";
  if (endpoint.state() == EndpointState::unhealthy) return endpoint.unhealthy_why_;
  return endpoint.state() == EndpointState::ejected ? endpoint.ejected_why_ : std::string_view();
}

std::string_view name(EndpointState state) {
  constexpr std::string_view names[] = {"healthy", "ejected", "unhealthy", "draining"};
  return names[static_cast<std::size_t>(state)];
}

SharedEndpoints::SharedEndpoints(const UpstreamConfig& config, TimePoint now,
                                 EndpointListener listener)
    : upstream_(config.name),
      listener_(std::move(listener)),
      members_(std::make_shared<EndpointMembers>()) {
  configure(config, now);
}

void SharedEndpoints::configure(const UpstreamConfig& config, TimePoint now) {
  Changes changes;
  {
    const std::lock_guard lock(mutex_);
    ++configuration_;
    configured_ = config.endpoints;
    outlier_ = config.outlier;
    health_ = config.health;
    std::erase_if(resolved_, [&](const auto& entry) { return !has_name(entry.first); });
    std::erase_if(troubles_, [&](const auto& entry) { return !has_name(entry.first); });
    std::erase_if(drained_, [&](const std::string& key) {
      return std::ranges::none_of(configured_, [&](const EndpointConfig& endpoint) {
        const std::string text = endpoint.endpoint.text();
        return key == text || key.starts_with(text + " ");
      });
    });
    rebuild(now, changes);
  }
  tell(changes);
  if (listener_.list_changed) listener_.list_changed();
}

void SharedEndpoints::resolved(std::string_view endpoint,
                               const std::vector<net::Address>& addresses, TimePoint now) {
  Changes changes;
  bool found_again = false;
  bool list_changed = false;
  {
    const std::lock_guard lock(mutex_);
    if (!has_name(endpoint)) return;
    Resolved& known = resolved_[std::string(endpoint)];
    known.at = now;
    if (const auto trouble = troubles_.find(endpoint); trouble != troubles_.end()) {
      troubles_.erase(trouble);
      found_again = true;
    }
    // A name server may give the same list in another order each time.
    list_changed = !std::ranges::is_permutation(known.addresses, addresses);
    if (list_changed) {
      known.addresses = addresses;
      rebuild(now, changes);
    }
  }
  tell(changes);
  if (found_again && listener_.name_changed) {
    listener_.name_changed(upstream_, {std::string(endpoint), true, "", addresses.size(), now});
  }
  if (list_changed && listener_.list_changed) listener_.list_changed();
}

void SharedEndpoints::not_found(std::string_view endpoint, std::string_view why, TimePoint now) {
  NameChange change{std::string(endpoint), false, std::string(why), 0, now};
  {
    const std::lock_guard lock(mutex_);
    if (!has_name(endpoint)) return;
    const auto [trouble, is_new] = troubles_.emplace(change.name, Trouble{change.why, now});
    trouble->second.why = why;
    if (!is_new) return;
    const auto known = resolved_.find(endpoint);
    if (known != resolved_.end()) change.addresses = known->second.addresses.size();
  }
  if (listener_.name_changed) listener_.name_changed(upstream_, change);
}

bool SharedEndpoints::has_name(std::string_view endpoint) const {
  return std::ranges::any_of(configured_, [&](const EndpointConfig& one) {
    return one.endpoint.is_named() && one.endpoint.text() == endpoint;
  });
}

std::vector<NameReport> SharedEndpoints::names() const {
  const std::lock_guard lock(mutex_);
  std::vector<NameReport> reports;
  for (const EndpointConfig& one : configured_) {
    if (!one.endpoint.is_named() || one.endpoint.wildcard) continue;
    NameReport report{one.endpoint.text()};
    if (const auto known = resolved_.find(report.name); known != resolved_.end()) {
      report.addresses = known->second.addresses.size();
      report.answered = known->second.at;
    }
    if (const auto trouble = troubles_.find(report.name); trouble != troubles_.end()) {
      report.failing_since = trouble->second.since;
      report.why = trouble->second.why;
    }
    reports.push_back(std::move(report));
  }
  return reports;
}

std::optional<SharedEndpoints::Resolved> SharedEndpoints::known(std::string_view endpoint) const {
  const std::lock_guard lock(mutex_);
  const auto found = resolved_.find(endpoint);
  return found == resolved_.end() ? std::nullopt : std::optional(found->second);
}

/// The list anew, of what is configured and what was found for its names.
void SharedEndpoints::rebuild(TimePoint now, Changes& changes) {
  auto next = std::make_shared<EndpointMembers>();
  next->configuration = configuration_;
  next->version = members_->version + 1;
  const auto shared_for = [&](const std::string& key) {
    if (const EndpointMember* kept = find(*members_, key)) return kept->shared;
    auto fresh = std::make_shared<SharedEndpoint>(key, now);
    if (!members_->list.empty()) fresh->slow_start_from_.store(now, std::memory_order_relaxed);
    if (drained_.contains(key)) {
      fresh->draining_ = true;
      show(*fresh, now, changes);
    }
    return fresh;
  };
  const auto add = [&](const EndpointConfig& config, const std::optional<net::Address>& address) {
    const std::string key = key_of(config, address);
    const auto twice = std::ranges::find_if(
        next->list, [&](const EndpointMember& member) { return member.shared->key() == key; });
    if (twice == next->list.end()) {
      next->list.push_back({config, address, shared_for(key)});
    } else {
      twice->config.weight += config.weight;
    }
  };
  for (const EndpointConfig& config : configured_) {
    const auto found = resolved_.find(config.endpoint.text());
    if (found == resolved_.end() || found->second.addresses.empty()) {
      add(config, std::nullopt);
    } else {
      for (const net::Address& address : found->second.addresses) add(config, address);
    }
  }
  for (const EndpointMember& member : members_->list) {
    const bool stays = find(*next, member.shared->key()) != nullptr;
    member.shared->listed_.store(stays, std::memory_order_relaxed);
  }
  members_ = std::move(next);
  if (!health_.enabled()) forget_checks(now, changes);
  settle(now, changes);
  version_.store(members_->version, std::memory_order_release);
}

std::shared_ptr<const EndpointMembers> SharedEndpoints::members() const {
  const std::lock_guard lock(mutex_);
  return members_;
}

std::uint32_t SharedEndpoints::share(const SharedEndpoint& endpoint, TimePoint now) const {
  const TimePoint from = endpoint.slow_start_from_.load(std::memory_order_relaxed);
  const Duration lasts = slow_start_.load(std::memory_order_relaxed);
  if (from == never || lasts == Duration::zero()) return 100;
  return policy::slow_start_percent(now - from, lasts);
}

void SharedEndpoints::tick(TimePoint now) {
  if (now < next_event_.load(std::memory_order_relaxed)) return;
  Changes changes;
  {
    const std::lock_guard lock(mutex_);
    return_due(now, changes);
    settle(now, changes);
  }
  tell(changes);
}

void SharedEndpoints::return_due(TimePoint now, Changes& changes) {
  for (const EndpointMember& member : members_->list) {
    if (member.shared->outlier_.tick(now)) show(*member.shared, now, changes);
  }
}

void SharedEndpoints::record(SharedEndpoint& endpoint, policy::Outlier::Outcome outcome,
                             TimePoint began, TimePoint now, std::string_view what) {
  Changes changes;
  {
    const std::lock_guard lock(mutex_);
    if (!lists(endpoint) || members_->list.size() < 2 || endpoint.state() != EndpointState::healthy)
      return;
    const bool ejected = endpoint.outlier_.record(outcome, began, now, outlier_, census());
    endpoint.failing_.store(endpoint.outlier_.failures_in_a_row() > 0, std::memory_order_relaxed);
    if (!ejected) return;
    endpoint.ejected_why_ = std::to_string(outlier_.consecutive_failures) +
                            " failures in a row, the last: " + std::string(what);
    ejections_.fetch_add(1, std::memory_order_relaxed);
    show(endpoint, now, changes);
    settle(now, changes);
  }
  tell(changes);
}

bool SharedEndpoints::lists(const SharedEndpoint& endpoint) const {
  return std::ranges::any_of(members_->list, [&](const EndpointMember& member) {
    return member.shared.get() == &endpoint;
  });
}

void SharedEndpoints::checked(SharedEndpoint& endpoint, bool passed, std::string_view what,
                              TimePoint now) {
  (passed ? passed_ : failed_).fetch_add(1, std::memory_order_relaxed);
  Changes changes;
  {
    const std::lock_guard lock(mutex_);
    if (!health_.enabled() || !lists(endpoint)) return;
    if (!endpoint.health_.record(passed, health_)) return;
    endpoint.unhealthy_why_ = "checks fail, the last: " + std::string(what);
    take_out(endpoint, endpoint.unhealthy_, !passed, now, changes);
    settle(now, changes);
  }
  tell(changes);
}

/// Without checks nobody would find out that an endpoint is well again.
void SharedEndpoints::forget_checks(TimePoint now, Changes& changes) {
  for (const EndpointMember& member : members_->list) {
    member.shared->health_ = {};
    take_out(*member.shared, member.shared->unhealthy_, false, now, changes);
  }
}

policy::HealthOptions SharedEndpoints::health() const {
  const std::lock_guard lock(mutex_);
  return health_;
}

bool SharedEndpoints::drain(std::string_view key, bool draining, TimePoint now) {
  Changes changes;
  {
    const std::lock_guard lock(mutex_);
    const EndpointMember* member = find(*members_, key);
    const bool was_out = !draining && drained_.erase(std::string(key)) > 0;
    if (member == nullptr) return was_out;  // its name may give it again
    if (draining) drained_.insert(std::string(key));
    take_out(*member->shared, member->shared->draining_, draining, now, changes);
    settle(now, changes);
  }
  tell(changes);
  return true;
}

policy::EndpointCensus SharedEndpoints::census() const {
  policy::EndpointCensus census;
  for (const EndpointMember& member : members_->list) {
    const SharedEndpoint& endpoint = *member.shared;
    ++census.all;
    if (endpoint.state() == EndpointState::healthy) ++census.in_service;
    if (endpoint.state() == EndpointState::ejected) ++census.ejected;
    if (endpoint.state() == EndpointState::draining) ++census.draining;
  }
  return census;
}

/// Sets one of the reasons for which an endpoint is out of service until it is well again, however
/// long that takes: an ejection has no say beside it.
void SharedEndpoints::take_out(SharedEndpoint& endpoint, bool& reason, bool out, TimePoint now,
                               Changes& changes) {
  reason = out;
  if (out && endpoint.outlier_.ejected()) endpoint.outlier_.readmit(now);
  show(endpoint, now, changes);
}

/// What is known of an endpoint becomes the one state that is shown.
void SharedEndpoints::show(SharedEndpoint& endpoint, TimePoint now, Changes& changes) {
  const EndpointState before = endpoint.state();
  EndpointState state = EndpointState::healthy;
  if (endpoint.outlier_.ejected()) state = EndpointState::ejected;
  if (endpoint.unhealthy_) state = EndpointState::unhealthy;
  if (endpoint.draining_) state = EndpointState::draining;
  if (before == state) return;
  endpoint.state_.store(state, std::memory_order_relaxed);
  endpoint.failing_.store(endpoint.outlier_.failures_in_a_row() > 0, std::memory_order_relaxed);
  endpoint.since_ = now;
  const bool back = state == EndpointState::healthy;
  endpoint.slow_start_from_.store(back ? now : never, std::memory_order_relaxed);
  EndpointChange change{endpoint.key(), before, state, std::string(why(endpoint)), {}, now};
  if (state == EndpointState::ejected) change.lasts = endpoint.outlier_.ejected_until() - now;
  changes.push_back(std::move(change));
}

/// After any change: no ejection stands that leaves none in service, or is one too many.
void SharedEndpoints::settle(TimePoint now, Changes& changes) {
  for (;;) {
    const policy::EndpointCensus seen = census();
    if (seen.ejected == 0 || policy::may_be_ejected(seen, outlier_)) break;
    readmit_one(now, changes);
  }
  publish(now);
}

/// The one nearest to its return. REQUIRES: there is one.
void SharedEndpoints::readmit_one(TimePoint now, Changes& changes) {
  SharedEndpoint* next = nullptr;
  for (const EndpointMember& member : members_->list) {
    SharedEndpoint& endpoint = *member.shared;
    if (!endpoint.outlier_.ejected()) continue;
    if (next == nullptr || endpoint.outlier_.ejected_until() < next->outlier_.ejected_until()) {
      next = &endpoint;
    }
  }
  next->outlier_.readmit(now);
  show(*next, now, changes);
}

/// Renews what is read without the lock.
void SharedEndpoints::publish(TimePoint now) {
  const Duration slow_start = outlier_.slow_start.value_or(Duration::zero());
  slow_start_.store(slow_start, std::memory_order_relaxed);
  TimePoint next = never;
  bool calm = true;
  for (const EndpointMember& member : members_->list) {
    SharedEndpoint& endpoint = *member.shared;
    if (endpoint.outlier_.ejected()) next = std::min(next, endpoint.outlier_.ejected_until());
    const TimePoint from = endpoint.slow_start_from_.load(std::memory_order_relaxed);
    const TimePoint whole = from == never ? now : after(from, slow_start);
    if (whole > now) next = std::min(next, whole);
    calm = calm && endpoint.state() == EndpointState::healthy && whole <= now;
  }
  next_event_.store(next, std::memory_order_relaxed);
  panic_.store(policy::panics(census(), outlier_), std::memory_order_relaxed);
  if (calm_.load(std::memory_order_relaxed) != calm) calm_.store(calm, std::memory_order_relaxed);
}

void SharedEndpoints::tell(const Changes& changes) const {
  if (!listener_.state_changed) return;
  for (const EndpointChange& change : changes) listener_.state_changed(upstream_, change);
}

std::vector<EndpointReport> SharedEndpoints::report(TimePoint now) {
  tick(now);
  const std::lock_guard lock(mutex_);
  std::vector<EndpointReport> reports;
  for (const EndpointMember& member : members_->list) {
    const SharedEndpoint& shared = *member.shared;
    EndpointReport report{shared.key(),
                          member.config.url,
                          member.config.weight,
                          shared.state(),
                          shared.since_,
                          std::string(why(shared)),
                          {}};
    if (report.state == EndpointState::ejected) report.until = shared.outlier_.ejected_until();
    reports.push_back(std::move(report));
  }
  return reports;
}

}  // namespace holdfast::proxy
