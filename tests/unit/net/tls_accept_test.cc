// TLS with a client: what tls_accept() sends, and when.
#include <doctest/doctest.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "holdfast/net/tls.h"
#include "holdfast/net/tls_server_context.h"
#include "tests/support/certificates.h"
#include "tests/support/fake_network.h"

namespace holdfast::net {
namespace {

using runtime::Task;
using test::Peer;
using Connected = Result<std::unique_ptr<Stream>>;

/// OpenSSL's own client, over a Peer.
class Client {
 public:
  explicit Client(Peer& peer)
      : peer_(peer), context_(SSL_CTX_new(TLS_client_method())), session_(SSL_new(context_.get())) {
    SSL_set_bio(session_.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(session_.get());
  }
  /// Reads what has come, and goes on with the handshake.
  void go_on() {
    const std::string bytes = peer_.take();
    BIO_write(SSL_get_rbio(session_.get()), bytes.data(), static_cast<int>(bytes.size()));
    SSL_do_handshake(session_.get());
  }
  std::string read() {
    char text[64];
    const int size = SSL_read(session_.get(), text, sizeof(text));
    return {text, static_cast<std::size_t>(std::max(size, 0))};
  }
  void write(std::string_view text) {
    SSL_write(session_.get(), text.data(), static_cast<int>(text.size()));
  }
  void send_all() {
    char* bytes = nullptr;
    const long size = BIO_get_mem_data(SSL_get_wbio(session_.get()), &bytes);
    peer_.send({bytes, static_cast<std::size_t>(size)});
    (void)BIO_reset(SSL_get_wbio(session_.get()));
  }
  bool has_ticket() const { return SSL_SESSION_has_ticket(SSL_get0_session(session_.get())) == 1; }

 private:
  Peer& peer_;
  std::unique_ptr<SSL_CTX, SslFree> context_;
  TlsSession session_;
};

/// A server's stream, whose first words are `greeting`.
Task<void> accept_and_greet(test::FakePair& pair, TlsSession& session, std::string_view greeting,
                            test::World& world, std::unique_ptr<Stream>& stream) {
  Connected accepted = co_await tls_accept(pair.stream, session, never, world.context());
  if (!accepted) co_return;
  stream = std::move(*accepted);
  if (!greeting.empty()) stream->send(greeting);
}

TEST_CASE("a ticket goes out with the answer, and by itself where there is none yet") {
  const testing::Authority authority;
  const testing::Certificate identity = authority.issue();
  const auto server = TlsServerContext::make({identity.cert_file(), identity.key_file(), ""});
  REQUIRE(server);
  for (const std::string greeting : {"answer", ""}) {
    test::World world;
    test::FakePair pair = test::make_pair(world);
    TlsSession session = (*server)->session();
    std::unique_ptr<Stream> stream;
    Task<void> accepting = accept_and_greet(pair, session, greeting, world, stream);
    accepting.start();
    Client client(*pair.peer);
    client.go_on();
    client.send_all();
    world.settle();
    client.go_on();
    client.write("request");
    const std::size_t sends = pair.peer->sends();
    client.send_all();
    world.settle();
    REQUIRE(stream != nullptr);
    CHECK(stream->input() == "request");
    CHECK(pair.peer->sends() == sends + 1);
    client.go_on();
    CHECK(client.read() == greeting);
    CHECK(client.has_ticket());
  }
}

}  // namespace
}  // namespace holdfast::net
