// TlsClientContext: what all TLS connections to one kind of server have in common: whom to trust,
// and who we are. TLS 1.2 and 1.3, no renegotiation.
//
// Contract: immutable once made, so threads share it. Making one reads files, and costs some 20 ms
// with the system's CAs: never on a loop's thread. A key with a passphrase is refused; nobody is
// asked for one.
// Ownership: a session keeps what it needs, and may outlive its context.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "holdfast/base/result.h"

struct ssl_ctx_st;
struct ssl_st;

namespace holdfast::net {

/// A `tls` table of the configuration, for a connection that we make.
struct TlsClientOptions {
  std::string ca;           // file of PEM certificates that are trusted; "": the system's
  std::string server_name;  // asked for and checked; "": the name that was connected to
  bool verify = true;       // the chain and the name
  std::string cert;         // file of our PEM certificate and its chain; "": none
  std::string key;          // file of its PEM key
  bool operator==(const TlsClientOptions&) const = default;
};

/// A file of TlsClientOptions that cannot be used.
struct TlsFileError {
  std::string key;  // "ca", "cert" or "key"
  std::string file;
  std::string reason;
  /// "ca /etc/ca.pem: No such file or directory"
  std::string text() const { return key + " " + file + ": " + reason; }
};

struct SslFree {
  void operator()(ssl_ctx_st* context) const;
  void operator()(ssl_st* session) const;
};
using TlsSession = std::unique_ptr<ssl_st, SslFree>;

class TlsClientContext {
 public:
  static Result<std::unique_ptr<const TlsClientContext>, TlsFileError> make(
      const TlsClientOptions& options);

  /// The name (or address) that a connection to `host` asks for and checks.
  std::string_view name_for(std::string_view host) const;
  /// A session, not begun, for `name`, of which a name that is no address goes into SNI.
  /// Null: no server can have such a name. REQUIRES: `name` is not empty.
  TlsSession session(std::string_view name) const;

 private:
  using Handle = std::unique_ptr<ssl_ctx_st, SslFree>;
  TlsClientContext(Handle handle, std::string server_name);

  Handle handle_;
  std::string server_name_;
};

/// Why OpenSSL's last call on this thread failed, e.g. "wrong version number"; takes it.
std::string take_openssl_reason();

}  // namespace holdfast::net
