#include "holdfast/proxy/tunnel.h"

#include <algorithm>

#include "holdfast/policy/timeout.h"

namespace holdfast::proxy {
namespace {

struct Shared {
  const TunnelLimits& limits;
  runtime::Context& context;
  TimePoint last_byte;

  TimePoint deadline() const {
    return std::min(limits.deadline, policy::deadline_after(last_byte, limits.idle));
  }
};

/// One direction. True if it ended with the sender's FIN.
runtime::Task<bool> pump(net::Stream& from, net::Stream& to, Shared& shared, std::uint64_t& count) {
  for (;;) {
    if (!from.input().empty()) {
      count += from.input().size();
      shared.last_byte = shared.context.now();
      to.send(from.input());
      from.consume(from.input().size());
      while (to.sending() && !to.failure()) {
        const TimePoint deadline = shared.deadline();
        const bool in_time = co_await to.until_sent(deadline);
        if (!in_time && shared.context.now() >= shared.deadline()) co_return false;
      }
    }
    if (to.failure() || from.failure()) co_return false;
    if (!from.input().empty()) continue;
    if (from.ended()) {
      to.finish();
      co_return true;
    }
    const TimePoint deadline = shared.deadline();
    const bool in_time = co_await from.until_input(deadline);
    // The other direction may have moved meanwhile: only silence in both ends the tunnel.
    if (!in_time && shared.context.now() >= shared.deadline()) co_return false;
  }
}

}  // namespace

runtime::Task<bool> run_tunnel(net::Stream& client, net::Stream& upstream,
                               const TunnelLimits& limits, runtime::Context& context,
                               TunnelCounts& counts) {
  Shared shared{limits, context, context.now()};
  runtime::Task<bool> up = pump(client, upstream, shared, counts.to_upstream);
  runtime::Task<bool> down = pump(upstream, client, shared, counts.to_client);
  co_await runtime::first_of(up, down);
  if (up.done()) {
    const bool clean = co_await up;
    if (!clean) co_return false;
    const bool rest = co_await down;
    co_return rest;
  }
  const bool clean = co_await down;
  if (!clean) co_return false;
  const bool rest = co_await up;
  co_return rest;
}

}  // namespace holdfast::proxy
