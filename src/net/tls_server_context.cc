#include "holdfast/net/tls_server_context.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <string_view>
#include <utility>

#include "holdfast/base/assert.h"
#include "holdfast/net/tls_trust.h"

namespace holdfast::net {
namespace {

using Done = Result<void, TlsFileError>;

/// Of TLS 1.2; those of 1.3 are all good.
constexpr const char* ciphers = "ECDHE+AESGCM:ECDHE+CHACHA20";
constexpr std::string_view session_context = "holdfast";
/// As they stand in the list of a client, each with its length before it; the first is preferred.
constexpr unsigned char protocols[] =
    "\x08"
    "http/1.1"
    "\x08"
    "http/1.0";

int pick_protocol(SSL*, const unsigned char** picked, unsigned char* picked_size,
                  const unsigned char* offered, unsigned offered_size, void*) {
  unsigned char* found = nullptr;
  const int verdict = SSL_select_next_proto(&found, picked_size, protocols, sizeof protocols - 1,
                                            offered, offered_size);
  if (verdict != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_ALERT_FATAL;
  *picked = found;
  return SSL_TLSEXT_ERR_OK;
}

Done ask_for_certificate(SSL_CTX& context, const std::string& file) {
  if (file.empty()) return {};
  Done regular = check_regular("client_ca", file);
  if (!regular) return regular;
  STACK_OF(X509_NAME)* names = SSL_load_client_CA_file(file.c_str());
  if (names == nullptr || SSL_CTX_load_verify_file(&context, file.c_str()) != 1) {
    sk_X509_NAME_pop_free(names, X509_NAME_free);
    return unexpected(TlsFileError{"client_ca", file, take_openssl_reason()});
  }
  SSL_CTX_set_client_CA_list(&context, names);  // which takes them
  SSL_CTX_set_verify(&context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  return {};
}

int note_in_ticket(SSL* connection, void*) {
  note_end_of_trust(*connection, *SSL_get_session(connection));
  return 1;
}

/// A session that was verified by what has ended is none, and its client shows what it has now.
SSL_TICKET_RETURN judge_ticket(SSL*, SSL_SESSION* session, const unsigned char*, std::size_t,
                               SSL_TICKET_STATUS status, void*) {
  if (status == SSL_TICKET_EMPTY || status == SSL_TICKET_NO_DECRYPT) {
    return SSL_TICKET_RETURN_IGNORE_RENEW;
  }
  if (trust_has_ended(*session)) return SSL_TICKET_RETURN_IGNORE_RENEW;
  return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

void allow_resumption(SSL_CTX& context) {
  // Nothing is kept here: a ticket holds the session.
  SSL_CTX_set_session_cache_mode(&context, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_set_timeout(&context, TlsServerContext::session_life.count());
  SSL_CTX_set_num_tickets(&context, 1);
  SSL_CTX_set_session_ticket_cb(&context, note_in_ticket, judge_ticket, nullptr);
  const auto* id = reinterpret_cast<const unsigned char*>(session_context.data());
  HOLDFAST_ASSERT(SSL_CTX_set_session_id_context(&context, id, session_context.size()) == 1);
}

}  // namespace

TlsServerContext::TlsServerContext(Handle handle, TlsFiles files, const TlsServerOptions& options)
    : handle_(std::move(handle)), files_(std::move(files)), options_(options) {}

TlsServerContext::Made TlsServerContext::make(const TlsServerOptions& options) {
  TlsFiles files({options.cert, options.key, options.client_ca});
  ERR_clear_error();
  Handle handle(SSL_CTX_new(TLS_server_method()));
  HOLDFAST_ASSERT(handle != nullptr);
  SSL_CTX_set_min_proto_version(handle.get(), TLS1_2_VERSION);
  HOLDFAST_ASSERT(SSL_CTX_set_cipher_list(handle.get(), ciphers) == 1);
  SSL_CTX_set_options(handle.get(), SSL_OP_NO_RENEGOTIATION);
  // An idle connection holds no buffers.
  SSL_CTX_set_mode(handle.get(), SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_alpn_select_cb(handle.get(), pick_protocol, nullptr);
  allow_resumption(*handle);
  Done identified = use_identity(*handle, options.cert, options.key);
  if (!identified) return unexpected(std::move(identified.error()));
  Done asked = ask_for_certificate(*handle, options.client_ca);
  if (!asked) return unexpected(std::move(asked.error()));
  return std::unique_ptr<const TlsServerContext>(
      new TlsServerContext(std::move(handle), std::move(files), options));
}

TlsSession TlsServerContext::session() const {
  TlsSession session(SSL_new(handle_.get()));
  HOLDFAST_ASSERT(session != nullptr);
  SSL_set_accept_state(session.get());
  return session;
}

}  // namespace holdfast::net
