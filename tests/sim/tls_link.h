// TlsLinks: TLS between the replicas and the upstream, which knows nothing of it: each connection
// becomes two, with OpenSSL's server between them. What one end does to its half (bytes, FIN,
// reset, to take nothing) happens to the other, once the handshake is over. Some handshakes fail:
// they are answered by a reset, an end, by what is no TLS, or by nothing.
//
// Contract: which handshakes fail is drawn from a chance of its own, so that the histories of
// seeds without TLS stay as they are. What is random in TLS itself changes no history: nothing
// depends on its bytes. calm(): from then on every handshake succeeds.
// Ownership: outlives the replicas; a link lives as long as this.
#pragma once

#include <list>
#include <memory>

#include "holdfast/net/network.h"
#include "holdfast/net/tls_context.h"
#include "holdfast/net/tls_credentials.h"
#include "tests/sim/chance.h"
#include "tests/support/fake_network.h"
#include "tests/support/tls_peer.h"

namespace holdfast::sim {

class TlsLinks {
 public:
  TlsLinks(test::World& world, std::uint64_t seed);
  ~TlsLinks();

  /// What replicas connect with.
  static std::shared_ptr<net::TlsClientCredentials> credentials();

  /// A connection to the upstream as a replica has it, made of one as the upstream has it.
  std::unique_ptr<net::Stream> link(std::unique_ptr<net::Stream> plain);
  void calm() { calm_ = true; }

 private:
  class Link;

  test::World& world_;
  Chance chance_;
  bool calm_ = false;
  std::list<std::unique_ptr<Link>> links_;
};

/// A network whose connections are linked.
class TlsReach final : public net::Connector {
 public:
  TlsReach(net::Connector& below, TlsLinks& links) : below_(below), links_(links) {}

  runtime::Task<Result<std::unique_ptr<net::Stream>>> connect(const net::Address& address,
                                                              TimePoint deadline) override;

 private:
  net::Connector& below_;
  TlsLinks& links_;
};

}  // namespace holdfast::sim
