#include "holdfast/proxy/key_waiter.h"

#include <doctest/doctest.h>

#include "holdfast/runtime/scope.h"
#include "tests/support/proxy_fixture.h"

namespace holdfast::test {
namespace {

using namespace std::chrono_literals;
using proxy::KeyWaiter;

const Digest id{1};

struct Bench {
  World world;
  FakeNetwork network{world};
  Recorder seen;
  proxy::SharedUpstreams upstreams;
  proxy::Services services{world.context(), network, network, seen, upstreams, {}};
  proxy::KeyBoard board;
  runtime::Scope scope;
  std::string ends;  // of each wait, 'w' for woken, 'd' for the deadline

  runtime::Task<void> waits(KeyWaiter& waiter, Duration patience) {
    const TimePoint deadline = world.now() + patience;
    const bool woken = co_await waiter.until_woken(deadline);
    ends += woken ? 'w' : 'd';
  }
  void wait(KeyWaiter& waiter, Duration patience) { scope.spawn(waits(waiter, patience)); }
};

TEST_CASE("nobody wakes it: it waits to its deadline, not a moment less") {
  Bench bench;
  KeyWaiter waiter(bench.board, id, bench.services);
  bench.wait(waiter, 3s);
  bench.world.pass(3s - Duration(1));
  CHECK(bench.ends.empty());
  bench.world.pass(Duration(1));
  CHECK(bench.ends == "d");
}

TEST_CASE("woken while it waits, before it waits, and between two waits") {
  Bench bench;
  KeyWaiter waiter(bench.board, id, bench.services);
  bench.wait(waiter, 3s);
  bench.board.wake(id, nullptr);
  CHECK(bench.ends.empty());  // on the loop, not on the stack of who wakes
  bench.world.settle();
  CHECK(bench.ends == "w");

  bench.board.wake(id, nullptr);
  bench.world.settle();
  bench.wait(waiter, 3s);
  CHECK(bench.ends == "ww");

  // A wake-up counts once, however many they were.
  bench.board.wake(id, nullptr);
  bench.board.wake(id, nullptr);
  bench.world.settle();
  bench.wait(waiter, 3s);
  bench.wait(waiter, 3s);
  CHECK(bench.ends == "www");
  bench.world.pass(3s);
  CHECK(bench.ends == "wwwd");
}

TEST_CASE("a wake-up that is on its way when the wait ends is there for the next one") {
  Bench bench;
  KeyWaiter waiter(bench.board, id, bench.services);
  bench.wait(waiter, 0s);
  bench.world.settle();
  CHECK(bench.ends == "d");
  bench.board.wake(id, nullptr);
  bench.world.settle();
  bench.wait(waiter, 3s);
  CHECK(bench.ends == "dw");
}

TEST_CASE("an answer stays with the waiter; a wake-up without one does not take it away") {
  Bench bench;
  KeyWaiter waiter(bench.board, id, bench.services);
  CHECK(waiter.answer() == nullptr);
  const auto said = std::make_shared<const proxy::SharedAnswer>(
      proxy::SharedAnswer{{}, 429, "Retry-After: 3\r\n", "later"});
  bench.board.wake(id, said);
  bench.board.wake(id, nullptr);
  CHECK(waiter.answer() == nullptr);
  bench.world.settle();
  REQUIRE(waiter.answer() != nullptr);
  CHECK(waiter.answer()->body == "later");
}

TEST_CASE("gone before the wake-up arrives: it reaches nobody") {
  Bench bench;
  {
    KeyWaiter waiter(bench.board, id, bench.services);
    SUBCASE("between two waits") {}
    SUBCASE("cancelled within a wait") {
      bench.wait(waiter, 3s);
    }
    bench.board.wake(id, nullptr);
    bench.scope.cancel_all();
  }
  bench.world.settle();
  CHECK(bench.ends.empty());
  CHECK_FALSE(bench.board.awaited(id));
}

TEST_CASE("who goes hands the asking over") {
  Bench bench;
  std::optional<KeyWaiter> first(std::in_place, bench.board, id, bench.services);
  KeyWaiter second(bench.board, id, bench.services);
  CHECK(first->asks());
  CHECK_FALSE(second.asks());
  bench.wait(second, 3s);
  first.reset();
  bench.world.settle();
  CHECK(bench.ends == "w");
  CHECK(second.asks());
  CHECK(second.answer() == nullptr);
}

TEST_CASE("who is not admitted is not counted, asks nothing and is woken by nobody") {
  Bench bench;
  std::vector<std::unique_ptr<KeyWaiter>> all;
  for (std::size_t n = 0; n < proxy::KeyBoard::max_waiters_per_key; ++n) {
    all.push_back(std::make_unique<KeyWaiter>(bench.board, id, bench.services));
    CHECK(all.back()->admitted());
  }
  {
    KeyWaiter late(bench.board, id, bench.services);
    CHECK_FALSE(late.admitted());
    CHECK_FALSE(late.asks());
    CHECK(bench.seen.key_waiters == 16);
    bench.wait(late, 1s);
    bench.board.wake(id, nullptr);
    bench.world.pass(1s);
    CHECK(bench.ends == "d");
  }
  CHECK(bench.seen.key_waits.empty());
  all.clear();
  CHECK(bench.seen.key_waiters == 0);
  CHECK(bench.seen.key_waits == std::vector<Duration>(16, 1s));
  CHECK_FALSE(bench.board.awaited(id));
}

}  // namespace
}  // namespace holdfast::test
