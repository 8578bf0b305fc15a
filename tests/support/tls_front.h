// TlsFront: TLS by OpenSSL before a test's server that speaks none, over real sockets: it shakes
// hands, and passes bytes on both ways. It shares no code with the product.
//
// Contract: a thread for each connection. What the target does to a connection is done to the
// client's: its end becomes close_notify and FIN (or FIN alone, see Options), its reset a reset. A
// client whose handshake fails never reaches the target. The destructor ends every connection and
// joins. Thread-safe: everything public.
#pragma once

#include <openssl/ssl.h>

#include <atomic>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "tests/support/certificates.h"
#include "tests/support/socket.h"

namespace holdfast::testing {

class TlsFront {
 public:
  struct Options {
    X509* client_ca = nullptr;  // set: a client needs a certificate of its
    int oldest = TLS1_2_VERSION;
    int newest = TLS1_3_VERSION;
    bool says_goodbye = true;  // close_notify before FIN
    std::string chain = "";    // file: certificate and chain, instead of the identity's own
  };

  TlsFront(std::string target, const Certificate& identity, const Options& options);
  TlsFront(std::string target, const Certificate& identity)
      : TlsFront(std::move(target), identity, Options()) {}
  ~TlsFront();
  TlsFront(const TlsFront&) = delete;
  TlsFront& operator=(const TlsFront&) = delete;

  const std::string& address() const { return listener_.address(); }
  /// As `endpoints` has it.
  std::string url() const { return "https://" + address(); }
  /// Connections from now on are shown another certificate.
  void use(const Certificate& identity);

  /// Connections accepted; those whose handshake was completed; of these, those that took up an
  /// earlier session.
  std::size_t connections() const { return accepted_; }
  std::size_t handshakes() const { return shaken_; }
  std::size_t resumed() const { return resumed_; }
  /// The name that the last client asked for (SNI); "" without one.
  std::string asked_name() const;

 private:
  struct Free {
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
    void operator()(SSL* session) const { SSL_free(session); }
  };
  struct Connection {
    Socket client;
    Socket target;
    std::thread thread;
  };

  void accept_connections();
  void serve(Connection& connection);

  const std::string target_;
  const Options options_;
  ListeningSocket listener_;
  std::unique_ptr<SSL_CTX, Free> context_;
  mutable std::mutex mutex_;  // of what follows
  std::list<Connection> connections_;
  std::string asked_name_;
  std::atomic<std::size_t> accepted_{0};
  std::atomic<std::size_t> shaken_{0};
  std::atomic<std::size_t> resumed_{0};
  std::atomic<bool> stopping_{false};
  std::thread acceptor_;
};

}  // namespace holdfast::testing
