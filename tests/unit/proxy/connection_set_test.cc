#include "holdfast/proxy/connection_set.h"

#include <doctest/doctest.h>

#include "tests/support/proxy_fixture.h"

namespace holdfast::test {
namespace {

/// Never answers.
class SilentHandler final : public proxy::Handler {
 public:
  explicit SilentHandler(runtime::Timers& timers) : timers_(timers) {}
  runtime::Task<void> handle(proxy::Transaction&) override {
    runtime::Signal nothing;
    co_await runtime::wait_for(nothing, timers_, never);
  }
  void refused(proxy::Transaction&, const http::RequestError&, std::string_view) override {}
  const proxy::DownstreamOptions& options() const override { return options_; }
  bool draining() const override { return false; }

 private:
  runtime::Timers& timers_;
  proxy::DownstreamOptions options_;
};

struct SetFixture {
  ~SetFixture() {
    set.reset();
    CHECK(runtime::live_frames() == frames_before);
  }
  std::shared_ptr<Peer> connect() {
    FakePair pair = make_pair(world);
    set->serve(std::move(pair.stream), listener);
    world.settle();
    return pair.peer;
  }
  const std::size_t frames_before = runtime::live_frames();
  World world;
  SilentHandler handler{world.context().timers};
  const std::string listener = "main";
  int closed = 0;
  std::unique_ptr<proxy::ConnectionSet> set =
      std::make_unique<proxy::ConnectionSet>(handler, world.context(), [this] { ++closed; });
};

TEST_CASE("each connection is there until it ends, and its end is told once") {
  SetFixture fixture;
  auto first = fixture.connect();
  auto second = fixture.connect();
  CHECK(fixture.set->size() == 2);
  first->finish();
  fixture.world.settle();
  CHECK(fixture.set->size() == 1);
  CHECK(fixture.closed == 1);
  CHECK(first->closed());
  CHECK(second->open());
}

TEST_CASE("a drain closes what is between two requests, and nothing else") {
  SetFixture fixture;
  auto idle = fixture.connect();
  auto in_head = fixture.connect();
  in_head->send("GET / HT");
  auto busy = fixture.connect();
  busy->send(get());
  fixture.world.settle();
  fixture.set->close_idle();
  CHECK(idle->closed());
  CHECK(in_head->open());
  CHECK(busy->open());
  CHECK(fixture.closed == 1);
  fixture.set->close_idle();
  CHECK(fixture.closed == 1);
}

TEST_CASE("one of those between two requests makes room: the oldest") {
  SetFixture fixture;
  auto busy = fixture.connect();
  busy->send(get());
  auto oldest = fixture.connect();
  auto newest = fixture.connect();
  CHECK(fixture.set->close_oldest_idle());
  CHECK(oldest->closed());
  CHECK(newest->open());
  CHECK(fixture.set->close_oldest_idle());
  CHECK(newest->closed());
  CHECK_FALSE(fixture.set->close_oldest_idle());
  CHECK(busy->open());
  CHECK(fixture.closed == 2);
}

TEST_CASE("a cut ends all, whatever they do") {
  SetFixture fixture;
  auto idle = fixture.connect();
  auto busy = fixture.connect();
  busy->send(get());
  fixture.world.settle();
  fixture.set->cut();
  CHECK_FALSE(idle->open());
  CHECK_FALSE(busy->open());
  CHECK(fixture.set->size() == 0);
  CHECK(fixture.closed == 2);
}

TEST_CASE("a connection whose peer has sent and gone before it is served") {
  SetFixture fixture;
  FakePair pair = make_pair(fixture.world);
  pair.peer->finish();
  fixture.world.settle();
  fixture.set->serve(std::move(pair.stream), fixture.listener);
  fixture.world.settle();
  CHECK(fixture.set->size() == 0);
  CHECK(fixture.closed == 1);
  fixture.set->close_idle();
}

}  // namespace
}  // namespace holdfast::test
