#include "holdfast/net/tls_server_context.h"

#include <doctest/doctest.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include <ctime>
#include <memory>
#include <string>
#include <string_view>

#include "tests/support/certificates.h"

namespace holdfast::net {
namespace {

using testing::Authority;
using testing::Certificate;

const Authority& authority() {
  static const Authority made;
  return made;
}
const Certificate& identity() {
  static const Certificate made = authority().issue();
  return made;
}

std::unique_ptr<const TlsServerContext> server_with(const std::string& client_ca = "") {
  auto made = TlsServerContext::make({identity().cert_file(), identity().key_file(), client_ca});
  REQUIRE_MESSAGE(made, (made ? "" : made.error().text()));
  return std::move(*made);
}

struct ContextFree {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  void operator()(SSL_SESSION* session) const { SSL_SESSION_free(session); }
};
using ClientContext = std::unique_ptr<SSL_CTX, ContextFree>;
using Session = std::unique_ptr<SSL_SESSION, ContextFree>;

/// A client's and a server's end, with nothing but memory between.
class Pair {
 public:
  Pair(SSL_CTX& client, const TlsServerContext& server)
      : client_(SSL_new(&client)), server_(server.session()) {
    BIO* ends[2];
    REQUIRE(BIO_new_bio_pair(&ends[0], 0, &ends[1], 0) == 1);
    SSL_set_bio(client_.get(), ends[0], ends[0]);
    SSL_set_bio(server_.get(), ends[1], ends[1]);
    SSL_set_connect_state(client_.get());
  }

  /// OpenSSL spoils the session of a connection that ends in any other way.
  ~Pair() { SSL_set_shutdown(client_.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); }

  bool shake_hands() {
    for (int turn = 0; turn < 10; ++turn) {
      const bool client_done = SSL_do_handshake(client_.get()) == 1;
      const bool server_done = SSL_do_handshake(server_.get()) == 1;
      if (client_done && server_done) return true;
    }
    return false;
  }
  /// After it the client has read its tickets.
  Session session() {
    char nothing = 0;
    SSL_read(client_.get(), &nothing, 1);
    return Session(SSL_get1_session(client_.get()));
  }
  SSL* client() const { return client_.get(); }
  SSL* server() const { return server_.get(); }

 private:
  TlsSession client_;
  TlsSession server_;
};

ClientContext client_of(int version) {
  ClientContext context(SSL_CTX_new(TLS_client_method()));
  SSL_CTX_set_min_proto_version(context.get(), version);
  SSL_CTX_set_max_proto_version(context.get(), version);
  return context;
}

constexpr int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

TEST_CASE("TLS 1.2 and 1.3 are spoken, and nothing older") {
  const auto server = server_with();
  for (const int version : versions) {
    const ClientContext client = client_of(version);
    CHECK(Pair(*client, *server).shake_hands());
  }
  const ClientContext old = client_of(TLS1_1_VERSION);
  SSL_CTX_set_security_level(old.get(), 0);
  CHECK_FALSE(Pair(*old, *server).shake_hands());
}

TEST_CASE("of the protocols offered it picks HTTP/1, or none of them") {
  const auto server = server_with();
  const ClientContext client = client_of(TLS1_3_VERSION);
  const auto picked = [&](std::string_view offered) -> std::string {
    Pair pair(*client, *server);
    SSL_set_alpn_protos(pair.client(), reinterpret_cast<const unsigned char*>(offered.data()),
                        static_cast<unsigned>(offered.size()));
    if (!pair.shake_hands()) return "refused";
    const unsigned char* name = nullptr;
    unsigned size = 0;
    SSL_get0_alpn_selected(pair.client(), &name, &size);
    return {reinterpret_cast<const char*>(name), size};
  };
  CHECK(picked("") == "");
  CHECK(picked("\x02h2\x08http/1.1") == "http/1.1");
  CHECK(picked("\x08http/1.0") == "http/1.0");
  CHECK(picked("\x02h2") == "refused");
}

TEST_CASE("a session is taken up again under its own context alone") {
  for (const int version : versions) {
    const auto server = server_with();
    const ClientContext client = client_of(version);
    Pair first(*client, *server);
    REQUIRE(first.shake_hands());
    const Session session = first.session();
    const auto reused_by = [&](const TlsServerContext& context) {
      Pair again(*client, context);
      SSL_set_session(again.client(), session.get());
      REQUIRE(again.shake_hands());
      return SSL_session_reused(again.server()) == 1;
    };
    CHECK(reused_by(*server));
    const auto renewed = server->read_again();
    REQUIRE(renewed);
    CHECK_FALSE(reused_by(**renewed));
  }
}

TEST_CASE("with client_ca a client needs a certificate of it") {
  const Authority clients("clients");
  const auto server = server_with(clients.ca_file());
  const Certificate good = clients.issue();
  const Certificate foreign = authority().issue();
  const auto let_in = [&](const Certificate* certificate) {
    const ClientContext client = client_of(TLS1_2_VERSION);
    if (certificate != nullptr) {
      SSL_CTX_use_certificate(client.get(), certificate->get());
      SSL_CTX_use_PrivateKey(client.get(), certificate->key());
    }
    return Pair(*client, *server).shake_hands();
  };
  CHECK(let_in(&good));
  CHECK_FALSE(let_in(&foreign));
  CHECK_FALSE(let_in(nullptr));
}

TEST_CASE("a session ends with the first certificate of the chain that let its client in") {
  constexpr long two_days = 2 * 24 * 60 * 60;
  const Authority clients("clients");
  const auto server = server_with(clients.ca_file());
  for (const int version : versions) {
    for (const int last_day : {-1, 1}) {
      CAPTURE(version);
      CAPTURE(last_day);
      const Authority between("between", clients, last_day);
      const Certificate alice = between.issue({.first_day = -10, .last_day = 30});
      const ClientContext client = client_of(version);
      SSL_CTX_use_certificate(client.get(), alice.get());
      SSL_CTX_use_PrivateKey(client.get(), alice.key());
      SSL_CTX_add1_chain_cert(client.get(), between.root());
      Session kept;
      const auto resumed = [&] {
        Pair pair(*client, *server);
        if (kept) SSL_set_session(pair.client(), kept.get());
        // As if hands had been shaken then: nothing of the chain had ended.
        X509_VERIFY_PARAM_set_time(SSL_get0_param(pair.server()), ::time(nullptr) - two_days);
        REQUIRE(pair.shake_hands());
        kept = pair.session();
        return SSL_session_reused(pair.server()) == 1;
      };
      CHECK_FALSE(resumed());
      for (int i = 0; i < 3; ++i) CHECK(resumed() == (last_day > 0));
    }
  }
}

TEST_CASE("a file that cannot be used is named, with the reason") {
  const auto refused = [](const TlsServerOptions& options) {
    const auto made = TlsServerContext::make(options);
    return made ? std::string() : made.error().text();
  };
  const std::string cert = identity().cert_file();
  const std::string key = identity().key_file();
  CHECK(refused({"/nowhere", key, ""}) == "cert /nowhere: No such file or directory");
  CHECK(refused({cert, "/nowhere", ""}) == "key /nowhere: No such file or directory");
  CHECK(refused({cert, key, "/nowhere"}) == "client_ca /nowhere: No such file or directory");
  CHECK(refused({cert, authority().issue().key_file(), ""}).find("key values mismatch") !=
        std::string::npos);
  CHECK(refused({cert, key, key}).starts_with("client_ca "));
  CHECK(refused({cert, key, "/dev/null"}) == "client_ca /dev/null: it is not a regular file");
}

}  // namespace
}  // namespace holdfast::net
