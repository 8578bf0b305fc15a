#include "holdfast/net/tls.h"

#include <doctest/doctest.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/support/certificates.h"
#include "tests/support/fake_network.h"
#include "tests/support/tls_peer.h"

namespace holdfast::net {
namespace {

using runtime::Task;
using test::Peer;
using test::TlsPeer;
using test::TlsPeerOptions;
using testing::Authority;
using testing::Certificate;
using testing::CertificateWish;
using Connected = Result<std::unique_ptr<Stream>>;

constexpr std::string_view host = "redis.test";
constexpr int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
constexpr std::size_t limit = Stream::read_ahead_limit;

const Authority& authority() {
  static const Authority made;
  return made;
}
const Certificate& good() {
  static const Certificate made = authority().issue();
  return made;
}

std::unique_ptr<const TlsClientContext> context_of(const TlsClientOptions& options) {
  auto made = TlsClientContext::make(options);
  REQUIRE_MESSAGE(made, (made ? "" : made.error().text()));
  return std::move(*made);
}
TlsClientOptions trusting() {
  TlsClientOptions options;
  options.ca = authority().ca_file();
  return options;
}
const TlsClientContext& trusting_context() {
  static const std::unique_ptr<const TlsClientContext> made = context_of(trusting());
  return *made;
}

// A client and a server, and nothing said yet.
struct Fixture {
  explicit Fixture(const TlsPeerOptions& options = {}, const Certificate& identity = good(),
                   const TlsClientContext& tls = trusting_context(), std::string_view name = host)
      : pair(test::make_pair(world)),
        server(std::make_unique<TlsPeer>(pair.peer, identity, options)),
        connecting(tls_connect(pair.stream, tls, name, after(world.now(), std::chrono::seconds(5)),
                               world.context())) {}

  void connect() {
    connecting.start();
    world.settle();
    REQUIRE(connecting.done());
    Connected connected = connecting.take();
    REQUIRE_MESSAGE(connected, (connected ? "" : connected.error().detail));
    stream = std::move(*connected);
    world.settle();
  }
  Error refused() {
    connecting.start();
    world.settle();
    REQUIRE(connecting.done());
    Connected connected = connecting.take();
    REQUIRE_FALSE(connected);
    CHECK(connected.error().group() == ErrorGroup::connect);
    return connected.error();
  }
  Peer& peer() { return *pair.peer; }

  test::World world;
  test::FakePair pair;
  std::unique_ptr<TlsPeer> server;
  Task<Connected> connecting;
  std::unique_ptr<Stream> stream;
};

Task<void> read_all(Stream& stream, std::size_t at_once, std::string& text) {
  for (;;) {
    while (stream.input().empty() && stream.open_for_input()) co_await stream.until_input(never);
    if (stream.input().empty()) co_return;
    const std::string_view taken = stream.input().substr(0, at_once);
    text += taken;
    stream.consume(taken.size());
  }
}

Task<void> wait_sent(Stream& stream, std::optional<bool>& result) {
  const bool in_time = co_await stream.until_sent(never);
  result = in_time;
}
Task<void> wait_failed(Stream& stream, std::optional<bool>& result) {
  const bool in_time = co_await stream.until_failed(never);
  result = in_time;
}

std::string numbered(std::size_t size) {
  std::string text;
  for (int i = 0; text.size() < size; ++i) text += std::to_string(i) + ",";
  text.resize(size);
  return text;
}

/// The lengths of the records of application data in `bytes`.
std::vector<std::size_t> records_of(std::string_view bytes) {
  std::vector<std::size_t> lengths;
  while (bytes.size() >= 5) {
    const auto length = static_cast<std::size_t>(static_cast<unsigned char>(bytes[3]) << 8 |
                                                 static_cast<unsigned char>(bytes[4]));
    if (bytes[0] == 23) lengths.push_back(length);
    bytes.remove_prefix(std::min(bytes.size(), length + 5));
  }
  return lengths;
}

// -- both ways

TEST_CASE("bytes come through both ways, however the server's are cut") {
  for (const int version : versions) {
    for (const std::size_t cut : {1, 2, 5, 6, 100, 1 << 20}) {
      CAPTURE(cut);
      Fixture f({version, nullptr, cut});
      f.connect();
      std::string text;
      Task<void> reader = read_all(*f.stream, 3, text);
      reader.start();
      CHECK(f.stream->send("question"));
      f.world.settle();
      CHECK(f.server->received() == "question");
      f.server->send("answer");
      f.server->send(" and more");
      f.world.settle();
      CHECK(text == "answer and more");
      f.server->close_notify();
      f.world.settle();
      CHECK(reader.done());
      CHECK(f.stream->ended());
      CHECK_FALSE(f.stream->failure());
      CHECK(f.stream->peer().text() == "192.0.2.7:50000");
    }
  }
}

TEST_CASE("what came with the end of the handshake is not lost") {
  Fixture f;
  f.pair.peer->on_change = nullptr;
  f.connecting.start();
  f.server->pause(false);  // takes the hello, and answers
  f.world.settle();
  REQUIRE(f.connecting.done());
  f.stream = std::move(*f.connecting.take());
  f.server->pause(false);  // takes the client's last message
  f.server->send("early");
  f.world.settle();
  CHECK(f.stream->input() == "early");
}

TEST_CASE("new keys may be asked for at any time, and are answered") {
  Fixture f;
  f.connect();
  for (int i = 0; i < 3; ++i) {
    f.server->update_keys();
    f.server->send("a");
    f.world.settle();
    CHECK(f.stream->send("b"));
    f.world.settle();
  }
  CHECK(f.stream->input() == "aaa");
  CHECK(f.server->received() == "bbb");
}

// OpenSSL's server gives up when it is refused one; what counts is that it is.
TEST_CASE("a new handshake is refused") {
  Fixture f({TLS1_2_VERSION});
  f.connect();
  f.server->renegotiate();
  f.world.settle();
  CHECK_FALSE(f.server->established());
  REQUIRE(f.stream->failure());
  CHECK(f.stream->failure()->type == ErrorType::tls_alert_received);
}

// -- back-pressure

TEST_CASE("nothing is decrypted beyond the read-ahead, nor taken beyond the transport's") {
  for (const int version : versions) {
    Fixture f({version});
    f.connect();
    const std::string sent = numbered(1 << 20);
    f.server->send(sent);
    f.world.settle();
    CHECK(f.stream->input().size() == limit);
    CHECK(f.pair.peer->unread() > sent.size() - 5 * limit);
    std::string text;
    Task<void> reader = read_all(*f.stream, 1000, text);
    reader.start();
    f.world.settle();
    CHECK(text == sent);
  }
}

TEST_CASE("a reader that takes now and then gets all of it, with the end after it") {
  for (const std::size_t at_once : {std::size_t{1}, limit - 1, limit}) {
    CAPTURE(at_once);
    Fixture f;
    f.connect();
    const std::string sent = numbered(3 * limit);
    f.server->send(sent);
    f.server->close_notify();
    f.world.settle();
    CHECK_FALSE(f.stream->ended());
    std::string text;
    while (!f.stream->input().empty()) {
      for (std::size_t taken = 0; taken < limit && !f.stream->input().empty();) {
        const std::string_view part = f.stream->input().substr(0, at_once);
        text += part;
        taken += part.size();
        f.stream->consume(part.size());
      }
      f.world.settle();
    }
    CHECK(text == sent);
    CHECK(f.stream->ended());
  }
}

Task<void> take_all_once(Stream& stream, std::size_t& taken) {
  co_await stream.until_input(never);
  taken = stream.input().size();
  stream.consume(taken);
}

TEST_CASE("what found no room comes by itself when there is some again") {
  Fixture f;
  f.connect();
  f.server->send(numbered(50'000));
  f.world.settle();
  std::size_t taken = 0;
  Task<void> reader = take_all_once(*f.stream, taken);
  reader.start();
  f.server->send(numbered(50'000));
  f.world.settle();
  REQUIRE(reader.done());
  CHECK(taken <= limit);
  CHECK(taken + f.stream->input().size() == 100'000);
}

TEST_CASE("small pieces go out as one record, large ones in full records") {
  Fixture f;
  f.connect();
  f.peer().take();
  const std::size_t before = f.peer().received().size();
  const std::string_view pieces[] = {"head", "", "er", "body"};
  CHECK(f.stream->send(pieces));
  CHECK(records_of(f.peer().received().substr(before)).size() == 1);
  CHECK(f.stream->bytes_sent() == 10);

  const std::string body = numbered(40'000);
  const std::string_view more[] = {"head", body};
  const std::size_t then = f.peer().received().size();
  CHECK(f.stream->send(more));
  CHECK(records_of(f.peer().received().substr(then)).size() == 3);
  CHECK(f.stream->bytes_sent() == 10 + 4 + body.size());
}

TEST_CASE("what the peer does not take is queued, and told when it is gone") {
  Fixture f;
  f.connect();
  f.peer().take_at_most(1000);
  const std::string body = numbered(100'000);
  CHECK_FALSE(f.stream->send(body));
  CHECK(f.stream->sending());
  const std::size_t queued = f.stream->queued();
  CHECK(queued > body.size() - 1000);
  std::optional<bool> sent;
  Task<void> waiting = wait_sent(*f.stream, sent);
  waiting.start();
  f.peer().take_at_most(5000);
  f.world.settle();
  CHECK_FALSE(sent);
  CHECK(f.stream->queued() == queued - 5000);
  f.peer().take_everything();
  f.world.settle();
  CHECK(sent == true);
  CHECK_FALSE(f.stream->sending());
  CHECK(f.stream->queued() == 0);
  CHECK(f.server->received() == body);
  CHECK(f.stream->send("next"));
  f.world.settle();
  CHECK(f.server->received() == body + "next");
}

TEST_CASE("an answer of the protocol on its way holds nothing up, and nothing overtakes it") {
  Fixture f;
  f.connect();
  f.peer().take_at_most(10);
  // OpenSSL answers one request when the next comes: the first answer gets stuck.
  f.server->update_keys();
  f.server->update_keys();
  f.world.settle();
  CHECK_FALSE(f.stream->sending());
  CHECK_FALSE(f.stream->send("after it"));
  CHECK(f.stream->queued() > 60);  // all three, with what TLS adds
  f.peer().take_at_most(20);
  f.world.settle();
  CHECK(f.stream->sending());  // only the answer is gone
  f.stream->finish();
  f.peer().take_everything();
  f.world.settle();
  CHECK_FALSE(f.stream->sending());
  CHECK(f.server->received() == "after it");
  CHECK(f.server->notified());
}

TEST_CASE("a peer that asks for answers and takes none fails") {
  Fixture f;
  f.connect();
  f.peer().take_at_most(0);
  for (int i = 0; i < 20'000 && !f.stream->failure(); ++i) {
    f.server->update_keys();
    f.world.settle();
  }
  REQUIRE(f.stream->failure());
  CHECK(f.stream->failure()->detail.find("does not take") != std::string::npos);
}

// -- the end

TEST_CASE("finish() is heard as the end, and the input goes on") {
  for (const int version : versions) {
    Fixture f({version});
    f.connect();
    CHECK(f.stream->send("last words"));
    f.stream->finish();
    f.stream->finish();
    f.world.settle();
    CHECK(f.server->received() == "last words");
    CHECK(f.server->notified());
    CHECK(f.peer().ended());
    CHECK_FALSE(f.peer().closed());
    f.server->send("still here");
    f.server->update_keys();  // its answer has no way out any more
    f.server->send("!");
    f.server->close_notify();
    f.world.settle();
    CHECK(f.stream->input() == "still here!");
    CHECK(f.stream->ended());
    CHECK_FALSE(f.stream->failure());
  }
}

TEST_CASE("what the protocol would still say after finish() is not sent") {
  Fixture f;
  f.connect();
  f.stream->finish();
  f.world.settle();
  const std::size_t before = f.peer().received().size();
  f.peer().send(std::string("\x17\x03\x03\x00\x10", 5) + std::string(16, '?'));
  f.world.settle();
  CHECK(f.stream->failure());
  CHECK(f.peer().received().size() == before);
}

TEST_CASE("to destroy is to say goodbye, but not when aborted or in the middle of something") {
  Fixture plain;
  plain.connect();
  plain.stream.reset();
  plain.world.settle();
  CHECK(plain.server->notified());
  CHECK(plain.peer().closed());

  Fixture aborted;
  aborted.connect();
  aborted.stream->abort();
  aborted.stream.reset();
  aborted.world.settle();
  CHECK_FALSE(aborted.server->notified());
  CHECK(aborted.peer().was_reset());

  Fixture busy;
  busy.connect();
  busy.peer().take_at_most(100);
  CHECK_FALSE(busy.stream->send(numbered(1000)));
  busy.stream.reset();
  busy.world.settle();
  CHECK_FALSE(busy.server->notified());
}

TEST_CASE("an end without close_notify is a failure, with all that came before it") {
  for (const int version : versions) {
    Fixture f({version});
    f.connect();
    f.server->send("half a");
    f.peer().finish();
    f.world.settle();
    CHECK(f.stream->input() == "half a");
    CHECK_FALSE(f.stream->ended());
    REQUIRE(f.stream->failure());
    CHECK(f.stream->failure()->type == ErrorType::connection_terminated);
    CHECK(f.stream->failure()->detail ==
          "TLS with redis.test: the connection was closed without close_notify");
    CHECK(f.stream->send("nobody hears"));
  }
}

TEST_CASE("a reset behind a full read-ahead: the failure is told, and nothing is lost") {
  Fixture f;
  f.connect();
  const std::string sent = numbered(limit + 20'000);
  f.server->send(sent);
  f.world.settle();
  REQUIRE(f.stream->input().size() == limit);
  f.peer().reset();
  f.world.settle();
  REQUIRE(f.stream->failure());
  CHECK(f.stream->failure()->type == ErrorType::connection_terminated);
  CHECK(f.stream->input() == sent);
}

TEST_CASE("a reset behind the peer's close_notify is told to who still sends") {
  Fixture f;
  f.connect();
  f.server->close_notify();
  f.world.settle();
  REQUIRE(f.stream->ended());
  f.peer().reset();
  f.world.settle();
  CHECK(f.stream->failure());
}

// Whatever is cut off wherever: an error that says so, never an end, never a hang.
TEST_CASE("the server's bytes end at any byte, by FIN or by reset") {
  for (const int version : versions) {
    for (const bool by_reset : {false, true}) {
      bool complete = false;
      for (std::size_t length = 0; !complete; length += 7) {
        CAPTURE(length);
        Fixture f({version});
        // The server's end is cut off from the client's, and what it says is counted.
        test::FakePair relay = test::make_pair(f.world);
        Task<Connected> connecting =
            tls_connect(relay.stream, trusting_context(), host,
                        after(f.world.now(), std::chrono::seconds(5)), f.world.context());
        std::size_t said_in_all = 0;
        std::size_t left = length;
        std::string text;
        const auto carry = [&] {
          f.world.settle();
          f.pair.stream->send(relay.peer->take());
          f.world.settle();
          const std::string_view said = f.pair.stream->input();
          const std::string part(said.substr(0, left));
          left -= part.size();
          said_in_all += said.size();
          f.pair.stream->consume(said.size());
          relay.peer->send(part);
        };
        connecting.start();
        for (int i = 0; i < 4; ++i) carry();
        const bool shaken = f.server->established() && connecting.done();
        if (shaken) f.server->send("data");
        if (shaken) f.server->close_notify();
        carry();
        by_reset ? relay.peer->reset() : relay.peer->finish();
        f.world.settle();
        REQUIRE(connecting.done());
        Connected connected = connecting.take();
        if (!connected) {
          CHECK(connected.error().group() == ErrorGroup::connect);
          CHECK(connected.error().type == ErrorType::tls_protocol_error);
          continue;
        }
        const Stream& stream = **connected;
        complete = length >= said_in_all;
        CHECK(stream.ended() == complete);
        CHECK(stream.failure().has_value() == (by_reset || !complete));
        CHECK(std::string_view("data").starts_with(stream.input()));
      }
    }
  }
}

TEST_CASE("a byte that was changed on the way is a failure, and is shown to nobody") {
  for (const int version : versions) {
    Fixture whole({version});
    whole.connect();
    const std::size_t length = whole.server->encrypted("truth").size();
    for (std::size_t at = 0; at < length; ++at) {
      CAPTURE(at);
      Fixture f({version});
      f.connect();
      CHECK(f.stream->send("ask"));
      std::string bytes = f.server->encrypted("truth");
      bytes[at] = static_cast<char>(bytes[at] ^ 1);
      f.peer().send(bytes);
      f.peer().finish();
      f.world.settle();
      CHECK(f.stream->input().empty());
      REQUIRE(f.stream->failure());
      CHECK(f.stream->failure()->type == ErrorType::connection_terminated);
    }
  }
}

// -- who it is

struct Trust {
  std::string what;
  CertificateWish wish;
  std::string name;
  std::string detail;  // "": accepted
};

TEST_CASE("the name and the time of the server's certificate are checked") {
  const std::vector<Trust> cases{
      {"the name", {"DNS:redis.test"}, "redis.test", ""},
      {"one of several", {"DNS:a.test,DNS:redis.test"}, "redis.test", ""},
      {"case does not count", {"DNS:redis.test"}, "REDIS.test", ""},
      {"an absolute name", {"DNS:redis.test"}, "redis.test.", ""},
      {"a wildcard", {"DNS:*.redis.test"}, "a.redis.test", ""},
      {"an address", {"IP:192.0.2.7"}, "192.0.2.7", ""},
      {"an address of version 6", {"IP:2001:db8::1"}, "2001:db8::1", ""},
      {"another name", {"DNS:other.test"}, "redis.test", "hostname mismatch"},
      {"a wildcard for two labels", {"DNS:*.redis.test"}, "a.b.redis.test", "hostname mismatch"},
      {"a wildcard for none", {"DNS:*.redis.test"}, "redis.test", "hostname mismatch"},
      {"a part of a label", {"DNS:r*.a.test"}, "redis.a.test", "hostname mismatch"},
      {"another address", {"IP:192.0.2.8"}, "192.0.2.7", "IP address mismatch"},
      {"an address as a name", {"DNS:192.0.2.7"}, "192.0.2.7", "IP address mismatch"},
      {"only a common name", {"", "redis.test"}, "redis.test", "hostname mismatch"},
      {"the common name beside a SAN",
       {"DNS:a.test", "redis.test"},
       "redis.test",
       "hostname mismatch"},
      {"expired", {"DNS:redis.test", "x", -10, -1}, "redis.test", "certificate has expired"},
      {"from tomorrow on",
       {"DNS:redis.test", "x", 1, 2},
       "redis.test",
       "certificate is not yet valid"},
  };
  for (const Trust& each : cases) {
    CAPTURE(each.what);
    const Certificate identity = authority().issue(each.wish);
    Fixture f({}, identity, trusting_context(), each.name);
    if (each.detail.empty()) {
      f.connect();
      continue;
    }
    const Error error = f.refused();
    CHECK(error.type == ErrorType::tls_certificate_error);
    CHECK(error.detail ==
          "TLS handshake with " + each.name + ": its certificate is refused: " + each.detail);
  }
}

TEST_CASE("an authority that is not trusted, and verify = false, which asks nobody") {
  const Authority stranger("a stranger");
  const Certificate identity = stranger.issue({"DNS:other.test", "x", -10, -1});
  const Error error = Fixture({}, identity).refused();
  CHECK(error.type == ErrorType::tls_certificate_error);
  CHECK(error.detail.find("unable to get local issuer certificate") != std::string::npos);

  const auto system = context_of({});
  CHECK(Fixture({}, good(), *system).refused().type == ErrorType::tls_certificate_error);

  TlsClientOptions careless;
  careless.verify = false;
  const auto context = context_of(careless);
  Fixture(TlsPeerOptions{}, identity, *context).connect();
}

TEST_CASE("the name is asked for by SNI, an address is not, and server_name comes first") {
  Fixture named;
  named.connect();
  CHECK(named.server->asked_name() == "redis.test");

  const Certificate with_address = authority().issue({"IP:192.0.2.7"});
  Fixture address({}, with_address, trusting_context(), "192.0.2.7");
  address.connect();
  CHECK(address.server->asked_name().empty());

  TlsClientOptions options = trusting();
  options.server_name = "redis.test";
  const auto context = context_of(options);
  Fixture other({}, good(), *context, "10.0.0.5");
  other.connect();
  CHECK(other.server->asked_name() == "redis.test");
}

TEST_CASE("a name that cannot be said is refused before a byte is sent") {
  const std::string name(300, 'x');
  Fixture f({}, good(), trusting_context(), name);
  CHECK(f.refused().type == ErrorType::tls_certificate_error);
  CHECK(f.peer().received().empty());
}

TEST_CASE("a server that asks for a certificate gets it") {
  const Certificate client = authority().issue({"DNS:client.test"});
  TlsClientOptions options = trusting();
  options.cert = client.cert_file();
  options.key = client.key_file();
  const auto context = context_of(options);
  for (const int version : versions) {
    Fixture f({version, authority().root()}, good(), *context);
    f.connect();
    CHECK(f.server->established());
    CHECK_FALSE(f.stream->failure());
  }
}

// With TLS 1.3 the client is done before the server has looked at its certificate.
TEST_CASE("a server that asks for a certificate and gets none says so") {
  const Error error = Fixture({TLS1_2_VERSION, authority().root()}).refused();
  CHECK(error.type == ErrorType::tls_alert_received);
  CHECK(error.detail.find("handshake failure") != std::string::npos);

  Fixture silent({TLS1_3_VERSION, authority().root()});
  silent.connect();
  REQUIRE(silent.stream->failure());
  CHECK(silent.stream->failure()->type == ErrorType::tls_alert_received);
  CHECK(silent.stream->failure()->detail ==
        "TLS with redis.test: the peer refused: tlsv13 alert certificate required");
}

TEST_CASE("once a byte was sent, a refusal is a broken connection: the peer may have acted") {
  Fixture f({TLS1_3_VERSION, authority().root()});
  f.server->pause(true);
  f.connecting.start();
  f.server->pause(false);
  f.server->pause(true);
  f.world.settle();
  REQUIRE(f.connecting.done());
  f.stream = std::move(*f.connecting.take());
  CHECK(f.stream->send("charge"));
  f.server->pause(false);
  f.world.settle();
  REQUIRE(f.stream->failure());
  CHECK(f.stream->failure()->type == ErrorType::connection_terminated);
  CHECK(f.stream->failure()->detail.find("certificate required") != std::string::npos);
}

// -- what is no TLS, or too old

TEST_CASE("a server that does not speak TLS is told from one that is silent") {
  for (const std::string_view words : {"HTTP/1.1 400 Bad Request\r\n\r\n", "-ERR unknown\r\n"}) {
    test::World world;
    test::FakePair pair = test::make_pair(world);
    Task<Connected> connecting =
        tls_connect(pair.stream, trusting_context(), host,
                    after(world.now(), std::chrono::seconds(1)), world.context());
    connecting.start();
    pair.peer->send(words);
    world.settle();
    REQUIRE(connecting.done());
    Connected connected = connecting.take();
    REQUIRE_FALSE(connected);
    CHECK(connected.error().type == ErrorType::tls_protocol_error);
    CHECK(connected.error().detail ==
          "TLS handshake with redis.test: what the peer says is not TLS");
    CHECK(pair.peer->closed());
  }
  test::World world;
  test::FakePair pair = test::make_pair(world);
  Task<Connected> connecting =
      tls_connect(pair.stream, trusting_context(), host,
                  after(world.now(), std::chrono::seconds(1)), world.context());
  connecting.start();
  world.pass(std::chrono::milliseconds(999));
  CHECK_FALSE(connecting.done());
  world.pass(std::chrono::milliseconds(1));
  REQUIRE(connecting.done());
  Connected connected = connecting.take();
  REQUIRE_FALSE(connected);
  CHECK(connected.error().type == ErrorType::connection_timeout);
  CHECK(connected.error().detail == "TLS handshake with redis.test: no answer in time");
}

TEST_CASE("TLS 1.1 is not spoken") {
  const Error error = Fixture({TLS1_1_VERSION}).refused();
  CHECK(
      (error.type == ErrorType::tls_alert_received || error.type == ErrorType::tls_protocol_error));
}

// -- lifetimes

Task<void> read_once_and(Stream& stream, std::unique_ptr<Stream>& owned) {
  co_await stream.until_input(never);
  owned.reset();
}

TEST_CASE("whoever is told of bytes, the end, or a failure may destroy the stream") {
  for (int news = 0; news < 4; ++news) {
    CAPTURE(news);
    Fixture f;
    f.connect();
    Task<void> reader = read_once_and(*f.stream, f.stream);
    reader.start();
    if (news == 0) f.server->send(numbered(3 * limit));
    if (news == 1) f.server->close_notify();
    if (news == 2) f.peer().finish();
    if (news == 3) f.peer().reset();
    f.world.settle();
    CHECK(reader.done());
    CHECK(f.stream == nullptr);
    CHECK_FALSE(f.peer().open());
  }
}

TEST_CASE("a handshake may be given up at any moment") {
  for (std::size_t steps = 0; steps < 2000; steps += 13) {
    Fixture f({TLS1_3_VERSION, nullptr, 1});
    f.connecting.start();
    f.server->pause(false);
    for (std::size_t i = 0; i < steps && f.world.step(); ++i) {
    }
    f.connecting.reset();
    f.world.settle();
    CHECK_FALSE(f.peer().open());
  }
}

TEST_CASE("a reader may wait, and go, as it likes; until_failed() hears what nobody reads") {
  Fixture f;
  f.connect();
  std::string text;
  {
    Task<void> reader = read_all(*f.stream, 1, text);
    reader.start();
  }
  f.server->send("kept");
  f.world.settle();
  CHECK(f.stream->input() == "kept");
  CHECK(text.empty());
  std::optional<bool> failed;
  Task<void> waiting = wait_failed(*f.stream, failed);
  waiting.start();
  f.peer().reset();
  f.world.settle();
  CHECK(failed == true);
}

TEST_CASE("quiet is who has said nothing, not even half a record") {
  Fixture f;
  f.connect();
  CHECK(f.stream->still_quiet());
  const std::string record = f.server->encrypted("x");
  f.peer().send(record.substr(0, 1));
  CHECK_FALSE(f.stream->still_quiet());  // it has come, and nobody has looked
  f.world.settle();
  CHECK_FALSE(f.stream->still_quiet());
  f.peer().send(record.substr(1));
  f.world.settle();
  CHECK_FALSE(f.stream->still_quiet());
  f.stream->consume(1);
  CHECK(f.stream->still_quiet());
}

}  // namespace
}  // namespace holdfast::net
