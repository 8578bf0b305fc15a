// TlsClientContext: what all TLS connections to one kind of server have in common: whom to trust,
// and who we are. TLS 1.2 and 1.3, no renegotiation.
//
// Contract: immutable once made, so threads share it. Making one reads files, and costs some 20 ms
// with the system's CAs: never on a loop's thread. A key with a passphrase is refused; nobody is
// asked for one. Where an application protocol is named (ALPN, RFC 7301) it is offered, and a
// server that picks another one is refused by tls_connect(); one that picks none speaks it.
// Ownership: a session keeps what it needs, and may outlive its context.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "holdfast/base/result.h"
#include "holdfast/base/time.h"
#include "holdfast/net/tls_files.h"

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
  using Made = Result<std::unique_ptr<const TlsClientContext>, TlsFileError>;
  /// `protocol`: what is spoken over it, such as "http/1.1"; "": nothing is said of it.
  static Made make(const TlsClientOptions& options, std::string_view protocol = "");
  /// The same of what the files hold now. To have none of the system's authorities is no failure of
  /// make(): but where there were some, it is one here.
  Made read_again() const;
  /// True if that may be something else than this was made of. Blocks, as read_again() does.
  bool files_changed() const { return files_.changed(); }
  /// When the certificate that we show ends; nullopt: none is shown.
  std::optional<WallTime> certificate_end() const;

  const TlsClientOptions& options() const { return options_; }
  const std::string& protocol() const { return protocol_; }
  /// The name (or address) that a connection to `host` asks for and checks.
  std::string_view name_for(std::string_view host) const;
  /// A session, not begun, for `name`, of which a name that is no address goes into SNI.
  /// Null: no server can have such a name. REQUIRES: `name` is not empty.
  TlsSession session(std::string_view name) const;

 private:
  using Handle = std::unique_ptr<ssl_ctx_st, SslFree>;
  TlsClientContext(Handle handle, TlsFiles files, const TlsClientOptions& options,
                   std::string_view protocol);

  Handle handle_;
  TlsFiles files_;
  TlsClientOptions options_;
  std::string protocol_;
};

/// Has `context` show the certificate (and its chain) of the one file, with the key of the other.
Result<void, TlsFileError> use_identity(ssl_ctx_st& context, const std::string& certificate,
                                        const std::string& key);

/// An error if `file`, of the key `key`, is no regular file: reading it might never end. One that
/// is missing is for its reader to tell.
Result<void, TlsFileError> check_regular(std::string_view key, const std::string& file);

/// When the certificate that `context` shows ends.
std::optional<WallTime> end_of_certificate(const ssl_ctx_st& context);

/// Why OpenSSL's last call on this thread failed, e.g. "wrong version number"; takes it.
std::string take_openssl_reason();

}  // namespace holdfast::net
