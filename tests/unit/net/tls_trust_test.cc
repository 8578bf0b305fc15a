#include "holdfast/net/tls_trust.h"

#include <doctest/doctest.h>
#include <openssl/ssl.h>

#include <memory>
#include <string>

#include "holdfast/net/tls_context.h"

namespace holdfast::net {
namespace {

struct SessionFree {
  void operator()(SSL_SESSION* session) const { SSL_SESSION_free(session); }
};

bool ended(const std::string& noted) {
  const std::unique_ptr<SSL_SESSION, SessionFree> session(SSL_SESSION_new());
  SSL_SESSION_set1_ticket_appdata(session.get(), noted.data(), noted.size());
  return trust_has_ended(*session);
}

// What a session comes to carry is seen with its handshake: tls_sessions and tls_server_context.
TEST_CASE("what ends is told by its time, of both of ASN.1's forms; what is no time has ended") {
  CHECK_FALSE(ended(""));
  CHECK(ended("200101000000Z"));
  CHECK_FALSE(ended("490101000000Z"));
  CHECK(ended("20200101000000Z"));
  CHECK_FALSE(ended("20990101000000Z"));
  CHECK(ended("tomorrow"));
}

TEST_CASE("who verifies nothing notes nothing") {
  const std::unique_ptr<SSL_CTX, SslFree> context(SSL_CTX_new(TLS_method()));
  const TlsSession connection(SSL_new(context.get()));
  const std::unique_ptr<SSL_SESSION, SessionFree> session(SSL_SESSION_new());
  note_end_of_trust(*connection, *session);
  CHECK_FALSE(trust_has_ended(*session));
}

}  // namespace
}  // namespace holdfast::net
