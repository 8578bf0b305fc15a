// A tunnel: bytes both ways between two streams after a 101 (or CONNECT), until both have ended.
//
// Contract: a FIN is passed on, and the other direction goes on until it ends too. A failure of
// either stream, or `idle` of silence in both directions, ends the tunnel; silent is who neither
// sends nor takes anything. It closes nothing: who sees it cut resets both streams, lest one of
// them takes a FIN for the other's last word. Memory: one read in flight each way.
#pragma once

#include <cstdint>
#include <optional>

#include "holdfast/net/stream.h"
#include "holdfast/runtime/context.h"
#include "holdfast/runtime/task.h"

namespace holdfast::proxy {

struct TunnelLimits {
  std::optional<Duration> idle;
  TimePoint deadline = never;
};

struct TunnelCounts {
  std::uint64_t to_upstream = 0;
  std::uint64_t to_client = 0;
};

/// How it ended: both sides did, or it was cut. Silent and untaken are idle or the deadline: nobody
/// said anything, or what was said was not taken.
enum class TunnelEnd : std::uint8_t { both_ended, client_failed, upstream_failed, silent, untaken };

runtime::Task<TunnelEnd> run_tunnel(net::Stream& client, net::Stream& upstream,
                                    const TunnelLimits& limits, runtime::Context& context,
                                    TunnelCounts& counts);

}  // namespace holdfast::proxy
