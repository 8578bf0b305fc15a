#include "tests/support/tls_front.h"

#include <openssl/err.h>
#include <poll.h>

#include <array>
#include <csignal>
#include <utility>

namespace holdfast::testing {

TlsFront::TlsFront(std::string target, const Certificate& identity, const Options& options)
    : target_(std::move(target)),
      options_(options),
      listener_("127.0.0.1:0"),
      context_(SSL_CTX_new(TLS_server_method())) {
  std::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes to sockets that may be gone
  SSL_CTX* context = context_.get();
  SSL_CTX_set_security_level(context, 0);  // TLS 1.1 is offered too, to be refused
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
      relay(session.get(), connection);
    } catch (const WireError& error) {
      if (error.fault() == Fault::reset) connection.client.reset();
    }
  }
  const std::lock_guard lock(mutex_);
  connection.client.close();
  connection.target.close();
}

void TlsFront::relay(SSL* session, Connection& connection) {
  std::array<char, 16 * 1024> buffer;
  std::array<pollfd, 2> ends{
      {{connection.client.descriptor(), POLLIN, 0}, {connection.target.descriptor(), POLLIN, 0}}};
  while (ends[0].fd >= 0 || ends[1].fd >= 0) {
    const bool waiting = ends[0].fd >= 0 && SSL_pending(session) > 0;
    if (!waiting) ::poll(ends.data(), ends.size(), -1);
    if (waiting || (ends[0].fd >= 0 && ends[0].revents != 0)) {
      ERR_clear_error();
      const int size = SSL_read(session, buffer.data(), static_cast<int>(buffer.size()));
      if (size > 0) {
        connection.target.send({buffer.data(), static_cast<std::size_t>(size)});
      } else if (SSL_get_error(session, size) == SSL_ERROR_ZERO_RETURN) {
        connection.target.shutdown_write();
        ends[0].fd = -1;
      } else {
        return;
      }
    }
    if (!waiting && ends[1].fd >= 0 && ends[1].revents != 0) {
      const std::string bytes = connection.target.receive(buffer.size());
      if (bytes.empty()) {
        shut_target_side(session, connection);
        ends[1].fd = -1;
      } else if (SSL_write(session, bytes.data(), static_cast<int>(bytes.size())) <= 0) {
        return;
      }
    }
  }
}

void TlsFront::shut_target_side(SSL* session, Connection& connection) {
  if (options_.says_goodbye) SSL_shutdown(session);
  connection.client.shutdown_write();
}

}  // namespace holdfast::testing
