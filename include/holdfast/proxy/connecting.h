// Connecting: how an attempt whose endpoint was picked comes to a connection: an address, where the
// endpoint is a host name's, and a connection to it or to another address of the name.
//
// A look-up that is needed is waited for; one that would only renew a stale answer for half of the
// time. The list of endpoints may change while the attempt waits, for a look-up or for a place in
// the pool: then it picks anew, as it was picked before.
//
// Contract: single-threaded. The attempt has a lease afterwards, or an error: those of
// ClusterNames::wait_for_answer(), EndpointPool::acquire() and Attempt::pick(). At every moment its
// pool is the one that is spoken to, or will be. Destroying the task leaves nothing behind.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "holdfast/proxy/attempt.h"
#include "holdfast/runtime/task.h"

namespace holdfast::proxy {

/// By what an attempt's endpoint is picked (Cluster::pick). What it refers to may grow meanwhile.
struct Choice {
  const std::vector<PoolPin>& tried;
  std::optional<std::uint64_t> key;
};

/// `fresh`: no connection that was used before. Look-ups and the connect take `patience` together;
/// all of it, waiting for a place too, ends by `deadline`. REQUIRES: the attempt has a pool, and
/// neither lease nor error.
runtime::Task<void> connect(Attempt& attempt, Choice choice, bool fresh,
                            std::optional<Duration> patience, TimePoint deadline,
                            runtime::Context& context);

}  // namespace holdfast::proxy
