// TlsServerContext: what all TLS connections of one listener have in common: who we are, and which
// clients are let in. TLS 1.2 (with ephemeral keys and AEAD) and 1.3, no renegotiation; http/1.1
// and http/1.0 are the application protocols (ALPN, RFC 7301): a client that offers only others is
// refused.
//
// Contract: immutable once made, so threads share it. Making one reads files: never on a loop's
// thread. Clients may resume within session_life, on any thread, by tickets (RFC 8446 §4.6.1,
// RFC 5077); with TLS 1.3 each handshake gives the next. Their keys are the context's own, so no
// session outlives what it was verified under; nor does one outlive the chain of its client's
// certificate: the handshake is a whole one then.
// Ownership: a session keeps what it needs, and may outlive its context.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "holdfast/base/time.h"
#include "holdfast/net/tls_context.h"
#include "holdfast/net/tls_credentials.h"

namespace holdfast::net {

/// A `tls` table of a listener.
struct TlsServerOptions {
  std::string cert;       // file of our PEM certificate and its chain
  std::string key;        // file of its PEM key
  std::string client_ca;  // file of PEM certificates that clients' must lead to; "": none is asked
  bool operator==(const TlsServerOptions&) const = default;
};

class TlsServerContext {
 public:
  static constexpr std::chrono::seconds session_life{300};

  using Made = Result<std::unique_ptr<const TlsServerContext>, TlsFileError>;
  static Made make(const TlsServerOptions& options);
  /// The same of what the files hold now.
  Made read_again() const { return make(options_); }
  /// True if that may be something else than this was made of. Blocks, as read_again() does.
  bool files_changed() const { return files_.changed(); }
  /// When our certificate ends.
  std::optional<WallTime> certificate_end() const { return end_of_certificate(*handle_); }

  const TlsServerOptions& options() const { return options_; }
  /// A session, not begun, with a client.
  TlsSession session() const;

 private:
  using Handle = std::unique_ptr<ssl_ctx_st, SslFree>;
  TlsServerContext(Handle handle, TlsFiles files, const TlsServerOptions& options);

  Handle handle_;
  TlsFiles files_;
  TlsServerOptions options_;
};

using TlsServerCredentials = TlsCredentials<TlsServerContext>;

}  // namespace holdfast::net
