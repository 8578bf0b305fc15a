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

std::string_view name(EndpointState state) {
  constexpr std::string_view names[] = {"healthy", "ejected", "unhealthy", "draining"};
  return names[static_cast<std::size_t>(state)];
}

SharedEndpoints::SharedEndpoints(const UpstreamConfig& config, TimePoint now)
    : members_(std::make_shared<EndpointMembers>()) {
  configure(config, now);
}

void SharedEndpoints::configure(const UpstreamConfig& config, TimePoint now) {
  const std::lock_guard lock(mutex_);
  ++configuration_;
  configured_ = config.endpoints;
  std::erase_if(resolved_, [&](const auto& entry) {
    return std::ranges::none_of(configured_, [&](const EndpointConfig& endpoint) {
      return endpoint.endpoint.text() == entry.first;
    });
  });
  rebuild(now);
}

void SharedEndpoints::resolved(std::string_view endpoint,
                               const std::vector<net::Address>& addresses, TimePoint now) {
  const std::lock_guard lock(mutex_);
  const bool configured = std::ranges::any_of(configured_, [&](const EndpointConfig& one) {
    return one.endpoint.is_named() && one.endpoint.text() == endpoint;
  });
  if (!configured) return;
  resolved_[std::string(endpoint)] = addresses;
  rebuild(now);
}

/// The list anew, of what is configured and what was found for its names.
void SharedEndpoints::rebuild(TimePoint now) {
  auto next = std::make_shared<EndpointMembers>();
  next->configuration = configuration_;
  next->version = members_->version + 1;
  const auto add = [&](const EndpointConfig& config, const std::optional<net::Address>& address) {
    const std::string key = key_of(config, address);
    if (const EndpointMember* twice = find(*next, key)) {
      next->list[static_cast<std::size_t>(twice - next->list.data())].config.weight +=
          config.weight;
      return;
    }
    const EndpointMember* kept = find(*members_, key);
    next->list.push_back(
        {config, address, kept ? kept->shared : std::make_shared<SharedEndpoint>(key, now)});
  };
  for (const EndpointConfig& config : configured_) {
    const auto found = resolved_.find(config.endpoint.text());
    if (found == resolved_.end() || found->second.empty()) {
      add(config, std::nullopt);
    } else {
      for (const net::Address& address : found->second) add(config, address);
    }
  }
  members_ = std::move(next);
  publish();
  version_.store(members_->version, std::memory_order_release);
}

std::shared_ptr<const EndpointMembers> SharedEndpoints::members() const {
  const std::lock_guard lock(mutex_);
  return members_;
}

bool SharedEndpoints::drain(std::string_view key, bool draining, TimePoint now) {
  const std::lock_guard lock(mutex_);
  const EndpointMember* member = find(*members_, key);
  if (member == nullptr) return false;
  member->shared->draining_ = draining;
  show(*member->shared, now);
  publish();
  return true;
}

/// What is known of an endpoint becomes the one state that is shown.
void SharedEndpoints::show(SharedEndpoint& endpoint, TimePoint now) {
  const EndpointState state = endpoint.draining_ ? EndpointState::draining : EndpointState::healthy;
  if (endpoint.state() == state) return;
  endpoint.state_.store(state, std::memory_order_relaxed);
  endpoint.since_ = now;
}

/// Renews what is read without the lock.
void SharedEndpoints::publish() {
  const bool calm = std::ranges::all_of(members_->list, [](const EndpointMember& member) {
    return member.shared->state() == EndpointState::healthy;
  });
  if (calm_.load(std::memory_order_relaxed) != calm) calm_.store(calm, std::memory_order_relaxed);
}

std::vector<EndpointReport> SharedEndpoints::report() const {
  const std::lock_guard lock(mutex_);
  std::vector<EndpointReport> reports;
  for (const EndpointMember& member : members_->list) {
    const SharedEndpoint& shared = *member.shared;
    reports.push_back({shared.key(), member.config.weight, shared.state(), shared.since_});
  }
  return reports;
}

}  // namespace holdfast::proxy
