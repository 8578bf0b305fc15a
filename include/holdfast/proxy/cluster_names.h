// ClusterNames: the host names among a cluster's endpoints, on one worker: each is looked up when
// it is first needed and, while it is used, every dns_refresh. What is found goes to
// SharedEndpoints, where each address is an endpoint of its own, for all workers.
//
// A look-up that fails, in whichever way, changes nothing: the last good answer is used for as long
// as no other comes. After one that failed the next begins a second later. One that has not been
// asked about for twice dns_refresh (nobody used it) is stale: who needs a new connection waits for
// the look-up, but no longer than half of its time to connect.
//
// Contract: single-threaded. Look-ups have a patience of their own (5 s): a name server slower than
// a request's connect time-out still gives the next request its answer. One look-up for each name
// at a time. Destroying it ends those under way.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "holdfast/base/result.h"
#include "holdfast/net/network.h"
#include "holdfast/proxy/config.h"
#include "holdfast/proxy/shared_endpoints.h"
#include "holdfast/runtime/context.h"
#include "holdfast/runtime/scope.h"
#include "holdfast/runtime/task.h"

namespace holdfast::proxy {

class ClusterNames {
 public:
  /// References outlive it.
  ClusterNames(const UpstreamConfig& config, SharedEndpoints& endpoints, runtime::Context& context,
               net::Resolver& resolver);
  ~ClusterNames();
  ClusterNames(const ClusterNames&) = delete;
  ClusterNames& operator=(const ClusterNames&) = delete;

  /// Begins the look-ups that are due. Costs one comparison without any.
  void refresh() {
    if (next_look_up_ != never && context_.now() >= next_look_up_) begin_look_ups();
  }
  /// True if its addresses are too old to be used without asking. REQUIRES: refresh() was called.
  bool is_stale(const net::Endpoint& endpoint) { return find(endpoint).stale; }
  /// Waits for the look-up that is under way. Fails with dns_error, or dns_timeout (the deadline);
  /// for a name that was not found a moment ago at once.
  runtime::Task<Result<void>> wait_for_answer(const net::Endpoint& endpoint, TimePoint deadline);
  /// The last good answer; empty without one.
  const std::vector<net::Address>& addresses(const net::Endpoint& endpoint) {
    return find(endpoint).addresses;
  }

 private:
  struct Name {
    explicit Name(const net::Endpoint& of) : endpoint(of), text(of.text()) {}
    const net::Endpoint& endpoint;
    const std::string text;
    TimePoint next = TimePoint::min();   // when it is to be looked up
    TimePoint ended = TimePoint::min();  // the last look-up
    bool asking = false;
    bool stale = false;
    std::uint64_t look_ups = 0;
    Error error;  // of the last look-up, where there is no address
    std::vector<net::Address> addresses;
    std::vector<runtime::DeferredSignal*> waiting;
  };
  class Wait;

  void begin_look_ups();
  void begin_look_up(Name& name, TimePoint now);
  runtime::Task<void> look_up(Name& name);
  Name& find(const net::Endpoint& endpoint);
  void plan();

  const Duration refresh_;
  SharedEndpoints& endpoints_;
  runtime::Context& context_;
  net::Resolver& resolver_;
  std::deque<Name> names_;
  TimePoint next_look_up_ = never;
  runtime::Scope background_;
};

}  // namespace holdfast::proxy
