// Redis broken in the ways that a real one breaks: keyed requests are refused within the store's
// time-out, others are not disturbed, nothing runs twice, and it heals by itself.
#include <atomic>
#include <functional>
#include <optional>
#include <thread>

#include "tests/fault/load.h"
#include "tests/support/fault_link.h"
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
  void send(const std::string& command) { socket_.send(command + "\r\n"); }
  std::string say(const std::string& command) {
    send(command);
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
  explicit Bench(std::vector<std::string> options = {}, const std::string& store = "")
      : redis(std::move(options)), link("127.0.0.1:" + std::to_string(redis.port())) {
    Setup setup{.endpoints = {app.url()}};
    setup.route = "[route.idempotency]\nenabled = true\n";
    setup.more = "[store]\nkind = \"redis\"\ntimeout = \"" + std::to_string(store_timeout.count()) +
                 "ms\"\nurl = \"redis://" + link.address() + "/0\"\n" + store;
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
    CHECK(holdfast->wait_metric("holdfast_idempotency_store_up", {}, 0));
    check_others();
  }
  void check_healed() {
    // One good answer may be to a request that was ahead of the fault; a row of them is not.
    Tally after;
    CHECK_MESSAGE(eventually(
                      [&] {
                        keyed->take();
                        keyed->let_pass(50);
                        after = keyed->take();
                        return after.of("201") == after.total();
                      },
                      healed_within),
                  after.text());
    CHECK(holdfast->wait_metric("holdfast_idempotency_store_up", {}, 1));
    keyed->let_pass(50);
    keyed->stop();
    after = keyed->take();
    CHECK_MESSAGE(after.of("201") == after.total(), after.text());
    others->stop();
    check_others();
    CHECK(app.run_twice() == 0);
  }
  /// What holdfast finds from now on is another server.
  void switch_to(const RedisServer& other) {
    link.switch_to("127.0.0.1:" + std::to_string(other.port()));
    link.cut();
  }
  void check_remembered() { CHECK(forgotten(*holdfast, keyed->acknowledged()) == 0); }

  CountingApp app;
  RedisServer redis;
  FaultLink link;  // between holdfast and it
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

TEST_CASE("a script that does not end") {
  Bench bench({"--busy-reply-threshold", "1"});
  Operator busy(bench.redis);
  busy.send("EVAL \"while true do end\" 0");
  bench.check_refused();
  CHECK(eventually([&] { return bench.redis.command({"SCRIPT", "KILL"}).starts_with("+"); }));
  bench.check_healed();
  bench.check_remembered();
}

TEST_CASE("a password and rights that changed while it ran") {
  Bench bench;
  Operator connected(bench.redis);
  SUBCASE("a password") {
    expect_ok(connected.say("CONFIG SET requirepass secret"));
    CHECK(connected.say("CLIENT KILL TYPE normal SKIPME yes").starts_with(":"));
    bench.check_refused();
    expect_ok(connected.say("AUTH secret"));
    expect_ok(connected.say("CONFIG SET requirepass \"\""));
  }
  SUBCASE("rights") {
    expect_ok(connected.say("ACL SETUSER default -evalsha -eval -set"));
    bench.check_refused();
    expect_ok(connected.say("ACL SETUSER default +evalsha +eval +set"));
  }
  bench.check_healed();
  bench.check_remembered();
}

TEST_CASE("an answer that breaks off at any byte, or is silent from there, misleads nobody") {
  Bench bench;
  bench.keyed->stop();
  constexpr std::size_t longest_answer = 40;  // to a claim; what follows is a commit's
  RawClient client = bench.holdfast->client();
  int number = 0;
  for (const Fault how : {Fault::reset, Fault::end, Fault::timeout}) {
    for (std::size_t after = 0; after < longest_answer; after += 3) {
      CAPTURE(name(how));
      CAPTURE(after);
      bench.link.break_off(after, how);
      const std::string target = "/broken/" + std::to_string(++number);
      for (int times = 0; times < 2; ++times) {
        const Response response = client.post(target, "order", key_of(target));
        CHECK(response.complete);
        CHECK((response.status != 201 || response.body == target));
      }
      CHECK(bench.app.runs(target) <= 1);
      const std::string healed = target + "/healed";
      CHECK(eventually([&] { return client.post(healed, "order", key_of(healed)).status == 201; }));
    }
  }
  bench.keyed.emplace(bench.holdfast->address(), Ask::keyed);
  bench.check_healed();
}

TEST_CASE("a late answer is nobody's") {
  Bench bench;
  for (int times = 0; times < 3; ++times) {
    bench.link.delay(store_timeout + 100ms);
    CHECK(bench.keyed->wait_for("503"));
    bench.link.heal();
    CHECK(bench.keyed->wait_for("201", healed_within));
  }
  CHECK(bench.keyed->take().of("wrong") == 0);
  bench.check_healed();
  bench.check_remembered();
}

TEST_CASE("a replica that is promoted is taken by itself") {
  // Above the bench, whose holdfast is to end before them.
  const RedisServer replica;
  Bench bench;
  expect_ok(replica.command({"REPLICAOF", "127.0.0.1", std::to_string(bench.redis.port())}));
  CHECK(eventually([&] {
    return replica.command({"INFO", "replication"}).find("master_link_status:up") !=
           std::string::npos;
  }));
  bench.keyed->let_pass(50);
  bench.keyed->stop();
  const std::vector<std::string> copied = bench.keyed->acknowledged();
  CHECK(eventually([&] { return replica.command({"DBSIZE"}) == bench.redis.command({"DBSIZE"}); }));
  std::vector<std::string> lost;
  SUBCASE("with everything") {}
  SUBCASE("without the last writes") {
    expect_ok(replica.command({"REPLICAOF", "NO", "ONE"}));
    bench.keyed.emplace(bench.holdfast->address(), Ask::keyed);
    bench.keyed->let_pass(20);
    bench.keyed->stop();
    lost = bench.keyed->acknowledged();
  }
  bench.keyed.emplace(bench.holdfast->address(), Ask::keyed);
  bench.keyed->let_pass(20);
  bench.redis.kill();
  CHECK(bench.keyed->wait_for("503"));
  expect_ok(replica.command({"REPLICAOF", "NO", "ONE"}));
  bench.switch_to(replica);
  bench.check_healed();
  CHECK(forgotten(*bench.holdfast, copied) == 0);
  // What the old primary alone knew is gone, as documented: who asks again is served anew.
  CHECK(forgotten(*bench.holdfast, lost) == static_cast<int>(lost.size()));
}

TEST_CASE("two primaries that do not know each other are seen, and told") {
  const RedisServer other;
  Bench bench;
  CHECK(bench.holdfast->metric("holdfast_idempotency_store_unsafe", {{"reason", "lost"}}) == 0);
  bench.switch_to(other);
  CHECK(bench.holdfast->wait_metric("holdfast_idempotency_store_unsafe", {{"reason", "lost"}}, 1));
  CHECK(bench.holdfast->wait_for_log("Redis has lost its data"));
  bench.keyed->let_pass(20);
  bench.link.switch_to("127.0.0.1:" + std::to_string(bench.redis.port()));
  bench.link.cut();
  bench.check_healed();
}

TEST_CASE("a crowd with one key: one of them runs, and all that are told an answer are told its") {
  Bench bench;
  const std::string target = "/crowd";
  std::atomic<int> other = 0;
  std::atomic<int> answered = 0;
  std::vector<std::thread> crowd;
  for (int n = 0; n < 100; ++n) {
    crowd.emplace_back([&] {
      const Response response = bench.holdfast->post(target, "order", key_of(target));
      if (response.status == 201 && response.body == target) {
        ++answered;
      } else if (response.status != 409 && response.status != 503) {
        ++other;
      }
    });
  }
  for (std::thread& each : crowd) each.join();
  CHECK(other == 0);
  CHECK(bench.app.runs(target) == 1);
  CHECK(answered > 0);
  bench.check_healed();
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
