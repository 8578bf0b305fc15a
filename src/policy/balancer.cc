#include "holdfast/policy/balancer.h"

#include <algorithm>
#include <cmath>

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

/// The finalizer of splitmix64: every bit of the input moves every bit of the output.
std::uint64_t mixed(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

/// The larger the weight, the likelier the highest: -w / ln(u), with u uniform in (0, 1).
double score_of(const EndpointLoad& endpoint, std::uint64_t key) {
  const std::uint64_t drawn = mixed(endpoint.hash ^ mixed(key)) >> 11;
  const double uniform = (static_cast<double>(drawn) + 0.5) * 0x1p-53;
  return -static_cast<double>(endpoint.weight) / std::log(uniform);
}

int pick_by_hash(std::span<const EndpointLoad> endpoints, bool untried_only, std::uint64_t key) {
  int best = none;
  double best_score = 0;
  for (std::size_t i = 0; i < endpoints.size(); ++i) {
    if (!is_eligible(endpoints[i], untried_only)) continue;
    const double score = score_of(endpoints[i], key);
    if (best != none && score <= best_score) continue;
    best = static_cast<int>(i);
    best_score = score;
  }
  return best;
}

double load_of(const EndpointLoad& endpoint) {
  return static_cast<double>(endpoint.in_flight) / static_cast<double>(weight_of(endpoint));
}

}  // namespace

std::uint64_t stable_hash(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325u;  // FNV-1a
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return mixed(hash);
}

int Balancer::pick(std::span<const EndpointLoad> endpoints, Rng& rng,
                   std::optional<std::uint64_t> key) {
  const bool untried_only =
      std::ranges::any_of(endpoints, [](const EndpointLoad& e) { return is_eligible(e, true); });
  if (kind_ == BalanceKind::consistent_hash && key) {
    return pick_by_hash(endpoints, untried_only, *key);
  }
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
