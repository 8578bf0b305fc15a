#include "holdfast/policy/balancer.h"

#include <algorithm>

namespace holdfast::policy {
namespace {

constexpr int none = -1;

bool is_eligible(const EndpointLoad& endpoint, bool untried_only) {
  return endpoint.available && !(untried_only && endpoint.tried);
}

std::uint64_t weight_of(const EndpointLoad& endpoint) {
  return std::uint64_t{endpoint.weight} * endpoint.share;
}

// Draws one of the eligible endpoints but for `excluded`, each as likely as its weight is heavy.
int draw_by_weight(std::span<const EndpointLoad> endpoints, bool untried_only, int excluded,
                   Rng& rng) {
  const auto may_be_drawn = [&](std::size_t i) {
    return static_cast<int>(i) != excluded && is_eligible(endpoints[i], untried_only);
  };
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < endpoints.size(); ++i) {
    if (may_be_drawn(i)) total += weight_of(endpoints[i]);
  }
  if (total == 0) return none;

  std::uint64_t drawn = rng.below(total);
  for (std::size_t i = 0; i < endpoints.size(); ++i) {
    if (!may_be_drawn(i)) continue;
    const std::uint64_t weight = weight_of(endpoints[i]);
    if (drawn < weight) return static_cast<int>(i);
    drawn -= weight;
  }
  return none;
}

double load_of(const EndpointLoad& endpoint) {
  return static_cast<double>(endpoint.in_flight) / static_cast<double>(weight_of(endpoint));
}

}  // namespace

int Balancer::pick(std::span<const EndpointLoad> endpoints, Rng& rng) {
  const bool untried_only =
      std::ranges::any_of(endpoints, [](const EndpointLoad& e) { return is_eligible(e, true); });
  return kind_ == BalanceKind::round_robin ? pick_round_robin(endpoints, untried_only)
                                           : pick_least_request(endpoints, untried_only, rng);
}

int Balancer::pick_round_robin(std::span<const EndpointLoad> endpoints, bool untried_only) {
  // Turns of another set of endpoints mean nothing for this one.
  if (turn_.size() != endpoints.size()) turn_.assign(endpoints.size(), 0);

  // Every endpoint earns its weight each turn; the richest is picked and pays what all have earned.
  std::int64_t earned = 0;
  int richest = none;
  for (std::size_t i = 0; i < endpoints.size(); ++i) {
    if (!is_eligible(endpoints[i], untried_only)) continue;
    const auto weight = static_cast<std::int64_t>(weight_of(endpoints[i]));
    turn_[i] += weight;
    earned += weight;
    const bool richer = richest == none || turn_[i] > turn_[static_cast<std::size_t>(richest)];
    if (richer) richest = static_cast<int>(i);
  }
  if (richest != none) turn_[static_cast<std::size_t>(richest)] -= earned;
  return richest;
}

int Balancer::pick_least_request(std::span<const EndpointLoad> endpoints, bool untried_only,
                                 Rng& rng) {
  const int first = draw_by_weight(endpoints, untried_only, none, rng);
  if (first == none) return none;
  const int second = draw_by_weight(endpoints, untried_only, first, rng);
  if (second == none) return first;
  // Equal loads keep the first, so that idle endpoints share by weight.
  const EndpointLoad& a = endpoints[static_cast<std::size_t>(first)];
  const EndpointLoad& b = endpoints[static_cast<std::size_t>(second)];
  return load_of(b) < load_of(a) ? second : first;
}

}  // namespace holdfast::policy
