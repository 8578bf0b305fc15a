// HealthCheckers: asks the endpoints of every upstream with a [health] path whether they are well,
// one checker for each endpoint and process, each on a connection of its own for each check.
//
//   GET path, Host as the endpoint is configured, User-Agent: holdfast/health-check,
//   Connection: close
//
// A check passes with a final answer of 2xx whose head came within `timeout`, connect included; the
// body is not read. The first check is made at once, the next ones every `interval`, 10 % more or
// less at random; a check never overlaps the one before it. What the checks say is SharedEndpoints'
// business (policy/health_check.h).
//
// Contract: single-threaded, on one loop of the process. sync() brings the checkers in line with
// what is in use: after a reload, and after any change of a list of endpoints. REQUIRES: it is
// called from the loop, not from within a checker.
// Limits: one connection for each endpoint; the head of an answer within the parser's limits.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "holdfast/net/network.h"
#include "holdfast/proxy/shared_upstream.h"
#include "holdfast/runtime/context.h"
#include "holdfast/runtime/task.h"

namespace holdfast::proxy {

class HealthCheckers {
 public:
  HealthCheckers(SharedUpstreams& upstreams, runtime::Context& context, net::Connector& connector,
                 net::Resolver& resolver);
  HealthCheckers(const HealthCheckers&) = delete;
  HealthCheckers& operator=(const HealthCheckers&) = delete;
  ~HealthCheckers();

  void sync();

 private:
  class Checker;

  SharedUpstreams& upstreams_;
  runtime::Context& context_;
  net::Connector& connector_;
  net::Resolver& resolver_;
  std::map<const SharedEndpoint*, std::unique_ptr<Checker>> checkers_;
};

}  // namespace holdfast::proxy
