// TlsPeer: one end of TLS over a fake connection, the server's mostly, by OpenSSL and memory BIOs,
// sharing no code with the product.
//
// Contract: it goes on when the Peer under it has something, from the loop; a client begins when it
// is told to start(). What it encrypts goes out in pieces of `cut` bytes, and in `parts` at least:
// how much a handshake says is random, in how many pieces it goes is not. It outlives nothing: keep
// it as long as the world turns.
#pragma once

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "tests/support/certificates.h"
#include "tests/support/fake_network.h"

namespace holdfast::test {

class TlsPeer;

struct TlsPeerOptions {
  int version = TLS1_3_VERSION;
  X509* client_ca = nullptr;  // set: the client needs a certificate of its
  std::size_t cut = 1 << 20;
  std::size_t parts = 1;
  bool connects = false;          // the client's end
  const TlsPeer* like = nullptr;  // set: another connection of that server, whose tickets it knows,
                                  // or of that client, whose session it asks to take up
  std::string picks = "";         // by ALPN, whatever was offered; "": none
};

class TlsPeer {
 public:
  TlsPeer(std::shared_ptr<Peer> peer, const testing::Certificate& identity,
          const TlsPeerOptions& options = {})
      : TlsPeer(std::move(peer), &identity, options) {}
  /// `identity` nullptr: it has none to show.
  TlsPeer(std::shared_ptr<Peer> peer, const testing::Certificate* identity,
          const TlsPeerOptions& options)
      : peer_(std::move(peer)),
        cut_(options.cut),
        parts_(options.parts),
        picks_(options.picks),
        context_(options.like != nullptr ? options.like->shared_context() : make_context(options)),
        session_(nullptr) {
    SSL_CTX* context = context_.get();
    if (!picks_.empty()) SSL_CTX_set_alpn_select_cb(context, pick, this);
    SSL_CTX_set_security_level(context, 0);  // TLS 1.1 is asked for too, to be refused
    SSL_CTX_set_min_proto_version(context, options.version);
    SSL_CTX_set_max_proto_version(context, options.version);
    if (identity != nullptr) {
      SSL_CTX_use_certificate(context, identity->get());
      SSL_CTX_use_PrivateKey(context, identity->key());
    }
    if (options.client_ca != nullptr) {
      X509_STORE_add_cert(SSL_CTX_get_cert_store(context), options.client_ca);
      SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
      const unsigned char whose[] = {'t'};  // sessions of clients with certificates need a name
      SSL_CTX_set_session_id_context(context, whose, sizeof(whose));
    }
    session_.reset(SSL_new(context));
    SSL_set_bio(session_.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    if (options.connects) {
      SSL_set_connect_state(session_.get());
      if (options.like != nullptr) SSL_set_session(session_.get(), options.like->known_session());
    } else {
      SSL_set_accept_state(session_.get());
    }
    peer_->on_change = [this] { go_on(); };
  }
  ~TlsPeer() { peer_->on_change = nullptr; }
  TlsPeer(const TlsPeer&) = delete;
  TlsPeer& operator=(const TlsPeer&) = delete;

  /// A client begins its handshake.
  void start() { send_out(greeting()); }
  /// What start() would send, not sent.
  std::string greeting() {
    SSL_do_handshake(session_.get());
    return pending();
  }
  void send(std::string_view bytes) {
    SSL_write(session_.get(), bytes.data(), static_cast<int>(bytes.size()));
    flush();
  }
  /// `behind`: what is sent with it all the same, where nothing may come.
  void close_notify(std::string_view behind = "") {
    SSL_shutdown(session_.get());
    if (!behind.empty()) {
      const int shutdown = SSL_get_shutdown(session_.get());
      SSL_set_shutdown(session_.get(), shutdown & ~SSL_SENT_SHUTDOWN);
      SSL_write(session_.get(), behind.data(), static_cast<int>(behind.size()));
      SSL_set_shutdown(session_.get(), shutdown);
    }
    flush();
  }
  /// New keys for what it sends, and asks for new ones of the client.
  void update_keys() {
    SSL_key_update(session_.get(), SSL_KEY_UPDATE_REQUESTED);
    SSL_do_handshake(session_.get());
    flush();
  }
  /// One more, unasked (TLS 1.3).
  void send_ticket() {
    SSL_new_session_ticket(session_.get());
    SSL_do_handshake(session_.get());
    flush();
  }
  /// Asks for a new handshake (TLS 1.2).
  void renegotiate() {
    SSL_renegotiate(session_.get());
    SSL_do_handshake(session_.get());
    flush();
  }
  /// What it would send by send(), not sent.
  std::string encrypted(std::string_view bytes) {
    SSL_write(session_.get(), bytes.data(), static_cast<int>(bytes.size()));
    return pending();
  }
  /// Reads no more, until it is told to.
  void pause(bool paused) {
    paused_ = paused;
    go_on();
  }

  /// An earlier connection's session was taken up.
  bool resumed() const { return SSL_session_reused(session_.get()) != 0; }
  bool established() const { return SSL_is_init_finished(session_.get()) != 0; }
  const std::string& received() const { return received_; }
  /// The other end's close_notify has come.
  bool notified() const { return notified_; }
  /// What is wrong with what has come, or that it was an alert; "": nothing.
  const std::string& failure() const { return failure_; }
  /// The name in the client's SNI; "" without one.
  std::string asked_name() const {
    const char* name = SSL_get_servername(session_.get(), TLSEXT_NAMETYPE_host_name);
    return name != nullptr ? name : "";
  }
  Peer& peer() { return *peer_; }

 private:
  struct Free {
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
    void operator()(SSL* session) const { SSL_free(session); }
  };

  static SSL_CTX* make_context(const TlsPeerOptions& options) {
    return SSL_CTX_new(options.connects ? TLS_client_method() : TLS_server_method());
  }
  SSL_SESSION* known_session() const { return SSL_get0_session(session_.get()); }
  SSL_CTX* shared_context() const {
    SSL_CTX_up_ref(context_.get());
    return context_.get();
  }
  static int pick(SSL*, const unsigned char** name, unsigned char* size, const unsigned char*,
                  unsigned, void* peer) {
    const std::string& picks = static_cast<TlsPeer*>(peer)->picks_;
    *name = reinterpret_cast<const unsigned char*>(picks.data());
    *size = static_cast<unsigned char>(picks.size());
    return SSL_TLSEXT_ERR_OK;
  }

  void go_on() {
    if (paused_) return;
    const std::string bytes = peer_->take();
    BIO_write(SSL_get_rbio(session_.get()), bytes.data(), static_cast<int>(bytes.size()));
    char buffer[4096];
    for (;;) {
      ERR_clear_error();
      const int size = SSL_read(session_.get(), buffer, sizeof(buffer));
      if (size <= 0) {
        look_at_end(size);
        break;
      }
      received_.append(buffer, static_cast<std::size_t>(size));
    }
    flush();
  }

  void look_at_end(int result) {
    if (!failure_.empty()) return;  // behind an alert OpenSSL sees an end
    const int reason = SSL_get_error(session_.get(), result);
    if (reason == SSL_ERROR_ZERO_RETURN) notified_ = true;
    if (reason == SSL_ERROR_SSL) {
      const char* words = ERR_reason_error_string(ERR_peek_error());
      failure_ = words != nullptr ? words : "some error";
    } else if (notified_ && BIO_pending(SSL_get_rbio(session_.get())) > 0) {
      failure_ = "bytes behind a close_notify";
    }
  }

  std::string pending() {
    char* bytes = nullptr;
    const long size = BIO_get_mem_data(SSL_get_wbio(session_.get()), &bytes);
    std::string taken(bytes, static_cast<std::size_t>(size));
    (void)BIO_reset(SSL_get_wbio(session_.get()));
    return taken;
  }
  void flush() { send_out(pending()); }
  void send_out(std::string_view bytes) {
    const std::size_t part = (bytes.size() + parts_ - 1) / parts_;
    peer_->send_in_pieces(bytes, std::min(cut_, std::max<std::size_t>(part, 1)));
  }

  std::shared_ptr<Peer> peer_;
  std::size_t cut_;
  const std::size_t parts_;
  const std::string picks_;
  std::unique_ptr<SSL_CTX, Free> context_;
  std::unique_ptr<SSL, Free> session_;
  std::string received_;
  std::string failure_;
  bool notified_ = false;
  bool paused_ = false;
};

}  // namespace holdfast::test
