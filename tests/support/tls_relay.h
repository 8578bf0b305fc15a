// TLS by OpenSSL beside a test's peer that speaks none, over real sockets. It shares no code with
// the product.
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

/// Passes bytes both ways until both have ended or one has failed. An end is passed on as an end:
/// close_notify as FIN, FIN as close_notify (if it `says_goodbye`) and FIN. Whatever else ends one
/// side is a cut, and a reset for both. REQUIRES: SSL_MODE_AUTO_RETRY is off.
void relay_tls(SSL& session, Socket& secure, Socket& plain, bool says_goodbye = true);

/// TlsRelay: where a client without TLS connects to in place of a server with it.
/// Contract: a thread for each connection. A connection whose handshake fails is reset. The
/// destructor ends every connection and joins.
class TlsRelay {
 public:
  struct Options {
    std::string ca;    // file: whom to trust
    std::string name;  // that the server must have
    const Certificate* client = nullptr;
    bool resumes = false;  // the newest session, where there is one
  };

  /// `target` as a socket's address.
  TlsRelay(std::string target, const Options& options);
  ~TlsRelay();
  TlsRelay(const TlsRelay&) = delete;
  TlsRelay& operator=(const TlsRelay&) = delete;

  const std::string& address() const { return listener_.address(); }
  /// Handshakes that ended well, and those that did not.
  std::size_t handshakes() const { return shaken_; }
  std::size_t failures() const { return failed_; }

 private:
  struct Free {
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
    void operator()(SSL* session) const { SSL_free(session); }
    void operator()(SSL_SESSION* session) const { SSL_SESSION_free(session); }
  };
  struct Connection {
    Socket plain;
    Socket secure;
    std::thread thread;
    bool ended = false;
  };

  void accept_connections();
  void serve(Connection& connection);
  bool connect(Connection& connection, SSL& session);
  void join_ended();
  /// OpenSSL's callback: the server has given a ticket.
  static int keep(SSL* connection, SSL_SESSION* session);

  const std::string target_;
  const std::string name_;
  ListeningSocket listener_;
  std::unique_ptr<SSL_CTX, Free> context_;
  std::mutex mutex_;  // of the next two
  std::list<Connection> connections_;
  std::unique_ptr<SSL_SESSION, Free> newest_;
  std::atomic<std::size_t> shaken_{0};
  std::atomic<std::size_t> failed_{0};
  std::atomic<bool> stopping_{false};
  std::thread acceptor_;
};

}  // namespace holdfast::testing
