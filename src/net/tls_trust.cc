#include "holdfast/net/tls_trust.h"

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <memory>
#include <string>

#include "holdfast/base/assert.h"

namespace holdfast::net {
namespace {

struct TimeFree {
  void operator()(ASN1_TIME* time) const { ASN1_TIME_free(time); }
};

/// The first of the chain to end; nullptr: there is no chain.
const ASN1_TIME* end_of(STACK_OF(X509) * chain) {
  const ASN1_TIME* first = nullptr;
  for (int i = 0; i < sk_X509_num(chain); ++i) {
    const ASN1_TIME* end = X509_get0_notAfter(sk_X509_value(chain, i));
    if (first == nullptr || ASN1_TIME_compare(end, first) < 0) first = end;
  }
  return first;
}

}  // namespace

void note_end_of_trust(ssl_st& connection, ssl_session_st& session) {
  if (SSL_get_verify_mode(&connection) == SSL_VERIFY_NONE) return;
  const ASN1_TIME* end = end_of(SSL_get0_verified_chain(&connection));
  if (end == nullptr) return;
  const auto size = static_cast<std::size_t>(ASN1_STRING_length(end));
  HOLDFAST_ASSERT(SSL_SESSION_set1_ticket_appdata(&session, ASN1_STRING_get0_data(end), size) == 1);
}

bool trust_has_ended(ssl_session_st& session) {
  void* noted = nullptr;
  std::size_t size = 0;
  SSL_SESSION_get0_ticket_appdata(&session, &noted, &size);
  if (size == 0) return false;
  const std::unique_ptr<ASN1_TIME, TimeFree> end(ASN1_TIME_new());
  const std::string text(static_cast<const char*>(noted), size);
  return ASN1_TIME_set_string(end.get(), text.c_str()) != 1 || X509_cmp_current_time(end.get()) < 0;
}

}  // namespace holdfast::net
