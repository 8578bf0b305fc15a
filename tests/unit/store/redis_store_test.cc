#include "holdfast/store/redis_store.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "tests/support/redis_fixture.h"

// What goes wrong with a Redis is redis_store_faults_test.cc's matter.

namespace holdfast::store {
namespace {

using test::Command;
using test::fresh;
using test::make_operation;
using test::Operation;
using test::redis_options;
using test::RedisFixture;
using test::StoreResult;
using test::Verdict;
using testing::RedisServer;

TEST_CASE("the scripts in Redis decide as the policy does") {
  static const RedisServer server;
  RedisFixture fixture(server);
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

TEST_CASE("a unix socket, a password, a user and a database lead to the same records") {
  const RedisServer server({"--requirepass", "open"});
  REQUIRE(server.command({"ACL", "SETUSER", "me", "on", ">sesame", "~*", "+@all"}) == "+OK");
  const std::string place = "127.0.0.1:" + std::to_string(server.port());
  const Operation claim = fresh(Command::claim);
  StoreOptions options = redis_options(server);
  options.url = "redis://:open@" + place + "/5";
  RedisFixture first(options);
  CHECK(first.tell(claim) == "acquired");
  options.url = "redis://me:sesame@" + place + "/5";
  RedisFixture second(options);
  CHECK(second.tell(make_operation(Command::peek, claim.id)) == "inflight");
  options.url = "unix://:open@" + server.socket_path() + "?db=5";
  RedisFixture third(options);
  CHECK(third.tell(make_operation(Command::peek, claim.id)) == "inflight");
  options.url = "redis://:open@" + place + "/0";
  RedisFixture elsewhere(options);
  CHECK(elsewhere.tell(make_operation(Command::peek, claim.id)) == "absent");
}

TEST_CASE("one record is one key, with the prefix, without the token") {
  const RedisServer server;
  StoreOptions options = redis_options(server);
  options.key_prefix = "shop:";
  RedisFixture fixture(options);
  const Operation claim = make_operation(Command::claim, test::fresh_id(), "secret-token");
  REQUIRE(fixture.tell(claim) == "acquired");
  const std::string keys = server.command({"KEYS", "*"});
  CHECK(keys.starts_with("*2\r\n"));
  CHECK(keys.find("shop:canary") != std::string::npos);
  CHECK(keys.find("shop:r:" + hex(claim.id)) != std::string::npos);
  CHECK(keys.find("secret-token") == std::string::npos);
}

TEST_CASE("a record lives for its ttl, whatever its lease, and Redis forgets it then") {
  const RedisServer server;
  RedisFixture fixture(server);
  Operation claim = fresh(Command::claim);
  claim.lease = policy::Milliseconds(1);
  claim.ttl = std::chrono::hours(24);
  REQUIRE(fixture.tell(claim) == "acquired");
  const std::string key = "holdfast:r:" + hex(claim.id);
  const std::string left = server.command({"PTTL", key});
  CHECK(std::stoll(left.substr(1)) > 86'300'000);
  CHECK(fixture.eventually_tells(make_operation(Command::peek, claim.id), "unknown"));

  Operation brief = fresh(Command::claim);
  brief.ttl = policy::Milliseconds(30);
  REQUIRE(fixture.tell(brief) == "acquired");
  CHECK(fixture.eventually_tells(make_operation(Command::peek, brief.id), "absent"));
  CHECK(server.command({"PTTL", "holdfast:canary"}) == ":-1");
}

TEST_CASE("a released record keeps its token for a minute") {
  const RedisServer server;
  RedisFixture fixture(server);
  const Operation claim = fresh(Command::claim);
  REQUIRE(fixture.tell(claim) == "acquired");
  REQUIRE(fixture.tell(make_operation(Command::release, claim.id)) == "ok");
  const std::string left = server.command({"PTTL", "holdfast:r:" + hex(claim.id)});
  CHECK(std::stoll(left.substr(1)) > 50'000);
  CHECK(std::stoll(left.substr(1)) <= 60'000);
}

/// Claims every id, on a loop of its own; how many it acquired.
int acquired_of(StoreBackend& backend, const std::vector<Digest>& ids, std::string_view token) {
  test::LoopFixture loop;
  const auto store = backend.open(loop.loop.context(), loop.network, loop.network);
  std::vector<Operation> claims;
  for (const Digest& id : ids) claims.push_back(make_operation(Command::claim, id, token));
  std::vector<StoreResult> results;
  runtime::Scope scope;
  for (const Operation& claim : claims) scope.spawn(test::claim_for(*store, claim, results));
  loop.run_until([&] { return results.size() == claims.size(); });
  return static_cast<int>(std::ranges::count_if(results, [](const StoreResult& result) {
    return result && result->kind == Verdict::Kind::acquired;
  }));
}

TEST_CASE("of workers and replicas of holdfast that race for a key, one acquires it") {
  const RedisServer server;
  RedisFixture one(server);
  RedisFixture other(server);
  std::vector<Digest> ids(500);
  for (Digest& id : ids) id = test::fresh_id();
  std::atomic<int> acquired = 0;
  std::vector<std::thread> workers;
  for (int worker = 0; worker < 4; ++worker) {
    StoreBackend& backend = worker % 2 == 0 ? one.backend() : other.backend();
    workers.emplace_back([&acquired, &backend, &ids, worker] {
      acquired += acquired_of(backend, ids, std::to_string(worker));
    });
  }
  for (std::thread& worker : workers) worker.join();
  CHECK(acquired == 500);
}

TEST_CASE("a record that is not ours, or is damaged, is refused rather than guessed at") {
  const RedisServer server;
  RedisFixture fixture(server);
  struct Case {
    const char* name;
    std::vector<std::string> command;  // after the key
  };
  const auto damage = [&](const Digest& id, std::vector<std::string> words) {
    words.insert(words.begin() + 1, "holdfast:r:" + hex(id));
    server.command(words);
  };
  const std::vector<Case> cases{
      {"another type", {"SET", "x"}},
      {"another format", {"HSET", "v", "2", "s", "I", "k", "t"}},
      {"no state", {"HSET", "v", "1", "k", "t"}},
      {"no token", {"HSET", "v", "1", "s", "C"}},
      {"no lease", {"HSET", "v", "1", "s", "I", "k", "t", "a", "1"}},
      {"no status",
       {"HSET", "v", "1", "s", "C", "k", "t", "a", "1", "f", hex(test::digest_of("request"))}},
  };
  for (const Case& each : cases) {
    CAPTURE(each.name);
    const Operation claim = fresh(Command::claim);
    damage(claim.id, each.command);
    CHECK(fixture.tell(claim).starts_with("corrupt: "));
    CHECK(fixture.tell(make_operation(Command::peek, claim.id)).starts_with("corrupt: "));
  }
}

TEST_CASE("a claim waits for replicas, and is given back when there are too few") {
  const RedisServer primary;
  StoreOptions options = redis_options(primary);
  options.wait_replicas = 1;
  options.wait_timeout = std::chrono::milliseconds(20);
  RedisFixture fixture(options);
  const Operation refused = fresh(Command::claim);
  CHECK(fixture.tell(refused) == "replicas: 0 of 1 replicas have the claim");
  CHECK(fixture.tell(make_operation(Command::peek, refused.id)) == "absent");
  CHECK(fixture.tell(refused) == "revoked");

  std::vector<Operation> claims;
  for (int i = 0; i < 64; ++i) claims.push_back(fresh(Command::claim));
  std::vector<StoreResult> results;
  runtime::Scope scope;
  const testing::Stopwatch stopwatch;
  for (const Operation& claim : claims) {
    scope.spawn(test::claim_for(fixture.store(), claim, results));
  }
  fixture.loop().run_until([&] { return results.size() == claims.size(); });
  for (const StoreResult& result : results) {
    REQUIRE_FALSE(result);
    CHECK(result.error().kind == StoreError::Kind::replicas);
  }
  CHECK(stopwatch.elapsed() < 64 * options.wait_timeout);  // they shared their WAITs

  const RedisServer replica({"--replicaof", "127.0.0.1 " + std::to_string(primary.port())});
  const bool copied =
      testing::eventually([&] { return fixture.tell(fresh(Command::claim)) == "acquired"; });
  CHECK(copied);
}

}  // namespace
}  // namespace holdfast::store
