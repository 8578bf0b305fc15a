// rediss://, against a real Redis with TLS.
#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <vector>

#include "holdfast/store/redis_store.h"
#include "tests/support/certificates.h"
#include "tests/support/redis_fixture.h"
#include "tests/support/socket.h"

namespace holdfast::store {
namespace {

using test::Command;
using test::fresh;
using test::make_operation;
using test::Operation;
using test::RedisFixture;
using testing::Authority;
using testing::Certificate;
using testing::CertificateWish;

const std::string local_names = "IP:127.0.0.1,DNS:localhost";

const Authority& authority() {
  static const Authority made;
  return made;
}

/// A Redis that speaks TLS on a port of its own, beside the plain one.
class TlsRedis {
 public:
  explicit TlsRedis(const std::string& auth_clients = "no",
                    const CertificateWish& wish = {local_names})
      : identity_(authority().issue(wish)),
        port_(std::to_string(testing::free_port())),
        server_({"--tls-port", port_, "--tls-cert-file", identity_.cert_file(), "--tls-key-file",
                 identity_.key_file(), "--tls-ca-cert-file", authority().ca_file(),
                 "--tls-auth-clients", auth_clients}) {}

  StoreOptions options(const std::string& host = "127.0.0.1") const {
    StoreOptions options = test::redis_options(server_);
    options.url = "rediss://" + host + ":" + port_ + "/0";
    options.tls.ca = authority().ca_file();
    return options;
  }
  const std::string& port() const { return port_; }
  testing::RedisServer& server() { return server_; }

 private:
  Certificate identity_;
  std::string port_;
  testing::RedisServer server_;
};

/// What is told of a claim once the store has tried, and what was logged of that.
std::string refusal(const StoreOptions& options) {
  RedisFixture fixture(options, {std::chrono::seconds(10), std::chrono::milliseconds(500)});
  REQUIRE_MESSAGE(fixture.error().empty(), fixture.error());
  fixture.tell(fresh(Command::claim));
  const std::string told = fixture.tell(fresh(Command::claim));
  CHECK_FALSE(fixture.backend().stats().up);
  CHECK(fixture.log().find(told.substr(told.find(' ') + 1)) != std::string::npos);
  return told;
}

TEST_CASE("over TLS the scripts decide as the policy does") {
  static const TlsRedis redis;
  RedisFixture fixture(redis.options());
  REQUIRE(fixture.error().empty());
  CHECK(fixture.backend().stats().up);
  test::StoreSubject subject{fixture.loop(), fixture.backend(), {}};
  SUBCASE("every transition") {
    test::check_every_transition(subject);
  }
  SUBCASE("payloads") {
    test::check_payloads(subject);
  }
  SUBCASE("random sequences") {
    test::check_random_sequences(subject);
  }
  SUBCASE("simultaneous claims") {
    test::check_simultaneous_claims(subject);
  }
  SUBCASE("cancelled waits") {
    test::check_cancelled_waits(subject);
  }
  SUBCASE("closing") {
    test::check_closing_with_operations_on_the_way(subject);
  }
}

TEST_CASE("a host's name, a name of its own, and no check at all lead to the same records") {
  const TlsRedis redis;
  const Operation claim = fresh(Command::claim);
  const Operation peek = make_operation(Command::peek, claim.id);
  CHECK(RedisFixture(redis.options("localhost")).tell(claim) == "acquired");

  const TlsRedis named("no", {"DNS:redis.test"});
  StoreOptions options = named.options();
  options.tls.server_name = "redis.test";
  CHECK(RedisFixture(options).tell(claim) == "acquired");
  options.tls = {};
  options.tls.verify = false;
  CHECK(RedisFixture(options).tell(peek) == "inflight");
}

TEST_CASE("a Redis that asks for certificates takes ours, and tells who has none") {
  const TlsRedis redis("yes");
  CHECK(refusal(redis.options()).find("certificate required") != std::string::npos);

  const Certificate client = authority().issue({"DNS:holdfast.test"});
  StoreOptions options = redis.options();
  options.tls.cert = client.cert_file();
  options.tls.key = client.key_file();
  CHECK(RedisFixture(options).tell(fresh(Command::claim)) == "acquired");
}

TEST_CASE("a newer context counts from the next connect on") {
  const testing::TemporaryFolder folder;
  const std::string ca =
      folder.write("ca.pem", testing::file_text(Authority("a stranger").ca_file()));
  const TlsRedis redis;
  StoreOptions options = redis.options();
  options.tls.ca = ca;
  RedisFixture fixture(options, {std::chrono::seconds(10), std::chrono::milliseconds(500)});
  const Operation claim = fresh(Command::claim);
  CHECK(fixture.tell(claim).starts_with("unavailable: "));
  const auto credentials = fixture.backend().credentials();
  REQUIRE(credentials != nullptr);
  folder.write("ca.pem", testing::file_text(authority().ca_file()));
  REQUIRE(credentials->current()->files_changed());
  credentials->replace(*credentials->current()->read_again());
  CHECK(fixture.eventually_tells(claim, "acquired"));
}

TEST_CASE("a certificate that is not the server's is refused, with the reason") {
  const std::string beginning =
      "unavailable: TLS handshake with 127.0.0.1: its certificate is refused: ";
  const TlsRedis other_name("no", {"DNS:other.test"});
  CHECK(refusal(other_name.options()) == beginning + "IP address mismatch");
  const TlsRedis expired("no", {local_names, "x", -10, -1});
  CHECK(refusal(expired.options()) == beginning + "certificate has expired");
  const TlsRedis right;
  const Authority stranger("a stranger");
  StoreOptions options = right.options();
  options.tls.ca = stranger.ca_file();
  CHECK(refusal(options) == beginning + "self-signed certificate in certificate chain");
  options.tls.ca.clear();  // the system's
  CHECK(refusal(options).starts_with(beginning));
}

// A plain Redis takes the hello for the beginning of a line, and waits for its end or refuses it.
TEST_CASE("rediss to a plain Redis, and redis to one with TLS, fail and say why") {
  const testing::RedisServer plain;
  StoreOptions options = test::redis_options(plain);
  options.url = "rediss://127.0.0.1:" + std::to_string(plain.port()) + "/0";
  options.tls.ca = authority().ca_file();
  CHECK(refusal(options).starts_with("unavailable: TLS handshake with 127.0.0.1: "));

  const TlsRedis with_tls;
  options = test::redis_options(plain);
  options.url = "redis://127.0.0.1:" + with_tls.port() + "/0";
  const std::string told = refusal(options);
  CHECK(told.starts_with("unavailable: "));
  CHECK(told.ends_with(" (if it speaks TLS, the URL begins with rediss://)"));
}

TEST_CASE("a file or a URL that cannot be used is no start") {
  const TlsRedis redis;
  StoreOptions options = redis.options();
  options.tls.ca = "/nowhere/ca.pem";
  CHECK(RedisFixture(options).error() ==
        "store.tls: ca /nowhere/ca.pem: No such file or directory");
  options.url = "rediss://:sesame@/0";
  CHECK(RedisFixture(options).error() == "store.url: the host is missing");
}

TEST_CASE("a restart, and a server that hangs, are overcome as without TLS") {
  TlsRedis redis;
  StoreOptions options = redis.options();
  options.timeout = std::chrono::milliseconds(300);
  RedisFixture fixture(options, {std::chrono::seconds(10), std::chrono::seconds(1)});
  const Operation claim = fresh(Command::claim);
  REQUIRE(fixture.eventually_tells(claim, "acquired"));
  redis.server().kill();
  const std::string told = fixture.tell(claim);
  CHECK(told.starts_with("unavailable: "));
  redis.server().start();
  REQUIRE(fixture.eventually_tells(claim, "acquired"));
  redis.server().freeze();
  CHECK(fixture.tell(claim).starts_with("timeout: "));
  redis.server().thaw();
  CHECK(fixture.eventually_tells(make_operation(Command::peek, claim.id), "inflight"));
}

}  // namespace
}  // namespace holdfast::store
