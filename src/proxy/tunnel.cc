#include "holdfast/proxy/tunnel.h"

#include <algorithm>

#include "holdfast/policy/timeout.h"

namespace holdfast::proxy {
namespace {

struct Shared {
  Shared(net::Stream& one, net::Stream& other, const TunnelLimits& its_limits,
         runtime::Context& its_context)
      : client(one), upstream(other), limits(its_limits), context(its_context) {}

  TimePoint deadline() const {
    return std::min(limits.deadline, policy::deadline_after(last_byte, limits.idle));
  }
  void moved() {
    last_byte = context.now();
    last_taken = taken(client) + taken(upstream);
  }
  /// True if the time is over. A peer that takes what was sent, however slowly, is not silent.
  bool is_over() {
    if (taken(client) + taken(upstream) != last_taken) moved();
    return context.now() >= deadline();
  }
  static std::uint64_t taken(const net::Stream& stream) {
    return stream.bytes_sent() - stream.queued();
  }

  net::Stream& client;
  net::Stream& upstream;
  const TunnelLimits& limits;
  runtime::Context& context;
  TimePoint last_byte = context.now();
  std::uint64_t last_taken = taken(client) + taken(upstream);
};

/// One direction. True if it ended with the sender's FIN.
runtime::Task<bool> pump(net::Stream& from, net::Stream& to, Shared& shared, std::uint64_t& count) {
  for (;;) {
    if (!from.input().empty()) {
      count += from.input().size();
      to.send(from.input());
      from.consume(from.input().size());
      shared.moved();
      while (to.sending() && !to.failure()) {
        const TimePoint deadline = shared.deadline();
        const bool in_time = co_await to.until_sent(deadline);
        if (in_time) shared.moved();
        if (!in_time && shared.is_over()) co_return false;
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
    if (!in_time && shared.is_over()) co_return false;
  }
}

}  // namespace

runtime::Task<bool> run_tunnel(net::Stream& client, net::Stream& upstream,
                               const TunnelLimits& limits, runtime::Context& context,
                               TunnelCounts& counts) {
  Shared shared(client, upstream, limits, context);
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
