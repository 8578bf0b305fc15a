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
  /// REQUIRES: a stream has failed. One of a client that has failed too was of no more use.
  TunnelEnd failed() const {
    return client.failure() ? TunnelEnd::client_failed : TunnelEnd::upstream_failed;
  }
  /// REQUIRES: the time is over.
  TunnelEnd overdue() const {
    return client.sending() || upstream.sending() ? TunnelEnd::untaken : TunnelEnd::silent;
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

/// One direction, until the sender's FIN or a cut.
runtime::Task<TunnelEnd> pump(net::Stream& from, net::Stream& to, Shared& shared,
                              std::uint64_t& count) {
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
        if (!in_time && shared.is_over()) co_return shared.overdue();
      }
    }
    if (to.failure() || from.failure()) co_return shared.failed();
    if (!from.input().empty()) continue;
    if (from.ended()) {
      to.finish();
      co_return TunnelEnd::both_ended;
    }
    const TimePoint deadline = shared.deadline();
    const bool in_time = co_await from.until_input(deadline);
    // The other direction may have moved meanwhile: only silence in both ends the tunnel.
    if (!in_time && shared.is_over()) co_return shared.overdue();
  }
}

}  // namespace

runtime::Task<TunnelEnd> run_tunnel(net::Stream& client, net::Stream& upstream,
                                    const TunnelLimits& limits, runtime::Context& context,
                                    TunnelCounts& counts) {
  Shared shared(client, upstream, limits, context);
  runtime::Task<TunnelEnd> up = pump(client, upstream, shared, counts.to_upstream);
  runtime::Task<TunnelEnd> down = pump(upstream, client, shared, counts.to_client);
  co_await runtime::first_of(up, down);
  runtime::Task<TunnelEnd>& first = up.done() ? up : down;
  runtime::Task<TunnelEnd>& second = up.done() ? down : up;
  const TunnelEnd end = co_await first;
  if (end != TunnelEnd::both_ended) co_return end;
  const TunnelEnd rest = co_await second;
  co_return rest;
}

}  // namespace holdfast::proxy
