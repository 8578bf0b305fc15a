// Connector, Resolver and Listener: how streams come to be. The interfaces are what proxy/ knows;
// net/uv_network.h has them over libuv, a simulation has its own.
#pragma once

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "holdfast/base/result.h"
#include "holdfast/net/stream.h"
#include "holdfast/runtime/task.h"

namespace holdfast::net {

class Connector {
 public:
  virtual ~Connector() = default;
  /// Connects, or fails with connection_refused, connection_timeout (the deadline), or
  /// destination_ip_unroutable. The address must outlive the task.
  virtual runtime::Task<Result<std::unique_ptr<Stream>>> connect(const Address& address,
                                                                 TimePoint deadline) = 0;
};

class Resolver {
 public:
  virtual ~Resolver() = default;
  /// Every address of a name, as getaddrinfo orders them (so /etc/hosts and search domains work),
  /// off the loop's thread. Fails with dns_error or dns_timeout (the deadline). The name must
  /// outlive the task; a destroyed task leaves the look-up to end by itself.
  virtual runtime::Task<Result<std::vector<Address>>> resolve(std::string_view host,
                                                              std::uint16_t port,
                                                              TimePoint deadline) = 0;
};

}  // namespace holdfast::net
