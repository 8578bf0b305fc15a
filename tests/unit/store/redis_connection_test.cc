#include "holdfast/store/redis_connection.h"

#include <doctest/doctest.h>

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "holdfast/runtime/scope.h"
#include "tests/support/loop_fixture.h"

namespace holdfast::store {
namespace {

using runtime::Task;
using Reply = Result<RedisReply, StoreError>;

constexpr Duration soon = std::chrono::milliseconds(20);
constexpr Duration late = std::chrono::seconds(9);

Task<void> call_into(RedisConnection& connection, std::string_view word, TimePoint deadline,
                     std::optional<Reply>& result) {
  const std::array<std::string_view, 1> words{word};
  Reply reply = co_await connection.call(words, deadline);
  result = std::move(reply);
}

/// A connection to a peer that the test plays.
struct ConnectionFixture : test::LoopFixture {
  ConnectionFixture() {
    test::ConnectedPair pair = test::connect_pair(network, "127.0.0.1:0");
    peer = std::move(pair.peer);
    connection = std::make_unique<RedisConnection>(loop.context(), std::move(pair.stream), ended);
  }

  runtime::DeferredSignal ended{loop.context().timers};
  test::PlainSocket peer;
  std::unique_ptr<RedisConnection> connection;
  std::array<std::optional<Reply>, 4> results;
  runtime::Scope scope;

  runtime::Scope::Entry* call(std::size_t index, std::string_view word, Duration patience = late) {
    return scope.spawn(call_into(*connection, word, in(patience), results[index]));
  }
  void answered(std::size_t count) {
    run_until([&] {
      for (std::size_t i = 0; i < count; ++i) {
        if (!results[i]) return false;
      }
      return true;
    });
  }
  std::string text_of(std::size_t index) {
    REQUIRE(results[index]);
    REQUIRE(*results[index]);
    return (*results[index])->text;
  }
  StoreError error_of(std::size_t index) {
    REQUIRE(results[index]);
    REQUIRE_FALSE(*results[index]);
    return results[index]->error();
  }
};

TEST_CASE("what ends a connection fails every command on it, and every later one") {
  struct Case {
    const char* name;
    void (*happens)(test::PlainSocket& peer);
    std::string detail;
  };
  const std::vector<Case> cases{
      {"FIN", [](test::PlainSocket& peer) { peer.finish(); }, "the connection to Redis was lost"},
      {"RST", [](test::PlainSocket& peer) { peer.reset(); },
       "the connection to Redis was lost: connection reset by peer"},
      {"garbage", [](test::PlainSocket& peer) { peer.send("HTTP/1.1 200 OK\r\n"); },
       "what came is no reply of a Redis"},
      {"half a reply",
       [](test::PlainSocket& peer) {
         peer.send("$5\r\nab");
         peer.finish();
       },
       "the connection to Redis was lost"},
      {"too large a reply", [](test::PlainSocket& peer) { peer.send("*99999\r\n"); },
       "a reply of Redis is too large"},
  };
  for (const Case& each : cases) {
    CAPTURE(each.name);
    ConnectionFixture fixture;
    fixture.call(0, "A");
    fixture.call(1, "B");
    fixture.turn();
    each.happens(fixture.peer);
    fixture.answered(2);
    CHECK(fixture.error_of(0).kind == StoreError::Kind::unavailable);
    CHECK(fixture.error_of(0).detail == each.detail);
    CHECK(fixture.error_of(1).detail == each.detail);
    CHECK_FALSE(fixture.connection->usable());
    fixture.call(2, "C");
    CHECK(fixture.error_of(2).detail == each.detail);
  }
}

TEST_CASE("a reply that nobody asked for ends the connection") {
  ConnectionFixture fixture;
  fixture.peer.send("+SURPRISE\r\n");
  fixture.run_until([&] { return !fixture.connection->usable(); });
  CHECK(fixture.connection->failure().detail == "Redis answered what it was not asked");
}

TEST_CASE("a command that is not answered in time ends the connection with all on it") {
  ConnectionFixture fixture;
  fixture.call(0, "A", soon);
  fixture.call(1, "B");
  fixture.answered(2);
  CHECK(fixture.error_of(0).kind == StoreError::Kind::timeout);
  CHECK(fixture.error_of(1).kind == StoreError::Kind::unavailable);
  CHECK_FALSE(fixture.connection->usable());
}

TEST_CASE("commands of one turn go out together, and replies go to who asked, in order") {
  ConnectionFixture fixture;
  fixture.call(0, "A");
  fixture.call(1, "B");
  fixture.call(2, "C");
  fixture.turn();
  int error = 0;
  CHECK(fixture.peer.receive(error) == "*1\r\n$1\r\nA\r\n*1\r\n$1\r\nB\r\n*1\r\n$1\r\nC\r\n");
  fixture.peer.send("+a\r\n+b\r");
  fixture.answered(1);
  fixture.turn();
  CHECK_FALSE(fixture.results[1]);
  fixture.peer.send("\n-ERR c\r\n");
  fixture.answered(3);
  CHECK(fixture.text_of(0) == "a");
  CHECK(fixture.text_of(1) == "b");
  CHECK(fixture.text_of(2) == "ERR c");
  CHECK((*fixture.results[2])->kind == RedisReply::Kind::error);
}

// Of three commands each may give up: before it was sent, after that, or when its reply is there.
TEST_CASE("whoever gives up waiting leaves the others their own replies") {
  const std::array<std::string, 3> replies{"+a\r\n", "+b\r\n", "+c\r\n"};
  for (int who = 0; who < 8; ++who) {
    for (int when = 0; when < 3; ++when) {
      CAPTURE(who);
      CAPTURE(when);
      ConnectionFixture fixture;
      std::array<runtime::Scope::Entry*, 3> entries{};
      const std::array<std::string_view, 3> words{"A", "B", "C"};
      for (std::size_t i = 0; i < 3; ++i) entries[i] = fixture.call(i, words[i]);
      const auto give_up = [&] {
        for (std::size_t i = 0; i < 3; ++i) {
          if ((who >> i & 1) != 0) fixture.scope.cancel(entries[i]);
        }
      };
      if (when == 0) give_up();
      fixture.turn();
      if (when == 1) give_up();
      fixture.peer.send(replies[0] + replies[1]);
      if (when == 2) give_up();
      fixture.turn();
      fixture.peer.send(replies[2]);
      fixture.call(3, "D");
      fixture.peer.send("+d\r\n");
      fixture.run_until([&] { return fixture.results[3].has_value(); });
      CHECK(fixture.text_of(3) == "d");
      for (std::size_t i = 0; i < 3; ++i) {
        if ((who >> i & 1) != 0) continue;
        CHECK(fixture.text_of(i) == std::string(1, replies[i][1]));
      }
    }
  }
}

TEST_CASE("a command that is larger than the kernel takes at once is sent whole") {
  ConnectionFixture fixture;
  const std::string large(8u << 20, 'x');
  fixture.call(0, large);
  fixture.call(1, "B");
  const std::size_t expected = large.size() + 4 + 10 + 2 + 11;
  std::size_t received = 0;
  fixture.run_until([&] {
    int error = 0;
    while (fixture.peer.readable()) received += fixture.peer.receive(error).size();
    return received >= expected;
  });
  CHECK(received == expected);
  fixture.peer.send("+a\r\n+b\r\n");
  fixture.answered(2);
  CHECK(fixture.text_of(1) == "b");
}

TEST_CASE("what waits for the kernel is bounded") {
  ConnectionFixture fixture;
  const std::string large(RedisConnection::max_unsent, 'x');
  fixture.call(0, large);
  fixture.call(1, "B");
  CHECK(fixture.error_of(1).kind == StoreError::Kind::unavailable);
  CHECK(fixture.connection->usable());
}

TEST_CASE("closing answers everybody") {
  ConnectionFixture fixture;
  fixture.call(0, "A");
  fixture.call(1, "B");
  fixture.turn();
  fixture.connection.reset();
  fixture.answered(2);
  CHECK(fixture.error_of(0).kind == StoreError::Kind::unavailable);
  CHECK(fixture.error_of(1).kind == StoreError::Kind::unavailable);
}

}  // namespace
}  // namespace holdfast::store
