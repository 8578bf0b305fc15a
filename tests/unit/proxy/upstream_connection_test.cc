#include "holdfast/proxy/upstream_connection.h"

#include <doctest/doctest.h>

#include "tests/support/proxy_fixture.h"

namespace holdfast::test {
namespace {

using namespace std::chrono_literals;
using proxy::EndpointPool;
using proxy::Lease;
using runtime::Task;

/// A pool, and acquires that run beside each other.
class PoolFixture {
 public:
  explicit PoolFixture(proxy::PoolOptions options = {}, std::string url = "http://10.0.0.1:80") {
    proxy::UpstreamConfig config = upstream_of("api", {std::move(url)});
    config.pool = options;
    shared = std::make_shared<proxy::SharedUpstream>(config);
    pool = std::make_unique<EndpointPool>(shared->endpoints().members()->list[0], options, shared,
                                          world.context(), network);
  }
  ~PoolFixture() {
    waiting.clear();
    world.settle();
    pool.reset();
    world.settle();
    CHECK(shared->active_connections == 0);
    CHECK(shared->idle_connections == 0);
    for (std::uint64_t i = 0; i < 3 && shared->try_open(); ++i) ++free_places;
    CHECK(free_places > 0);  // every place came back
    CHECK(runtime::live_frames() == frames_before);
  }

  /// Begins an acquire; its result is there when it has one.
  Task<Result<Lease>>& acquire(bool fresh = false, TimePoint deadline = never) {
    waiting.push_back(pool->acquire(fresh, 1s, deadline));
    waiting.back().start();
    world.settle();
    return waiting.back();
  }
  Lease take(bool fresh = false) {
    Task<Result<Lease>>& task = acquire(fresh);
    REQUIRE(task.done());
    Result<Lease> result = task.take();
    waiting.pop_back();
    REQUIRE(result);
    return std::move(*result);
  }
  ErrorType error_of(Task<Result<Lease>>& task) {
    REQUIRE(task.done());
    Result<Lease> result = task.take();
    REQUIRE_FALSE(result);
    return result.error().type;
  }

  const std::size_t frames_before = runtime::live_frames();
  World world;
  FakeNetwork network{world};
  std::shared_ptr<proxy::SharedUpstream> shared;
  std::unique_ptr<EndpointPool> pool;
  std::deque<Task<Result<Lease>>> waiting;
  int free_places = 0;
};

proxy::PoolOptions at_most(std::uint64_t connections, std::uint64_t pending = 10) {
  proxy::PoolOptions options;
  options.max_connections = connections;
  options.max_pending = pending;
  return options;
}

// ------------------------------------------------------------------------------------------- reuse

TEST_CASE("what was released is used again, the last one first") {
  PoolFixture fixture;
  Lease first = fixture.take();
  Lease second = fixture.take();
  CHECK(fixture.pool->in_flight() == 2);
  CHECK_FALSE(second->reused());
  const auto* last = &*second;
  first.release();
  second.release();
  CHECK(fixture.pool->idle() == 2);
  CHECK(fixture.shared->idle_connections == 2);
  Lease again = fixture.take();
  CHECK(&*again == last);
  CHECK(again->reused());
  CHECK(fixture.network.connects.size() == 2);
}

TEST_CASE("a lease that is dropped closes its connection; `fresh` takes no idle one") {
  PoolFixture fixture;
  { Lease dropped = fixture.take(); }
  CHECK(fixture.network.accepted[0]->closed());
  CHECK(fixture.pool->idle() == 0);
  Lease kept = fixture.take();
  kept.release();
  Lease fresh = fixture.take(true);
  CHECK_FALSE(fresh->reused());
  CHECK(fixture.network.connects.size() == 3);
}

TEST_CASE("an idle connection closes at a FIN, a reset, an unasked byte, or its time") {
  const std::vector<std::function<void(World&, Peer&)>> ends = {
      [](World&, Peer& peer) { peer.finish(); }, [](World&, Peer& peer) { peer.reset(); },
      [](World&, Peer& peer) { peer.send("x"); },
      [](World& world, Peer&) { world.pass(60s - Duration(1)); }};
  for (std::size_t i = 0; i < ends.size(); ++i) {
    CAPTURE(i);
    PoolFixture fixture;
    fixture.take().release();
    Peer& peer = *fixture.network.accepted[0];
    ends[i](fixture.world, peer);
    if (i == 3) {
      CHECK(fixture.pool->idle() == 1);
      fixture.world.pass(Duration(1));
    }
    fixture.world.settle();
    CHECK(fixture.pool->idle() == 0);
    CHECK_FALSE(peer.open());
    CHECK(fixture.shared->idle_connections == 0);
  }
}

TEST_CASE("a FIN that nobody has looked at yet: asked for certain, it is seen") {
  PoolFixture fixture;
  fixture.take().release();
  fixture.network.accepted[0]->finish();
  CHECK_FALSE(fixture.pool->take_idle(true));
  CHECK(fixture.pool->idle() == 0);
  // Its own watch, which learns of the FIN now, has gone with it.
  fixture.world.settle();
  CHECK(fixture.network.accepted[0]->closed());
}

TEST_CASE("closing an idle connection and its FIN in one turn of the loop") {
  PoolFixture fixture;
  fixture.take().release();
  CHECK(fixture.pool->close_one_idle());
  fixture.network.accepted[0]->finish();
  fixture.world.settle();
  CHECK_FALSE(fixture.pool->close_one_idle());
}

TEST_CASE("a connection that has more to say, or is worn out, does not go back") {
  proxy::PoolOptions options;
  options.max_requests = 2;
  PoolFixture fixture(options);
  Lease lease = fixture.take();
  fixture.network.accepted[0]->send("surplus");
  fixture.world.settle();
  lease.release();
  CHECK(fixture.pool->idle() == 0);
  fixture.take().release();
  CHECK(fixture.pool->idle() == 1);
  fixture.take().release();
  CHECK(fixture.pool->idle() == 0);
}

TEST_CASE("a retired pool closes what is idle, and keeps nothing") {
  PoolFixture fixture;
  Lease busy = fixture.take();
  fixture.take().release();
  fixture.pool->retire();
  CHECK(fixture.pool->idle() == 0);
  busy.release();
  CHECK(fixture.pool->idle() == 0);
  fixture.world.settle();
  for (const auto& peer : fixture.network.accepted) CHECK(peer->closed());
}

// -------------------------------------------------------------------------------- waiting for a
// place

TEST_CASE("a released connection is handed to the first who waits, place and all") {
  PoolFixture fixture(at_most(1));
  Lease busy = fixture.take();
  auto& first = fixture.acquire();
  auto& second = fixture.acquire();
  CHECK_FALSE(first.done());
  busy.release();
  fixture.world.settle();
  REQUIRE(first.done());
  CHECK_FALSE(second.done());
  Lease handed = std::move(*first.take());
  CHECK(handed->reused());
  CHECK(fixture.network.connects.size() == 1);
  handed.close();
  fixture.world.settle();
  REQUIRE(second.done());
  CHECK_FALSE((*second.take())->reused());
}

TEST_CASE("a handed connection that has died on the way is replaced in its place") {
  PoolFixture fixture(at_most(1));
  Lease busy = fixture.take();
  auto& waiting = fixture.acquire();
  busy.release();
  fixture.network.accepted[0]->finish();
  fixture.world.settle();
  REQUIRE(waiting.done());
  Result<Lease> lease = waiting.take();
  REQUIRE(lease);
  CHECK(fixture.network.connects.size() == 2);
}

TEST_CASE("too many who wait, and those whose time is over") {
  PoolFixture fixture(at_most(1, 1));
  Lease busy = fixture.take();
  auto& waits = fixture.acquire(false, fixture.world.now() + 1s);
  auto& refused = fixture.acquire();
  CHECK(fixture.error_of(refused) == ErrorType::connection_limit_reached);
  fixture.world.pass(1s - Duration(1));
  CHECK_FALSE(waits.done());
  fixture.world.pass(Duration(1));
  CHECK(fixture.error_of(waits) == ErrorType::http_response_timeout);
}

TEST_CASE("who stops waiting at any moment gives the place to the next") {
  for (const int moment : {0, 1, 2, 3, 4}) {
    CAPTURE(moment);
    PoolFixture fixture(at_most(1));
    Lease busy = fixture.take();
    auto& gone = fixture.acquire();
    auto& next = fixture.acquire();
    if (moment == 1) busy.close();    // granted, and the news not yet heard
    if (moment == 2) busy.release();  // handed, and not yet taken
    if (moment == 3) {
      busy.close();
      fixture.network.script("10.0.0.1:80", {ConnectOutcome::Kind::silence});
      fixture.world.settle();  // it connects already
    }
    if (moment == 4) {  // the news is heard in the very turn in which it gives up
      busy.close();
      fixture.world.schedule(0s, [&gone] { gone.reset(); });
      fixture.world.settle();
    }
    gone.reset();
    if (busy) busy.release();
    fixture.world.settle();
    REQUIRE(next.done());
    CHECK(next.take());
  }
}

TEST_CASE("idle connections elsewhere are closed for who waits") {
  PoolFixture fixture(at_most(1));
  proxy::SharedEndpoints elsewhere(upstream_of("api", {"http://10.0.0.2:80"}), {});
  EndpointPool other(elsewhere.members()->list[0], at_most(1), fixture.shared,
                     fixture.world.context(), fixture.network);
  fixture.take().release();
  Task<Result<Lease>> task = other.acquire(false, 1s, never);
  task.start();
  fixture.world.settle();
  REQUIRE(task.done());
  CHECK(task.take());
  CHECK(fixture.network.accepted[0]->closed());
}

// -----------------------------------------------------------------------------------------
// connecting

TEST_CASE("a connect that fails gives its place back") {
  PoolFixture fixture(at_most(1));
  fixture.network.script("10.0.0.1:80", {ConnectOutcome::Kind::fail});
  CHECK(fixture.error_of(fixture.acquire()) == ErrorType::connection_refused);
  fixture.network.script("10.0.0.1:80", {ConnectOutcome::Kind::silence});
  auto& silent = fixture.acquire();
  fixture.world.pass(1s);
  CHECK(fixture.error_of(silent) == ErrorType::connection_timeout);
  CHECK(fixture.take());
}

}  // namespace
}  // namespace holdfast::test
