#include "holdfast/net/tls_sessions.h"

#include <openssl/ssl.h>

#include <utility>

#include "holdfast/net/tls_trust.h"

namespace holdfast::net {

void TlsSessions::Free::operator()(ssl_session_st* session) const {
  SSL_SESSION_free(session);
}

void TlsSessions::begin(ssl_st& connection) {
  SSL_CTX* context = SSL_get_SSL_CTX(&connection);
  if (context != context_.get()) {
    forget();
    SSL_CTX_up_ref(context);  // while it is held no other one has its address
    context_.reset(context);
  }
  SSL_set_app_data(&connection, this);
  const Session session = take();
  if (session != nullptr) SSL_set_session(&connection, session.get());
}

int TlsSessions::on_given(ssl_st* connection, ssl_session_st* session) {
  auto* sessions = static_cast<TlsSessions*>(SSL_get_app_data(connection));
  if (sessions == nullptr || SSL_get_SSL_CTX(connection) != sessions->context_.get()) return 0;
  note_end_of_trust(*connection, *session);
  sessions->keep(Session(session));
  return 1;
}

void TlsSessions::keep(Session session) {
  if (SSL_SESSION_get_protocol_version(session.get()) < TLS1_3_VERSION) forget();
  if (kept_.size() == limit) kept_.pop_front();
  kept_.push_back(std::move(session));
}

/// The newest that can be used: it has the longest life before it.
TlsSessions::Session TlsSessions::take() {
  while (!kept_.empty()) {
    Session newest = std::move(kept_.back());
    kept_.pop_back();
    if (SSL_SESSION_is_resumable(newest.get()) == 0 || trust_has_ended(*newest)) continue;
    if (SSL_SESSION_get_protocol_version(newest.get()) < TLS1_3_VERSION) {
      SSL_SESSION_up_ref(newest.get());
      kept_.emplace_back(newest.get());
    }
    return newest;
  }
  return nullptr;
}

}  // namespace holdfast::net
