// A Redis that is full, hung, loading, busy, a replica, restarted, flushed, or not there at all.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "holdfast/store/redis_store.h"
#include "tests/support/redis_fixture.h"

namespace holdfast::store {
namespace {

using test::Command;
using test::fresh;
using test::make_operation;
using test::Operation;
using test::redis_options;
using test::RedisFixture;
using testing::RedisServer;

/// Notices at once what a real store notices within seconds.
constexpr RedisTuning watchful{std::chrono::milliseconds(5), std::chrono::seconds(1)};

StoreOptions impatient(const RedisServer& server) {
  StoreOptions options = redis_options(server);
  options.timeout = std::chrono::milliseconds(300);
  return options;
}

TEST_CASE("unreachable at open: it opens, says so at once, and works when Redis comes") {
  RedisServer server;
  server.kill();
  RedisFixture fixture(server);
  REQUIRE(fixture.error().empty());
  const Operation claim = fresh(Command::claim);
  CHECK(fixture.tell(claim).starts_with("unavailable: "));
  CHECK(fixture.tell_at_once(claim).find("connection refused") != std::string::npos);
  CHECK_FALSE(fixture.backend().stats().up);
  server.start();
  CHECK(fixture.eventually_tells(claim, "acquired"));
  CHECK(fixture.backend().stats().up);
  const std::string log = fixture.log();
  CHECK(log.find("the store cannot be used") != std::string::npos);
  CHECK(log.find("the store answers again") != std::string::npos);
}

TEST_CASE("hung at open: one waits in vain, the next fails at once") {
  RedisServer server;
  server.freeze();
  StoreOptions options = redis_options(server);
  options.timeout = std::chrono::milliseconds(30);
  RedisFixture fixture(options, {std::chrono::seconds(10), std::chrono::milliseconds(300)});
  REQUIRE(fixture.error().empty());
  const Operation claim = fresh(Command::claim);
  CHECK(fixture.tell(claim) == "unavailable: Redis has not been reached yet");
  CHECK(fixture.tell_at_once(claim) == "unavailable: Redis has not been reached yet");
  server.thaw();
  CHECK(fixture.eventually_tells(claim, "acquired"));
}

TEST_CASE("a restart: what was in flight fails, and the next after it finds the way") {
  RedisServer server;
  RedisFixture fixture(server);
  const Operation claim = fresh(Command::claim);
  REQUIRE(fixture.tell(claim) == "acquired");
  server.kill();
  CHECK(fixture.tell(claim).starts_with("unavailable: "));
  fixture.tell_at_once(claim);
  server.start();
  CHECK(fixture.eventually_tells(claim, "acquired"));  // by the scripts of a new server
}

TEST_CASE("a hung Redis: the first waits, the next fails at once, and no late reply misleads") {
  RedisServer server;
  RedisFixture fixture(impatient(server));
  const Operation known = fresh(Command::claim);
  REQUIRE(fixture.eventually_tells(known, "acquired"));
  REQUIRE(fixture.tell(make_operation(Command::tombstone, known.id)) == "ok");
  const Operation gone = make_operation(Command::peek, known.id);
  server.freeze();
  const Operation lost = fresh(Command::claim);
  CHECK(fixture.tell(lost) == "timeout: Redis did not answer in time");
  CHECK(fixture.tell_at_once(gone) == "unavailable: Redis did not answer in time");
  server.thaw();
  // The answer to `lost` may come at any time now; nobody may take it for his own.
  CHECK(testing::eventually([&] {
    fixture.loop().turn();
    const std::string answer = fixture.tell(gone);
    CHECK((answer == "gone" || answer.starts_with("unavailable: ") ||
           answer.starts_with("timeout: ")));
    return answer == "gone";
  }));
  for (int i = 0; i < 20; ++i) {
    CHECK(fixture.tell(gone) == "gone");
    CHECK(fixture.tell(fresh(Command::peek)) == "absent");
  }
}

TEST_CASE("a pause shorter than the time-out delays, a longer one fails") {
  const RedisServer server;
  RedisFixture fixture(impatient(server));
  const Operation claim = fresh(Command::claim);
  REQUIRE(fixture.eventually_tells(claim, "acquired"));
  testing::Socket pauses = testing::Socket::connect("127.0.0.1:" + std::to_string(server.port()));
  pauses.send("CLIENT PAUSE 30 ALL\r\n");
  REQUIRE(pauses.receive(16) == "+OK\r\n");
  CHECK(fixture.tell(claim) == "acquired");
  testing::Socket stops = testing::Socket::connect("127.0.0.1:" + std::to_string(server.port()));
  stops.send("CLIENT PAUSE 2000 ALL\r\n");
  REQUIRE(stops.receive(16) == "+OK\r\n");
  CHECK(fixture.tell(claim) == "timeout: Redis did not answer in time");
  CHECK(fixture.eventually_tells(claim, "acquired"));
}

TEST_CASE("scripts that Redis forgot are sent again") {
  const RedisServer server;
  RedisFixture fixture(server);
  REQUIRE(fixture.tell(fresh(Command::claim)) == "acquired");
  for (const Command command : {Command::claim, Command::complete, Command::inspect}) {
    const Operation operation = fresh(command);
    REQUIRE(server.command({"SCRIPT", "FLUSH"}) == "+OK");
    CHECK_FALSE(fixture.tell(operation).starts_with("refused"));
  }
  CHECK(fixture.backend().stats().up);
}

TEST_CASE("a full Redis takes no claim, and owners still say what became of theirs") {
  const RedisServer server;
  RedisFixture fixture(server);
  const auto claimed = [&] {
    const Operation claim = fresh(Command::claim);
    REQUIRE(fixture.tell(claim) == "acquired");
    return claim.id;
  };
  const Digest completed = claimed();
  REQUIRE(fixture.tell(make_operation(Command::complete, completed)) == "ok");
  const Digest in_flight = claimed();
  const Digest released = claimed();
  const Digest doubtful = claimed();
  REQUIRE(server.command({"CONFIG", "SET", "maxmemory", "1"}) == "+OK");

  CHECK(fixture.tell(fresh(Command::claim)) == "full: OOM");
  CHECK(fixture.tell(make_operation(Command::claim, completed, "foreign")) == "full: OOM");
  CHECK(fixture.tell(make_operation(Command::peek, completed)) == "completed");
  CHECK(fixture.tell(make_operation(Command::inspect, completed)) == "completed");
  CHECK(fixture.tell(make_operation(Command::renew, in_flight)) == "ok");
  CHECK(fixture.tell(make_operation(Command::complete, in_flight)) == "full: OOM");
  CHECK(fixture.tell(make_operation(Command::tombstone, in_flight)) == "ok");
  CHECK(fixture.tell(make_operation(Command::peek, in_flight)) == "gone");
  CHECK(fixture.tell(make_operation(Command::release, released)) == "ok");
  CHECK(fixture.tell(make_operation(Command::mark_unknown, doubtful)) == "ok");
  CHECK(fixture.tell(make_operation(Command::resolve, doubtful)) == "absent");
  CHECK_FALSE(fixture.backend().stats().up);  // keyed requests are refused

  REQUIRE(server.command({"CONFIG", "SET", "maxmemory", "0"}) == "+OK");
  CHECK(fixture.tell(fresh(Command::claim)) == "acquired");
}

TEST_CASE("a Redis that takes no writes is not up, and is again when it takes them") {
  const RedisServer server({"--enable-protected-configs", "yes"});
  RedisFixture fixture(redis_options(server), watchful);
  std::vector<std::string> breaking;
  std::vector<std::string> mending;
  SUBCASE("OOM") {
    breaking = {"CONFIG", "SET", "maxmemory", "1"};
    mending = {"CONFIG", "SET", "maxmemory", "0"};
  }
  SUBCASE("NOREPLICAS") {
    breaking = {"CONFIG", "SET", "min-replicas-to-write", "1"};
    mending = {"CONFIG", "SET", "min-replicas-to-write", "0"};
  }
  SUBCASE("MISCONF") {
    REQUIRE(server.command({"CONFIG", "SET", "save", "3600 1"}) == "+OK");
    REQUIRE(server.command({"CONFIG", "SET", "dir", "/proc"}) == "+OK");
    breaking = {"BGSAVE"};
    mending = {"CONFIG", "SET", "stop-writes-on-bgsave-error", "no"};
  }
  REQUIRE(fixture.eventually_tells(fresh(Command::claim), "acquired"));
  CHECK(fixture.backend().stats().up);
  REQUIRE(server.command(breaking).starts_with("+"));
  const auto up = [&] {
    fixture.loop().turn();
    return fixture.backend().stats().up;
  };
  CHECK(testing::eventually([&] { return !up(); }));
  CHECK_FALSE(fixture.tell(fresh(Command::claim)) == "acquired");
  REQUIRE(server.command(mending).starts_with("+"));
  CHECK(testing::eventually(up));
  CHECK(fixture.tell(fresh(Command::claim)) == "acquired");
}

TEST_CASE("a primary that becomes a replica is left, and taken again when it is one no more") {
  const RedisServer other;
  RedisServer server;
  RedisFixture fixture(server);
  const Operation claim = fresh(Command::claim);
  REQUIRE(fixture.tell(claim) == "acquired");
  const std::string port = std::to_string(other.port());
  REQUIRE(server.command({"REPLICAOF", "127.0.0.1", port}) == "+OK");
  CHECK(fixture.tell(fresh(Command::claim)) == "refused: READONLY");
  // Nor is it read: a replica may be behind.
  const Operation peek = make_operation(Command::peek, claim.id);
  CHECK(fixture.eventually_tells(peek, "refused: READONLY: this Redis is a replica"));
  REQUIRE(server.command({"REPLICAOF", "NO", "ONE"}) == "+OK");
  CHECK(fixture.eventually_tells(fresh(Command::claim), "acquired"));
}

TEST_CASE("a Redis that loads its data is waited for") {
  RedisServer server;
  for (int batch = 0; batch < 10; ++batch) {
    std::vector<std::string> words{"MSET"};
    for (int i = 0; i < 100; ++i) {
      words.push_back("key" + std::to_string(batch * 100 + i));
      words.push_back(std::string(100, 'x'));
    }
    REQUIRE(server.command(words) == "+OK");
  }
  REQUIRE(server.command({"SAVE"}) == "+OK");
  server.kill();
  server.start({"--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024"});
  REQUIRE(server.command({"GET", "key1"}).starts_with("-LOADING"));
  RedisFixture fixture(server);
  const Operation claim = fresh(Command::claim);
  CHECK(fixture.tell(claim) == "refused: SCRIPT LOAD: LOADING");
  CHECK(fixture.eventually_tells(claim, "acquired"));
}

TEST_CASE("a Redis that is busy with a script is a store error") {
  RedisServer server({"--busy-reply-threshold", "10"});
  RedisFixture fixture(impatient(server));
  const Operation claim = fresh(Command::claim);
  REQUIRE(fixture.eventually_tells(claim, "acquired"));
  testing::Socket loops = testing::Socket::connect("127.0.0.1:" + std::to_string(server.port()));
  loops.send("EVAL \"while true do end\" 0\r\n");
  REQUIRE(testing::eventually([&] { return server.command({"PING"}).starts_with("-BUSY"); }));
  CHECK(testing::eventually([&] {
    fixture.loop().turn();
    const std::string answer = fixture.tell(claim);
    CHECK(answer != "acquired");
    return answer.find("BUSY") != std::string::npos;
  }));
  REQUIRE(server.command({"SCRIPT", "KILL"}) == "+OK");
  CHECK(fixture.eventually_tells(claim, "acquired"));
}

TEST_CASE("a node of a cluster is refused in words") {
  const RedisServer server({"--cluster-enabled", "yes"});
  RedisFixture fixture(server);
  CHECK(fixture.tell(fresh(Command::claim)) == "refused: CLUSTERDOWN");
}

TEST_CASE("a wrong password opens a store that says so") {
  const RedisServer server({"--requirepass", "sesame"});
  StoreOptions options = redis_options(server);
  options.url = "redis://:not-sesame@127.0.0.1:" + std::to_string(server.port());
  RedisFixture fixture(options);
  CHECK(fixture.tell(fresh(Command::claim)) == "refused: AUTH: WRONGPASS");
  CHECK(fixture.log().find("sesame") == std::string::npos);
}

TEST_CASE("an evicting policy is refused at open, with the way out") {
  const RedisServer server({"--maxmemory-policy", "volatile-lru"});
  const RedisFixture fixture(server);
  CHECK(fixture.error() == server.url() +
                               ": Redis may throw records away: its maxmemory-policy is "
                               "volatile-lru, it must be noeviction");
}

TEST_CASE("an evicting policy that comes later is a store error while it lasts") {
  const RedisServer server;
  RedisFixture fixture(redis_options(server), watchful);
  REQUIRE(fixture.tell(fresh(Command::claim)) == "acquired");
  REQUIRE(server.command({"CONFIG", "SET", "maxmemory-policy", "allkeys-lru"}) == "+OK");
  const Operation claim = fresh(Command::claim);
  CHECK(fixture.eventually_tells(claim,
                                 "evicting: Redis may throw records away: its maxmemory-policy is "
                                 "allkeys-lru, it must be noeviction"));
  CHECK(fixture.backend().stats().unsafe_eviction);
  REQUIRE(server.command({"CONFIG", "SET", "maxmemory-policy", "noeviction"}) == "+OK");
  CHECK(fixture.eventually_tells(claim, "acquired"));
  CHECK_FALSE(fixture.backend().stats().unsafe_eviction);
}

TEST_CASE("an evicting policy that is allowed is used, and shouted about") {
  const RedisServer server({"--maxmemory-policy", "volatile-lru"});
  StoreOptions options = redis_options(server);
  options.allow_eviction = true;
  RedisFixture fixture(options);
  CHECK(fixture.tell(fresh(Command::claim)) == "acquired");
  CHECK(fixture.backend().stats().unsafe_eviction);
  CHECK(fixture.log().find("may throw idempotency records away") != std::string::npos);
}

TEST_CASE("FLUSHALL is seen by the canary, in every process that had seen it") {
  const RedisServer server;
  RedisFixture one(redis_options(server), watchful);
  RedisFixture other(redis_options(server), watchful);
  const Operation claim = fresh(Command::claim);
  REQUIRE(one.tell(claim) == "acquired");
  REQUIRE(other.tell(make_operation(Command::peek, claim.id)) == "inflight");
  CHECK_FALSE(one.backend().stats().unsafe_lost);
  REQUIRE(server.command({"FLUSHALL"}) == "+OK");
  for (RedisFixture* fixture : {&one, &other}) {
    CHECK(testing::eventually([&] {
      fixture->loop().turn();
      return fixture->backend().stats().unsafe_lost;
    }));
  }
  CHECK(one.log().find("Redis has lost its data") != std::string::npos);
}

}  // namespace
}  // namespace holdfast::store
