// ClientIdentity: what a connection over TLS tells of its client.
//
// Contract: a certificate's text comes from outside. Names with other characters than visible ASCII
// are left out, so that none can end a header's line; the whole is at most forwarded_limit bytes,
// above which only the hash is told.
#pragma once

#include <cstddef>
#include <string>

struct x509_st;

namespace holdfast::net {

struct ClientIdentity {
  static constexpr std::size_t forwarded_limit = 8 * 1024;

  /// Who the client is, by its certificate: its first URI (a SPIFFE ID), or else its subject (RFC
  /// 4514), or else the certificate itself; "" without one. With a URI or a subject a renewed
  /// certificate is the same client's.
  std::string name;
  /// An element of X-Forwarded-Client-Cert as Envoy writes it:
  ///   Hash=…;Subject="…";URI=…;DNS=…
  /// with the SHA-256 of the certificate in hexadecimal digits, and URI and DNS as often as they
  /// are there. `"` and `\` have a backslash before them; "" without a certificate.
  std::string forwarded;

  static ClientIdentity of(const x509_st& certificate);
};

}  // namespace holdfast::net
