#include "holdfast/net/happy_eyeballs.h"

#include <doctest/doctest.h>

#include "tests/support/fake_network.h"

namespace holdfast::net {
namespace {

using namespace std::chrono_literals;
using test::ConnectOutcome;
using Kind = ConnectOutcome::Kind;
using Raced = Result<RaceResult>;

struct Fixture {
  ~Fixture() {
    task.reset();
    CHECK(runtime::live_frames() == frames_before);
  }
  void race(ConnectOutcome one, ConnectOutcome other, Duration within = 1s) {
    network.script(first.text(), one);
    network.script(second.text(), other);
    started = world.now();
    task = connect_to_either(network, world.context(), first, second, after(started, within));
    task.start();
    world.settle();
  }
  std::string result() {
    if (!task.done()) return "goes on";
    Raced raced = task.take();
    if (!raced) return std::string(name(raced.error().type));
    return raced->second_won ? "second" : "first";
  }
  Duration taken() const { return world.now() - started; }

  const std::size_t frames_before = runtime::live_frames();
  test::World world;
  test::FakeNetwork network{world};
  const Address first = *Address::from_ip("2001:db8::1", 80);
  const Address second = *Address::from_ip("10.0.0.1", 80);
  TimePoint started{};
  runtime::Task<Raced> task;
};

TEST_CASE("a first address that answers in time is the only one asked") {
  Fixture f;
  f.race({Kind::accept, 249ms}, {});
  f.world.pass(249ms);
  CHECK(f.result() == "first");
  CHECK(f.network.connects.size() == 1);
}

TEST_CASE("the second is asked after 250 ms, and whichever answers first wins") {
  Fixture f;
  SUBCASE("the second, while the first is silent") {
    f.race({Kind::silence}, {Kind::accept, 10ms});
    f.world.pass(249ms);
    CHECK(f.network.connects.size() == 1);
    f.world.pass(11ms);
    CHECK(f.result() == "second");
  }
  SUBCASE("the first, though late") {
    f.race({Kind::accept, 300ms}, {Kind::accept, 200ms});
    f.world.pass(300ms);
    CHECK(f.result() == "first");
    CHECK(f.network.connects.size() == 2);
  }
}

TEST_CASE("a first that fails is followed at once") {
  Fixture f;
  f.race({Kind::fail}, {});
  CHECK(f.result() == "second");
  CHECK(f.taken() == Duration::zero());
}

TEST_CASE("one that fails in the race leaves it to the other") {
  Fixture f;
  SUBCASE("the first, after its rival has begun") {
    f.race({Kind::fail, 260ms}, {Kind::accept, 100ms});
    f.world.pass(350ms);
    CHECK(f.result() == "second");
  }
  SUBCASE("the second") {
    f.race({Kind::accept, 400ms}, {Kind::fail, 10ms});
    f.world.pass(400ms);
    CHECK(f.result() == "first");
  }
}

TEST_CASE("when both fail, how the first did is told") {
  Fixture f;
  SUBCASE("the first before the second") {
    f.race({Kind::fail, 5ms, ErrorType::destination_ip_unroutable}, {Kind::fail});
    f.world.pass(5ms);
    CHECK(f.result() == "destination_ip_unroutable");
  }
  SUBCASE("the second before the first") {
    f.race({Kind::fail, 500ms, ErrorType::destination_ip_unroutable}, {Kind::fail, 1ms});
    f.world.pass(500ms);
    CHECK(f.result() == "destination_ip_unroutable");
  }
  SUBCASE("neither answers before the deadline") {
    f.race({Kind::silence}, {Kind::silence});
    f.world.pass(1s);
    CHECK(f.result() == "connection_timeout");
  }
}

TEST_CASE("a loser's connection is closed, and so is everything that is cancelled") {
  Fixture f;
  f.race({Kind::accept, 300ms}, {Kind::accept, 100ms});
  SUBCASE("a winner") {
    f.world.pass(300ms);
    CHECK(f.result() == "first");
    f.task.reset();
    f.world.pass(1s);
    for (const auto& peer : f.network.accepted) CHECK_FALSE(peer->open());
  }
  SUBCASE("at any moment") {
    for (const Duration at : {Duration(0ms), Duration(100ms), Duration(250ms), Duration(299ms)}) {
      Fixture g;
      g.race({Kind::accept, 300ms}, {Kind::accept, 100ms});
      g.world.pass(at);
      g.task.reset();
      g.world.pass(1s);
      for (const auto& peer : g.network.accepted) CHECK_FALSE(peer->open());
    }
  }
}

}  // namespace
}  // namespace holdfast::net
