#include "holdfast/net/tls_sessions.h"

#include <doctest/doctest.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include <ctime>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "holdfast/net/tls.h"
#include "tests/support/certificates.h"
#include "tests/support/fake_network.h"
#include "tests/support/tls_peer.h"

namespace holdfast::net {
namespace {

using runtime::Task;
using test::TlsPeer;
using test::TlsPeerOptions;
using Connected = Result<std::unique_ptr<Stream>>;
using Context = std::unique_ptr<const TlsClientContext>;

constexpr std::string_view host = "redis.test";
constexpr int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

const testing::Authority& authority() {
  static const testing::Authority made;
  return made;
}
Context make_context(std::string_view protocol = "") {
  TlsClientOptions options;
  options.ca = authority().ca_file();
  auto made = TlsClientContext::make(options, protocol);
  REQUIRE(made);
  return std::move(*made);
}

/// One server, and connections to it, which live as long as this.
struct Fixture {
  explicit Fixture(TlsPeerOptions its_options = {}) : options(std::move(its_options)) {}

  struct Connection {
    test::FakePair pair;
    std::unique_ptr<TlsPeer> server;
    Connected stream = unexpected(Error{});
  };

  Connection& connect(const TlsClientContext& tls, TlsSessions* kept) {
    Connection& made = connections.emplace_back();
    made.pair = test::make_pair(world);
    options.like = connections.size() > 1 ? connections.front().server.get() : nullptr;
    made.server = std::make_unique<TlsPeer>(made.pair.peer, identity, options);
    Task<Connected> connecting =
        tls_connect(made.pair.stream, tls, host, never, world.context(), kept);
    connecting.start();
    world.settle();
    REQUIRE(connecting.done());
    made.stream = connecting.take();
    world.settle();
    return made;
  }
  bool resumed(const TlsClientContext& tls, TlsSessions* kept) {
    Connection& made = connect(tls, kept);
    REQUIRE_MESSAGE(made.stream, (made.stream ? "" : made.stream.error().detail));
    made.server->send("works");
    world.settle();
    CHECK((*made.stream)->input() == "works");
    return made.server->resumed();
  }

  test::World world;
  const testing::Certificate identity = authority().issue();
  TlsPeerOptions options;
  std::deque<Connection> connections;
};

/// With a server of OpenSSL's own, to the end of what that has to say.
bool shake_hands(ssl_st& client, const testing::Certificate& identity, int version) {
  const std::unique_ptr<SSL_CTX, SslFree> context(SSL_CTX_new(TLS_server_method()));
  SSL_CTX_set_min_proto_version(context.get(), version);
  SSL_CTX_set_max_proto_version(context.get(), version);
  SSL_CTX_use_certificate(context.get(), identity.get());
  SSL_CTX_use_PrivateKey(context.get(), identity.key());
  const TlsSession server(SSL_new(context.get()));
  BIO* ends[2];
  BIO_new_bio_pair(&ends[0], 0, &ends[1], 0);
  SSL_set_bio(&client, ends[0], ends[0]);
  SSL_set_bio(server.get(), ends[1], ends[1]);
  SSL_set_accept_state(server.get());
  bool done = false;
  for (int turn = 0; turn < 4; ++turn) {
    const bool client_done = SSL_do_handshake(&client) == 1;
    done = SSL_do_handshake(server.get()) == 1 && client_done;
  }
  char nothing = 0;
  SSL_read(&client, &nothing, 1);  // and with it the tickets
  SSL_set_shutdown(&client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  return done;
}

TEST_CASE("a later connection takes up what an earlier one left") {
  const Context tls = make_context();
  for (const int version : versions) {
    CAPTURE(version);
    TlsSessions kept;
    Fixture f({.version = version});
    CHECK_FALSE(f.resumed(*tls, &kept));
    CHECK(kept.size() > 0);
    for (int i = 0; i < 5; ++i) CHECK(f.resumed(*tls, &kept));
  }
}

TEST_CASE("a ticket of TLS 1.3 is used once") {
  const Context tls = make_context();
  TlsSessions kept;
  Fixture f;
  f.connect(*tls, &kept);
  const std::size_t left = kept.size();
  REQUIRE(left == 2);  // what OpenSSL's server gives
  // Two connections begin at once: each has a ticket of its own, and the third has none.
  std::vector<test::FakePair> pairs;
  std::vector<Task<Connected>> connecting;
  for (std::size_t i = 0; i < left + 1; ++i) pairs.push_back(test::make_pair(f.world));
  for (test::FakePair& pair : pairs) {
    connecting.push_back(tls_connect(pair.stream, *tls, host, never, f.world.context(), &kept));
    connecting.back().start();
    f.world.settle();
  }
  CHECK(kept.size() == 0);
  const auto hello_size = [&](std::size_t i) { return pairs[i].peer->received().size(); };
  CHECK(hello_size(0) > hello_size(2) + 100);
  CHECK(hello_size(1) > hello_size(2) + 100);
}

TEST_CASE("what was verified by a certificate that has ended is not offered") {
  constexpr long two_days = 2 * 24 * 60 * 60;
  const Context tls = make_context();
  for (const int version : versions) {
    for (const int last_day : {-1, 1}) {
      CAPTURE(version);
      CAPTURE(last_day);
      const testing::Certificate identity =
          authority().issue({.first_day = -10, .last_day = last_day});
      TlsSessions kept;
      const TlsSession first = tls->session(host);
      // As if hands had been shaken then: the certificate had not ended.
      X509_VERIFY_PARAM_set_time(SSL_get0_param(first.get()), ::time(nullptr) - two_days);
      kept.begin(*first);
      REQUIRE(shake_hands(*first, identity, version));
      REQUIRE(kept.size() > 0);
      const TlsSession second = tls->session(host);
      kept.begin(*second);
      CHECK((SSL_get0_session(second.get()) != nullptr) == (last_day > 0));
    }
  }
}

TEST_CASE("what is kept is bounded, and the newest") {
  const Context tls = make_context();
  TlsSessions kept;
  Fixture f;
  for (std::size_t i = 0; i < TlsSessions::limit; ++i) {
    Fixture::Connection& made = f.connect(*tls, &kept);
    REQUIRE(made.stream);
    made.server->send_ticket();
    made.server->send_ticket();
    f.world.settle();
  }
  CHECK(kept.size() == TlsSessions::limit);
}

TEST_CASE("nothing passes from one context to another, in either direction") {
  const Context first = make_context();
  const Context second = make_context();
  for (const int version : versions) {
    TlsSessions kept;
    Fixture f({.version = version});
    Fixture::Connection& old = f.connect(*first, &kept);
    REQUIRE(kept.size() > 0);
    CHECK_FALSE(f.resumed(*second, &kept));
    CHECK(f.resumed(*second, &kept));
    if (version < TLS1_3_VERSION) continue;
    // What the older connection is still given is not kept for the newer context.
    const std::size_t before = kept.size();
    old.server->send_ticket();
    f.world.settle();
    CHECK(kept.size() == before);
  }
}

TEST_CASE("a context that is gone is not taken for one that is made where it was") {
  TlsSessions kept;
  Fixture f;
  for (int i = 0; i < 10; ++i) {
    const Context tls = make_context();
    CHECK_FALSE(f.resumed(*tls, &kept));
  }
}

TEST_CASE("a connection that is aborted leaves its session, one that TLS failed does not") {
  const Context tls = make_context();
  TlsSessions kept;
  Fixture aborted({.version = TLS1_2_VERSION});
  Fixture::Connection& first = aborted.connect(*tls, &kept);
  (*first.stream)->abort();
  first.stream->reset();
  CHECK(aborted.resumed(*tls, &kept));

  kept.forget();
  Fixture failed({.version = TLS1_2_VERSION});
  Fixture::Connection& second = failed.connect(*tls, &kept);
  second.pair.peer->send("this is no record of TLS");
  failed.world.settle();
  REQUIRE((*second.stream)->failure());
  second.stream->reset();
  CHECK_FALSE(failed.resumed(*tls, &kept));
}

TEST_CASE("a handshake that failed with an offer goes without it the next time") {
  const Context tls = make_context();
  TlsSessions kept;
  Fixture f({.version = TLS1_2_VERSION});
  f.connect(*tls, &kept);
  REQUIRE(kept.size() == 1);
  test::FakePair pair = test::make_pair(f.world);
  Task<Connected> connecting =
      tls_connect(pair.stream, *tls, host, never, f.world.context(), &kept);
  connecting.start();
  pair.peer->reset();
  f.world.settle();
  REQUIRE(connecting.done());
  CHECK_FALSE(connecting.take());
  CHECK(kept.size() == 0);
}

Task<void> watch(Stream& stream) {
  co_await stream.until_input(never);
}

TEST_CASE("a ticket on an idle connection wakes nobody, and leaves it quiet") {
  const Context tls = make_context();
  TlsSessions kept;
  Fixture f;
  Fixture::Connection& made = f.connect(*tls, &kept);
  const std::size_t before = kept.size();
  Task<void> watching = watch(**made.stream);
  watching.start();
  made.server->send_ticket();
  f.world.settle();
  CHECK(kept.size() == before + 1);
  CHECK_FALSE(watching.done());
  CHECK((*made.stream)->still_quiet());
}

TEST_CASE("a server that nobody keeps anything of is connected to all the same") {
  const Context tls = make_context();
  Fixture f;
  CHECK_FALSE(f.resumed(*tls, nullptr));
  CHECK_FALSE(f.resumed(*tls, nullptr));
}

// -- ALPN

TEST_CASE("the protocol is offered; a server may pick it, or nothing, and no other") {
  const Context http = make_context("http/1.1");
  for (const int version : versions) {
    CHECK(Fixture({.version = version, .picks = "http/1.1"}).connect(*http, nullptr).stream);
    CHECK(Fixture({.version = version}).connect(*http, nullptr).stream);
    for (const std::string other : {"h2", "http/1.0", "http/1"}) {
      CAPTURE(other);
      Fixture f({.version = version, .picks = other});
      const Connected refused = std::move(f.connect(*http, nullptr).stream);
      REQUIRE_FALSE(refused);
      CHECK(refused.error().type == ErrorType::tls_protocol_error);
    }
  }
}

TEST_CASE("a context knows what it was made of, and reads it again") {
  const Context http = make_context("http/1.1");
  CHECK(http->protocol() == "http/1.1");
  CHECK(http->options().ca == authority().ca_file());
  const auto again = http->read_again();
  REQUIRE(again);
  CHECK((*again)->protocol() == "http/1.1");
  CHECK((*again)->options() == http->options());
}

}  // namespace
}  // namespace holdfast::net
