#include "tests/support/tls_front.h"

#include <openssl/err.h>
#include <csignal>
#include <utility>

#include "tests/support/tls_relay.h"

namespace holdfast::testing {

TlsFront::TlsFront(std::string target, const Certificate& identity, const Options& options)
    : target_(std::move(target)),
      options_(options),
      listener_("127.0.0.1:0"),
      context_(SSL_CTX_new(TLS_server_method())) {
  std::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes to sockets that may be gone
  SSL_CTX* context = context_.get();
  SSL_CTX_clear_mode(context, SSL_MODE_AUTO_RETRY);  // relay_tls() asks for it
  SSL_CTX_set_security_level(context, 0);            // TLS 1.1 is offered too, to be refused
  SSL_CTX_set_min_proto_version(context, options.oldest);
  SSL_CTX_set_max_proto_version(context, options.newest);
  const unsigned char whose[] = {'t'};  // sessions of clients with certificates need a name
  SSL_CTX_set_session_id_context(context, whose, sizeof(whose));
  if (options.client_ca != nullptr) {
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context), options.client_ca);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  }
  use(identity);
  if (!options.chain.empty()) {
    SSL_CTX_use_certificate_chain_file(context, options.chain.c_str());
  }
  acceptor_ = std::thread([this] { accept_connections(); });
}

TlsFront::~TlsFront() {
  stopping_ = true;
  acceptor_.join();
  {
    const std::lock_guard lock(mutex_);
    for (Connection& connection : connections_) {
      connection.client.shutdown_both();
      connection.target.shutdown_both();
    }
  }
  for (Connection& connection : connections_) connection.thread.join();
}

void TlsFront::use(const Certificate& identity) {
  const std::lock_guard lock(mutex_);
  SSL_CTX_use_certificate(context_.get(), identity.get());
  SSL_CTX_use_PrivateKey(context_.get(), identity.key());
}

std::string TlsFront::asked_name() const {
  const std::lock_guard lock(mutex_);
  return asked_name_;
}

void TlsFront::accept_connections() {
  while (!stopping_) {
    std::optional<Socket> client = listener_.accept(Milliseconds(20));
    if (!client) continue;
    ++accepted_;
    const std::lock_guard lock(mutex_);
    Connection& made = connections_.emplace_back();
    made.client = std::move(*client);
    made.thread = std::thread([this, &made] { serve(made); });
  }
}

void TlsFront::serve(Connection& connection) {
  std::unique_ptr<SSL, Free> session;
  {
    const std::lock_guard lock(mutex_);
    session.reset(SSL_new(context_.get()));
  }
  SSL_set_fd(session.get(), connection.client.descriptor());
  ERR_clear_error();
  if (SSL_accept(session.get()) == 1) {
    ++shaken_;
    if (SSL_session_reused(session.get()) != 0) ++resumed_;
    const char* name = SSL_get_servername(session.get(), TLSEXT_NAMETYPE_host_name);
    try {
      Socket target = Socket::connect(target_);
      {
        const std::lock_guard lock(mutex_);
        asked_name_ = name != nullptr ? name : "";
        connection.target = std::move(target);
      }
      relay_tls(*session, connection.client, connection.target, options_.says_goodbye);
    } catch (const WireError& error) {
      if (error.fault() == Fault::reset) connection.client.reset();
    }
  }
  const std::lock_guard lock(mutex_);
  connection.client.close();
  connection.target.close();
}

}  // namespace holdfast::testing
