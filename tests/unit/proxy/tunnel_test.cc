#include "holdfast/proxy/tunnel.h"

#include <doctest/doctest.h>

#include "tests/support/fake_network.h"

namespace holdfast::test {
namespace {

using namespace std::chrono_literals;
using proxy::TunnelEnd;
using runtime::Task;

class TunnelFixture {
 public:
  explicit TunnelFixture(proxy::TunnelLimits tunnel_limits = {10s, never}) : limits(tunnel_limits) {
    running = proxy::run_tunnel(*left.stream, *right.stream, limits, world.context(), counts);
    running.start();
    world.settle();
  }
  ~TunnelFixture() {
    running.reset();
    CHECK(runtime::live_frames() == frames_before);
  }
  void settle() { world.settle(); }
  bool runs() const { return !running.done(); }
  /// REQUIRES: it does not run any more.
  TunnelEnd end() {
    REQUIRE(running.done());
    return running.take();
  }

  const std::size_t frames_before = runtime::live_frames();
  World world;
  FakePair left = make_pair(world);
  FakePair right = make_pair(world);
  Peer& client = *left.peer;
  Peer& upstream = *right.peer;
  proxy::TunnelLimits limits;
  proxy::TunnelCounts counts;
  Task<TunnelEnd> running;
};

TEST_CASE("bytes go both ways, and are counted") {
  TunnelFixture fixture;
  fixture.client.send("to you");
  fixture.upstream.send("and back");
  fixture.settle();
  CHECK(fixture.upstream.received() == "to you");
  CHECK(fixture.client.received() == "and back");
  CHECK(fixture.counts.to_upstream == 6);
  CHECK(fixture.counts.to_client == 8);
  CHECK(fixture.runs());
}

TEST_CASE("a FIN is passed on, and the other direction goes on until it ends too") {
  for (const bool client_first : {true, false}) {
    TunnelFixture fixture;
    Peer& first = client_first ? fixture.client : fixture.upstream;
    Peer& second = client_first ? fixture.upstream : fixture.client;
    first.send("last words");
    first.finish();
    fixture.settle();
    CHECK(second.received() == "last words");
    CHECK(second.ended());
    CHECK_FALSE(first.ended());
    second.send("still here");
    fixture.settle();
    CHECK(first.received() == "still here");
    CHECK(fixture.runs());
    second.finish();
    fixture.settle();
    CHECK(fixture.end() == TunnelEnd::both_ended);
  }
}

TEST_CASE("a reset of either side ends both") {
  for (const bool of_client : {true, false}) {
    TunnelFixture fixture;
    (of_client ? fixture.client : fixture.upstream).reset();
    fixture.settle();
    CHECK(fixture.end() == (of_client ? TunnelEnd::client_failed : TunnelEnd::upstream_failed));
  }
}

TEST_CASE("only silence in both directions is silence") {
  TunnelFixture fixture;
  for (int i = 0; i < 5; ++i) {
    fixture.world.pass(9s);
    (i % 2 == 0 ? fixture.client : fixture.upstream).send("x");
    fixture.settle();
  }
  fixture.world.pass(10s - Duration(1));
  CHECK(fixture.runs());
  fixture.world.pass(Duration(1));
  CHECK(fixture.end() == TunnelEnd::silent);
}

TEST_CASE("who takes little at a time is not silent; who takes nothing any more is") {
  for (const bool of_client : {true, false}) {
    TunnelFixture fixture;
    Peer& reader = of_client ? fixture.client : fixture.upstream;
    reader.take_at_most(0);
    (of_client ? fixture.upstream : fixture.client).send(std::string(1000, 'x'));
    for (int i = 0; i < 10; ++i) {
      fixture.world.pass(6s);
      reader.take_at_most(10);
    }
    CHECK(fixture.runs());
    CHECK(reader.received().size() == 100);
    fixture.world.pass(20s);
    CHECK(fixture.end() == TunnelEnd::untaken);
  }
}

TEST_CASE("the deadline cuts it, however lively") {
  World clock;
  TunnelFixture fixture({10s, clock.now() + 3s});
  for (int i = 0; i < 2; ++i) {
    fixture.world.pass(1s);
    fixture.client.send("x");
    fixture.settle();
  }
  fixture.world.pass(1s - Duration(1));
  CHECK(fixture.runs());
  fixture.world.pass(Duration(1));
  CHECK(fixture.end() == TunnelEnd::silent);
}

TEST_CASE("who takes nothing is not read for: memory is bounded, and nothing is lost") {
  TunnelFixture fixture;
  fixture.upstream.take_at_most(100);
  fixture.client.send(std::string(1000000, 'x'));
  fixture.settle();
  CHECK(fixture.client.unread() > 1000000 - 4 * net::Stream::read_ahead_limit);
  fixture.client.finish();
  fixture.upstream.take_everything();
  fixture.settle();
  CHECK(fixture.upstream.received().size() == 1000000);
  CHECK(fixture.upstream.ended());
}

}  // namespace
}  // namespace holdfast::test
