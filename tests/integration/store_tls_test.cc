// The idempotency store over TLS: a real Redis that asks for certificates, and files that change.
#include <string>
#include <vector>

#include "tests/support/certificates.h"
#include "tests/support/keyed_setup.h"
#include "tests/support/suite.h"

using namespace holdfast::testing;

namespace {

const CertificateWish local{.san = "IP:127.0.0.1,DNS:localhost"};

/// An authority and a server's certificate of it.
struct Place {
  explicit Place(const std::string& name) : authority(name), identity(authority.issue(local)) {}
  const Authority authority;
  const Certificate identity;
};

/// A Redis that speaks TLS to those who show a certificate of its authority, at a port of its own.
class TlsRedis {
 public:
  explicit TlsRedis(const Place& place) : server_(options(place)) {}

  std::string url() const { return "rediss://localhost:" + port_ + "/0"; }
  /// Again, under another authority; what it held is gone.
  void move_to(const Place& place) {
    server_.kill();
    server_.start(options(place));
  }

 private:
  std::vector<std::string> options(const Place& place) const {
    return {"--tls-port",         port_,
            "--tls-cert-file",    place.identity.cert_file(),
            "--tls-key-file",     place.identity.key_file(),
            "--tls-ca-cert-file", place.authority.ca_file()};
  }

  const std::string port_ = std::to_string(free_port());
  RedisServer server_;
};

/// What holdfast trusts and shows, in files that are replaced.
class Files {
 public:
  explicit Files(const Authority& authority) { use(authority); }
  void use(const Authority& authority) {
    const Certificate client = authority.issue({.san = "DNS:holdfast"});
    folder_.write("ca", file_text(authority.ca_file()));
    folder_.write("cert", file_text(client.cert_file()));
    folder_.write("key", file_text(client.key_file()));
  }
  void spoil() { folder_.write("ca", "nothing of the kind"); }
  std::string table() const {
    const auto file = [&](const std::string& name) {
      return name + " = \"" + folder_.path() + "/" + name + "\"";
    };
    return "tls = { " + file("ca") + ", " + file("cert") + ", " + file("key") + " }\n";
  }

 private:
  TemporaryFolder folder_;
};

TEST_CASE("keys are kept over TLS, and when Redis and the files move to another authority") {
  const Place first("first");
  const Place second("second");
  TlsRedis redis(first);
  Files files(first.authority);
  ScriptedUpstream app(reply(201, "charged"));
  Setup setup{.endpoints = {app.url()}};
  setup.route = "[route.idempotency]\nenabled = true\n";
  setup.more = "[store]\nkind = \"redis\"\nurl = \"" + redis.url() + "\"\n" + files.table();
  Holdfast holdfast(setup);
  const auto charge = [&](const std::string& key) {
    return holdfast.post("/charge", "money", with_key(key)).status;
  };
  CHECK(charge("one") == 201);
  CHECK(charge("one") == 201);
  CHECK(app.request_count() == 1);
  CHECK(holdfast.metric("holdfast_tls_certificate_expiry_timestamp_seconds", {{"store", "redis"}}) >
        0);

  redis.move_to(second);
  CHECK(eventually([&] { return charge("two") == 503; }));
  CHECK(app.request_count() == 1);
  files.use(second.authority);
  CHECK(eventually([&] { return charge("two") == 201; }));
  CHECK(app.request_count() == 2);
  CHECK(holdfast.wait_for_log("certificates renewed"));

  files.spoil();
  CHECK_FALSE(holdfast.reload(setup));
  CHECK(charge("three") == 201);
}

}  // namespace
