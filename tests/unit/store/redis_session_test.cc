#include "holdfast/store/redis_session.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "tests/support/loop_fixture.h"
#include "tests/support/redis_server.h"

namespace holdfast::store {
namespace {

using testing::RedisServer;
using Looked = Result<store::RedisServer, StoreError>;

struct SessionFixture : test::LoopFixture {
  Looked look(const std::string& text, Duration patience = std::chrono::seconds(5)) {
    const auto url = parse_redis_url(text);
    REQUIRE(url);
    runtime::Task<Looked> task =
        look_at_redis(*url, nullptr, loop.context(), network, network, in(patience));
    run(task);
    return task.take();
  }
  StoreError error_of(const std::string& url, Duration patience = std::chrono::seconds(5)) {
    Looked looked = look(url, patience);
    REQUIRE_FALSE(looked);
    return looked.error();
  }
};

std::string at(const RedisServer& server, const std::string& credentials,
               const std::string& rest = "/0") {
  return "redis://" + credentials + "127.0.0.1:" + std::to_string(server.port()) + rest;
}

TEST_CASE("who has no or a wrong password is refused, and the text does not tell it") {
  const RedisServer server({"--requirepass", "open"});
  REQUIRE(server.command({"ACL", "SETUSER", "me", "on", ">sesame", "~*", "+@all"}) == "+OK");
  SessionFixture fixture;
  struct Case {
    std::string credentials;
    std::string detail;
  };
  const std::vector<Case> cases{
      {"", "INFO: NOAUTH"},
      {":wrong@", "AUTH: WRONGPASS"},
      {"me:wrong@", "AUTH: WRONGPASS"},
      {"me:open@", "AUTH: WRONGPASS"},
      {"nobody:sesame@", "AUTH: WRONGPASS"},
  };
  for (const Case& each : cases) {
    CAPTURE(each.credentials);
    const StoreError error = fixture.error_of(at(server, each.credentials));
    CHECK(error.kind == StoreError::Kind::refused);
    CHECK(error.detail == each.detail);
  }
  CHECK(fixture.look(at(server, ":open@")));
  CHECK(fixture.look(at(server, "default:open@")));
  CHECK(fixture.look(at(server, "me:sesame@")));
}

TEST_CASE("a server is looked at over TCP, a name and a unix socket, in any database it has") {
  const RedisServer server;
  SessionFixture fixture;
  const std::string port = std::to_string(server.port());
  for (const std::string& url :
       {server.url(), "redis://localhost:" + port, at(server, "", "/15"),
        "unix:" + server.socket_path(), "unix://" + server.socket_path() + "?db=3"}) {
    CAPTURE(url);
    const Looked looked = fixture.look(url);
    REQUIRE(looked);
    CHECK(looked->major_version >= oldest_redis);
    CHECK(looked->eviction == "noeviction");
  }
  CHECK(fixture.error_of(at(server, "", "/16")).detail == "SELECT: ERR");
}

TEST_CASE("nobody there, or somebody who says nothing") {
  RedisServer server;
  SessionFixture fixture;
  server.freeze();
  const StoreError silent = fixture.error_of(server.url(), std::chrono::milliseconds(50));
  CHECK(silent.kind == StoreError::Kind::timeout);
  server.thaw();
  server.kill();
  const StoreError refused = fixture.error_of(server.url());
  CHECK(refused.kind == StoreError::Kind::unavailable);
  CHECK(refused.detail.find("connection refused") != std::string::npos);
  CHECK(fixture.error_of("unix:/nowhere/redis.sock").kind == StoreError::Kind::unavailable);
  CHECK(fixture.error_of("redis://name.invalid").kind == StoreError::Kind::unavailable);
}

TEST_CASE("a replica is no store") {
  RedisServer primary;
  RedisServer replica({"--replicaof", "127.0.0.1 " + std::to_string(primary.port())});
  SessionFixture fixture;
  const StoreError error = fixture.error_of(replica.url());
  CHECK(error.kind == StoreError::Kind::refused);
  CHECK(error.detail == "READONLY: this Redis is a replica");
}

TEST_CASE("an evicting policy is told") {
  const RedisServer server({"--maxmemory-policy", "volatile-lru"});
  SessionFixture fixture;
  const Looked looked = fixture.look(server.url());
  REQUIRE(looked);
  CHECK(looked->eviction == "volatile-lru");
}

}  // namespace
}  // namespace holdfast::store
