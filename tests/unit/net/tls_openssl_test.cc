// TLS against OpenSSL's own server, over real sockets.
#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "holdfast/net/tls.h"
#include "tests/support/certificates.h"
#include "tests/support/child_process.h"
#include "tests/support/loop_fixture.h"

namespace holdfast::net {
namespace {

using runtime::Task;
using Connected = Result<std::unique_ptr<Stream>>;

constexpr std::string_view host = "redis.test";

TEST_CASE("with openssl s_server over a socket, both versions, and a key update") {
  const testing::Authority authority;
  const testing::Certificate identity = authority.issue();
  TlsClientOptions options;
  options.ca = authority.ca_file();
  const auto context = TlsClientContext::make(options);
  REQUIRE(context);
  for (const std::string version : {"-tls1_2", "-tls1_3"}) {
    CAPTURE(version);
    const int port = testing::free_port();
    const std::string place = "127.0.0.1:" + std::to_string(port);
    testing::ChildProcess server({"/usr/bin/openssl", "s_server", "-accept", place, "-cert",
                                  identity.cert_file(), "-key", identity.key_file(), version,
                                  "-rev"});
    REQUIRE(server.standard_output().wait_for("ACCEPT"));
    test::LoopFixture fixture;
    const auto address = Address::from_ip("127.0.0.1", static_cast<std::uint16_t>(port));
    Task<Connected> connecting = fixture.network.connect(*address, never);
    fixture.run(connecting);
    Connected plain = connecting.take();
    REQUIRE(plain);
    Task<Connected> shaking = tls_connect(*plain, **context, host, never, fixture.loop.context());
    fixture.run(shaking);
    Connected connected = shaking.take();
    REQUIRE_MESSAGE(connected, (connected ? "" : connected.error().detail));
    Stream& stream = **connected;
    CHECK(stream.send("abc\n"));
    fixture.run_until([&] { return stream.input().ends_with('\n'); });
    CHECK(stream.input() == "cba\n");
    connected->reset();
    fixture.turn();
  }
}

}  // namespace
}  // namespace holdfast::net
