// Simulation: one seed from its beginning to its end. Clients come while things happen; then the
// faults end, everything comes to rest, every key is asked for once more, and nothing may be left.
//
// Contract: the same seed gives the same history, on any machine. Everything lives in this thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace holdfast::sim {

struct Outcome {
  std::vector<std::string> violations;
  std::string history;  // every event, a line for each
  std::uint64_t requests = 0;
};

/// What replicas speak with upstreams.
enum class Transport : std::uint8_t { plain, tls };

Outcome run(std::uint64_t seed, Transport transport = Transport::plain);

}  // namespace holdfast::sim
