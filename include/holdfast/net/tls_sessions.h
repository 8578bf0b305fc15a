// TlsSessions: what connections to one server leave for later ones, so that a handshake costs both
// ends a fraction of a whole one (RFC 8446 §2.2, RFC 5077).
//
// Contract: single-threaded.
// - Sessions are of one context, the one that the newest connection began under. A newer context
//   (another configuration, a changed file) forgets them, and an older one's connections leave
//   nothing more: what was verified under one is never taken for verified under another.
// - None is used when a certificate of the chain that it was verified by has ended.
// - A ticket of TLS 1.3 is used once, a session of TLS 1.2 until a newer one takes its place.
// Limits: the newest `limit` are kept. Whether one is too old is OpenSSL's to know.
// Ownership: outlives the connections that were given to begin().
#pragma once

#include <cstddef>
#include <deque>
#include <memory>

#include "holdfast/net/tls_context.h"

struct ssl_session_st;

namespace holdfast::net {

class TlsSessions {
 public:
  static constexpr std::size_t limit = 16;

  TlsSessions() = default;
  TlsSessions(const TlsSessions&) = delete;
  TlsSessions& operator=(const TlsSessions&) = delete;

  /// Offers what is kept, if anything, in the handshake of `connection`, and keeps what the server
  /// gives it. REQUIRES: `connection` is to the server of all others, and has not begun.
  void begin(ssl_st& connection);
  void forget() { kept_.clear(); }
  std::size_t size() const { return kept_.size(); }

 private:
  friend class TlsClientContext;  // which is told by OpenSSL
  struct Free {
    void operator()(ssl_session_st* session) const;
  };
  using Session = std::unique_ptr<ssl_session_st, Free>;

  /// A server has given `connection` this, of which a reference is ours if the answer is 1.
  static int on_given(ssl_st* connection, ssl_session_st* session);
  void keep(Session session);
  Session take();

  std::unique_ptr<ssl_ctx_st, SslFree> context_;  // whose sessions they are
  std::deque<Session> kept_;                      // the newest is at the back
};

}  // namespace holdfast::net
