// Redis broken in the ways that a real one breaks: keyed requests are refused within the store's
// time-out, others are not disturbed, nothing runs twice, and it heals by itself.
#include <functional>
#include <optional>

#include "tests/fault/load.h"
#include "tests/support/redis_server.h"

using namespace holdfast::testing;

namespace {

constexpr Milliseconds store_timeout{200};
constexpr Milliseconds scheduling{1500};     // what a busy machine may add to any wait
constexpr Milliseconds healed_within{5000};  // "within about a second", on a busy machine

/// A connection to Redis that stays: commands in their inline form.
class Operator {
 public:
  explicit Operator(const RedisServer& redis)
      : socket_(Socket::connect("127.0.0.1:" + std::to_string(redis.port()))) {}
  std::string say(const std::string& command) {
    socket_.send(command + "\r\n");
    return socket_.receive(4096);
  }

 private:
  Socket socket_;
};

void expect_ok(const std::string& reply) {
  CHECK_MESSAGE(reply.starts_with("+"), reply);
}

/// Keyed and other requests to one app, with a Redis that can be broken.
class Bench {
 public:
  explicit Bench(std::vector<std::string> options = {}) : redis(std::move(options)) {
    Setup setup{.endpoints = {app.url()}};
    setup.route = "[route.idempotency]\nenabled = true\n";
    setup.more = "[store]\nkind = \"redis\"\ntimeout = \"" + std::to_string(store_timeout.count()) +
                 "ms\"\nurl = \"" + redis.url() + "\"\n";
    holdfast.emplace(setup);
    keyed.emplace(holdfast->address(), Ask::keyed);
    others.emplace(holdfast->address(), Ask::post);
    keyed->let_pass(50);
    const Tally before = keyed->take();
    CHECK_MESSAGE(before.of("201") == before.total(), before.text());
  }

  /// What was broken by now refuses keyed requests and nobody else.
  void check_refused() {
    CHECK(keyed->wait_for("503"));
    keyed->take();
    others->take();
    keyed->let_pass(20);
    others->let_pass(100);
    const Tally refused = keyed->take();
    CHECK_MESSAGE(refused.of("503") == refused.total(), refused.text());
    CHECK(refused.slowest < 2 * store_timeout + scheduling);
    CHECK(holdfast->metric("holdfast_idempotency_store_errors_total") > 0);
    check_others();
  }
  void check_healed() {
    CHECK(keyed->wait_for("201", healed_within));
    CHECK(holdfast->wait_metric("holdfast_idempotency_store_up", {}, 1));
    keyed->take();
    keyed->let_pass(50);
    keyed->stop();
    const Tally after = keyed->take();
    CHECK_MESSAGE(after.of("201") == after.total(), after.text());
    others->stop();
    check_others();
    CHECK(app.run_twice() == 0);
  }
  void check_remembered() { CHECK(forgotten(*holdfast, keyed->acknowledged()) == 0); }

  CountingApp app;
  RedisServer redis;
  std::optional<Holdfast> holdfast;
  std::optional<Load> keyed;
  std::optional<Load> others;

 private:
  void check_others() {
    const Tally tally = others->take();
    CHECK_MESSAGE(tally.of("201") == tally.total(), tally.text());
    CHECK(tally.slowest < scheduling);
  }
};

}  // namespace

TEST_CASE("out of memory") {
  Bench bench;
  expect_ok(bench.redis.command({"CONFIG", "SET", "maxmemory", "1"}));
  bench.check_refused();
  expect_ok(bench.redis.command({"CONFIG", "SET", "maxmemory", "0"}));
  bench.check_healed();
  bench.check_remembered();
}

TEST_CASE("a read-only replica") {
  Bench bench;
  const std::string nobody = std::to_string(free_port());
  expect_ok(bench.redis.command({"REPLICAOF", "127.0.0.1", nobody}));
  bench.check_refused();
  expect_ok(bench.redis.command({"REPLICAOF", "NO", "ONE"}));
  bench.check_healed();
  bench.check_remembered();
}

TEST_CASE("a replica without its master") {
  Bench bench;
  const std::string nobody = std::to_string(free_port());
  expect_ok(bench.redis.command({"CONFIG", "SET", "replica-serve-stale-data", "no"}));
  expect_ok(bench.redis.command({"REPLICAOF", "127.0.0.1", nobody}));
  bench.check_refused();
  expect_ok(bench.redis.command({"REPLICAOF", "NO", "ONE"}));
  bench.check_healed();
}

TEST_CASE("a disk that takes no snapshot") {
  Bench bench({"--save", "3600 1", "--enable-protected-configs", "yes"});
  expect_ok(bench.redis.command({"CONFIG", "SET", "dir", "/proc"}));
  expect_ok(bench.redis.command({"BGSAVE"}));
  bench.check_refused();
  expect_ok(bench.redis.command({"CONFIG", "SET", "stop-writes-on-bgsave-error", "no"}));
  bench.check_healed();
  bench.check_remembered();
}

TEST_CASE("too few replicas") {
  Bench bench;
  expect_ok(bench.redis.command({"CONFIG", "SET", "min-replicas-to-write", "1"}));
  bench.check_refused();
  expect_ok(bench.redis.command({"CONFIG", "SET", "min-replicas-to-write", "0"}));
  bench.check_healed();
}

TEST_CASE("too many clients") {
  Bench bench;
  Operator connected(bench.redis);
  expect_ok(connected.say("CONFIG SET maxclients 1"));
  CHECK(connected.say("CLIENT KILL TYPE normal SKIPME yes").starts_with(":"));
  bench.check_refused();
  expect_ok(connected.say("CONFIG SET maxclients 100"));
  bench.check_healed();
}

TEST_CASE("paused for writes, and frozen") {
  Bench bench;
  expect_ok(bench.redis.command({"CLIENT", "PAUSE", "60000", "WRITE"}));
  bench.check_refused();
  expect_ok(bench.redis.command({"CLIENT", "UNPAUSE"}));
  CHECK(bench.keyed->wait_for("201", healed_within));
  bench.redis.freeze();
  bench.check_refused();
  bench.redis.thaw();
  bench.check_healed();
  bench.check_remembered();
}

TEST_CASE("killed, and back with its data still to be read") {
  Bench bench({"--enable-debug-command", "local"});
  expect_ok(bench.redis.command({"DEBUG", "POPULATE", "3000"}));
  bench.keyed->stop();  // what is answered after the snapshot would be lost with it
  const std::vector<std::string> acknowledged = bench.keyed->acknowledged();
  bench.keyed.emplace(bench.holdfast->address(), Ask::keyed);
  expect_ok(bench.redis.command({"SAVE"}));
  bench.redis.kill();
  bench.check_refused();
  bench.redis.start({"--key-load-delay", "500", "--loading-process-events-interval-bytes", "1024"});
  CHECK(bench.redis.command({"GET", "x"}).starts_with("-LOADING"));
  bench.check_refused();
  bench.check_healed();
  CHECK(forgotten(*bench.holdfast, acknowledged) == 0);
}

TEST_CASE("scripts forgotten: nobody notices") {
  Bench bench;
  for (int times = 0; times < 20; ++times) {
    expect_ok(bench.redis.command({"SCRIPT", "FLUSH"}));
    bench.keyed->let_pass(5);
  }
  bench.check_healed();
  bench.check_remembered();
}

TEST_CASE("something else under our key: that key is refused, and no other") {
  Bench bench;
  bench.keyed->stop();
  const std::string target = bench.keyed->acknowledged().front();
  bench.redis.command({"EVAL",
                       "for _, k in ipairs(redis.call('KEYS', 'holdfast:*')) do "
                       "if redis.call('TYPE', k).ok == 'hash' then redis.call('DEL', k) "
                       "redis.call('LPUSH', k, 'x') end end return 1",
                       "0"});
  bench.keyed.emplace(bench.holdfast->address(), Ask::keyed);
  const Response response = bench.holdfast->post(target, "order", key_of(target));
  CHECK(response.status == 503);
  CHECK(bench.app.runs(target) == 1);
  bench.check_healed();
}
