#include "tests/support/tls_relay.h"

#include <openssl/err.h>
#include <poll.h>

#include <array>
#include <csignal>
#include <stdexcept>
#include <utility>

namespace holdfast::testing {
namespace {

constexpr std::size_t buffer_size = 16 * 1024;

/// From TLS to plain. False: nothing more will come.
bool pass_in(SSL& session, Socket& plain) {
  std::array<char, buffer_size> buffer;
  ERR_clear_error();
  const int size = SSL_read(&session, buffer.data(), static_cast<int>(buffer.size()));
  if (size > 0) {
    plain.send({buffer.data(), static_cast<std::size_t>(size)});
    return true;
  }
  const int error = SSL_get_error(&session, size);
  if (error == SSL_ERROR_WANT_READ) return true;  // it was a ticket, say
  if (error != SSL_ERROR_ZERO_RETURN) {
    throw WireError(Fault::reset, "TLS was cut");
  }
  plain.shutdown_write();
  return false;
}

/// From plain to TLS, likewise.
bool pass_out(SSL& session, Socket& secure, Socket& plain, bool says_goodbye) {
  const std::string bytes = plain.receive(buffer_size);
  if (bytes.empty()) {
    if (says_goodbye) SSL_shutdown(&session);
    secure.shutdown_write();
    return false;
  }
  ERR_clear_error();
  if (SSL_write(&session, bytes.data(), static_cast<int>(bytes.size())) <= 0) {
    throw WireError(Fault::reset, "TLS takes nothing");
  }
  return true;
}

void relay(SSL& session, Socket& secure, Socket& plain, bool says_goodbye) {
  std::array<pollfd, 2> ends{{{secure.descriptor(), POLLIN, 0}, {plain.descriptor(), POLLIN, 0}}};
  while (ends[0].fd >= 0 || ends[1].fd >= 0) {
    const bool pending = ends[0].fd >= 0 && SSL_pending(&session) > 0;
    ends[0].revents = ends[1].revents = 0;
    ::poll(ends.data(), ends.size(), pending ? 0 : -1);
    if (pending || ends[0].revents != 0) {
      if (!pass_in(session, plain)) ends[0].fd = -1;
    }
    if (ends[1].revents != 0 && !pass_out(session, secure, plain, says_goodbye)) ends[1].fd = -1;
  }
}

}  // namespace

void relay_tls(SSL& session, Socket& secure, Socket& plain, bool says_goodbye) {
  try {
    relay(session, secure, plain, says_goodbye);
  } catch (const WireError&) {
    plain.reset();
    secure.reset();
  }
}

TlsRelay::TlsRelay(std::string target, const Options& options)
    : target_(std::move(target)),
      name_(options.name),
      listener_("127.0.0.1:0"),
      context_(SSL_CTX_new(TLS_client_method())) {
  std::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes to sockets that may be gone
  SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER, nullptr);
  // A read ends with one record: the other side waits, too.
  SSL_CTX_clear_mode(context_.get(), SSL_MODE_AUTO_RETRY);
  bool done = SSL_CTX_load_verify_file(context_.get(), options.ca.c_str()) == 1;
  if (options.client != nullptr) {
    done = done && SSL_CTX_use_certificate(context_.get(), options.client->get()) == 1 &&
           SSL_CTX_use_PrivateKey(context_.get(), options.client->key()) == 1;
  }
  if (!done) throw std::runtime_error("a relay's certificates cannot be used");
  if (options.resumes) {
    SSL_CTX_set_session_cache_mode(context_.get(),
                                   SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_set_app_data(context_.get(), this);
    SSL_CTX_sess_set_new_cb(context_.get(), &TlsRelay::keep);
  }
  acceptor_ = std::thread([this] { accept_connections(); });
}

TlsRelay::~TlsRelay() {
  stopping_ = true;
  acceptor_.join();
  {
    const std::lock_guard lock(mutex_);
    for (Connection& connection : connections_) {
      connection.plain.shutdown_both();
      connection.secure.shutdown_both();
    }
  }
  for (Connection& connection : connections_) connection.thread.join();
}

void TlsRelay::accept_connections() {
  while (!stopping_) {
    std::optional<Socket> plain = listener_.accept(Milliseconds(20));
    join_ended();
    if (!plain) continue;
    const std::lock_guard lock(mutex_);
    Connection& made = connections_.emplace_back();
    made.plain = std::move(*plain);
    made.thread = std::thread([this, &made] { serve(made); });
  }
}

void TlsRelay::serve(Connection& connection) {
  const std::unique_ptr<SSL, Free> session(SSL_new(context_.get()));
  if (connect(connection, *session)) {
    ++shaken_;
    relay_tls(*session, connection.secure, connection.plain);
  } else {
    ++failed_;
    connection.plain.reset();
  }
  const std::lock_guard lock(mutex_);
  connection.plain.close();
  connection.secure.close();
  connection.ended = true;
}

bool TlsRelay::connect(Connection& connection, SSL& session) {
  try {
    Socket secure = Socket::connect(target_);
    const std::lock_guard lock(mutex_);
    connection.secure = std::move(secure);
    if (newest_ != nullptr) SSL_set_session(&session, newest_.get());
  } catch (const WireError&) {
    return false;
  }
  SSL_set_fd(&session, connection.secure.descriptor());
  SSL_set1_host(&session, name_.c_str());
  SSL_set_tlsext_host_name(&session, name_.c_str());
  ERR_clear_error();
  return SSL_connect(&session) == 1;
}

int TlsRelay::keep(SSL* connection, SSL_SESSION* session) {
  auto* relay = static_cast<TlsRelay*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(connection)));
  const std::lock_guard lock(relay->mutex_);
  relay->newest_.reset(session);
  return 1;  // which takes it
}

void TlsRelay::join_ended() {
  const std::lock_guard lock(mutex_);
  std::erase_if(connections_, [](Connection& connection) {
    if (connection.ended) connection.thread.join();
    return connection.ended;
  });
}

}  // namespace holdfast::testing
