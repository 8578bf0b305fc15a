// Balancer: picks one of several endpoints for an attempt.
//
// least_request: two endpoints drawn at random by weight, the one with fewer requests in flight for
// its weight wins (Mitzenmacher, "The Power of Two Choices", 2001). round_robin: smooth weighted
// round-robin (as nginx has it), so that a weight is spread over the turns and not bunched.
// An endpoint in its slow start has a share of its weight.
// A retry passes the endpoints already tried: they are avoided while there is another.
//
// Contract: pure; one for each worker and upstream. Weights are at least 1.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "holdfast/base/rng.h"

namespace holdfast::policy {

enum class BalanceKind : std::uint8_t { least_request, round_robin };

/// What the balancer needs to know of an endpoint at the moment of the choice.
struct EndpointLoad {
  std::uint32_t weight = 1;
  std::uint32_t in_flight = 0;
  std::uint32_t share = 100;  // of its weight, in percent: less during a slow start
  bool available = true;      // false: out of service (ejected, unhealthy, draining)
  bool tried = false;         // true: an earlier attempt of this request used it
};

class Balancer {
 public:
  explicit Balancer(BalanceKind kind) : kind_(kind) {}

  /// Index into `endpoints`, or -1 if none is available. The span may change its size between
  /// calls.
  int pick(std::span<const EndpointLoad> endpoints, Rng& rng);

 private:
  int pick_round_robin(std::span<const EndpointLoad> endpoints, bool untried_only);
  int pick_least_request(std::span<const EndpointLoad> endpoints, bool untried_only, Rng& rng);

  BalanceKind kind_;
  std::vector<std::int64_t> turn_;  // current weights of smooth round-robin
};

}  // namespace holdfast::policy
