// TlsLinks: TLS between the replicas and the upstream, and between clients and the replicas;
// neither the upstream nor the clients know of it: each connection becomes two, with OpenSSL's own
// server or client between them. What one end does to its half (bytes, FIN, reset, to take nothing)
// happens to the other, once the handshake is over.
//
// In the words of TLS
//   - FIN is close_notify; the transport's FIN comes behind it or not at all, and perhaps something
//     that nobody may read any more.
//   - A reset is a transport that ends without close_notify: by RST, or by FIN, between two records
//     or within one. To who reads, it is a cut in any case.
//   - Some handshakes fail. The upstream answers by a reset, an end, by what is no TLS, or by
//     nothing; so do clients, or they stop in the middle of their first words, or have no
//     certificate where one is asked for. Nobody may serve such a client. Other clients take their
//     time.
//   - What a replica has said and the other end does not take lies between, as with a kernel, and
//     is given up a while after the replica has left.
//
// Contract: all of this is drawn from chances of its own, so that the histories of seeds without
// TLS stay as they are. What is random in TLS itself changes no history: nothing depends on its
// bytes, or on how many there are. calm(): from then on every handshake succeeds.
// Ownership: outlives the replicas; a link lives as long as this.
#pragma once

#include <list>
#include <memory>
#include <optional>

#include "holdfast/net/network.h"
#include "holdfast/net/tls_context.h"
#include "holdfast/net/tls_credentials.h"
#include "holdfast/net/tls_server_context.h"
#include "tests/sim/chance.h"
#include "tests/sim/ledger.h"
#include "tests/support/fake_network.h"
#include "tests/support/tls_peer.h"

namespace holdfast::sim {

/// A client's connection: its end, and what its client must know of the TLS on it.
struct Approach {
  std::shared_ptr<test::Peer> peer = {};
  bool over_tls = false;
  Duration handshake{};     // so long, at most, until a replica hears what is said
  bool is_strange = false;  // its handshake comes to nothing
};

class TlsLinks {
 public:
  TlsLinks(test::World& world, Ledger& ledger, std::uint64_t seed);
  ~TlsLinks();

  /// What replicas connect with.
  static std::shared_ptr<net::TlsClientCredentials> credentials();
  /// Another replica's listener; nullopt: it is one without TLS.
  std::optional<net::TlsServerOptions> draw_listener();

  /// A connection to the upstream as a replica has it, made of one as the upstream has it.
  std::unique_ptr<net::Stream> to_upstream(std::unique_ptr<net::Stream> plain);
  /// A client's connection as a replica accepts it, made of one as the client has it.
  std::unique_ptr<net::Stream> of_client(std::unique_ptr<net::Stream> plain,
                                         const net::TlsServerOptions& listener, Approach& approach);
  void calm() { calm_ = true; }
  /// Everybody has left: whether nothing is held, and the handshakes that failed were told.
  void judge() const;

 private:
  class Link;
  struct Plan;

  std::unique_ptr<net::Stream> link(std::unique_ptr<net::Stream> plain, const Plan& plan);

  test::World& world_;
  Ledger& ledger_;
  Chance chance_;         // of connections to the upstream
  Chance client_chance_;  // of those of clients
  const std::uint64_t seed_;
  const int upstream_version_;
  bool calm_ = false;
  const test::TlsPeer* upstream_ = nullptr;  // one that has shaken hands, or is about to
  const test::TlsPeer* client_ = nullptr;
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
