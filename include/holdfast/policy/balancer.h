// Balancer: picks one of several endpoints for an attempt.
//
// least_request: two endpoints drawn at random by weight, the one with fewer requests in flight for
// its weight wins (Mitzenmacher, "The Power of Two Choices", 2001). round_robin: smooth weighted
// round-robin (as nginx has it), so that a weight is spread over the turns and not bunched.
// consistent_hash: rendezvous hashing (Thaler & Ravishankar, "Using Name-Based Mappings to Increase
// Hit Rates", 1998) with weights (Schindelhauer & Schomaker, "Weighted Distributed Hash Tables",
// 2005): each endpoint has a score of the key, the highest wins. An endpoint that goes takes away
// its own keys only, one that comes takes its share of each of the others', and the order in which
// they are listed says nothing. A request without a key goes as by least_request.
//
// An endpoint in its slow start has a share of its weight, but for consistent_hash, where keys
// would move twice.
// A retry passes the endpoints already tried: they are avoided while there is another.
//
// Contract: pure; one for each worker and upstream. Weights are at least 1.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "holdfast/base/rng.h"

namespace holdfast::policy {

enum class BalanceKind : std::uint8_t { least_request, round_robin, consistent_hash };

/// Of a key or of an endpoint's name: the same in every process and version. Not a secret.
std::uint64_t stable_hash(std::string_view text);

/// What the balancer needs to know of an endpoint at the moment of the choice.
struct EndpointLoad {
  std::uint32_t weight = 1;
  std::uint32_t in_flight = 0;
  std::uint32_t share = 100;  // of its weight, in percent: less during a slow start
  bool available = true;      // false: out of service (ejected, unhealthy, draining)
  bool tried = false;         // true: an earlier attempt of this request used it
  std::uint64_t hash = 0;     // stable_hash() of its name
};

class Balancer {
 public:
  explicit Balancer(BalanceKind kind) : kind_(kind) {}

  /// Index into `endpoints`, or -1 if none is available. The span may change its size between
  /// calls.
  int pick(std::span<const EndpointLoad> endpoints, Rng& rng,
           std::optional<std::uint64_t> key = std::nullopt);

 private:
  int pick_round_robin(std::span<const EndpointLoad> endpoints, bool untried_only);
  int pick_least_request(std::span<const EndpointLoad> endpoints, bool untried_only, Rng& rng);

  BalanceKind kind_;
  std::vector<std::int64_t> turn_;  // current weights of smooth round-robin
};

}  // namespace holdfast::policy
