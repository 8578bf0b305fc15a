#include "holdfast/store/redis_operation.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "tests/support/store_conformance.h"

namespace holdfast::store {
namespace {

using policy::Command;
using policy::RecordState;
using policy::Verdict;
using Kind = Verdict::Kind;

RedisReply text(std::string value) {
  return {RedisReply::Kind::text, std::move(value), 0, {}};
}
RedisReply script_reply(std::vector<std::string> words) {
  RedisReply reply{RedisReply::Kind::array, "", 0, {}};
  for (std::string& word : words) reply.elements.push_back(text(std::move(word)));
  return reply;
}
RedisReply error(std::string value) {
  return {RedisReply::Kind::error, std::move(value), 0, {}};
}

TEST_CASE("what no script answers is a corrupt record") {
  const std::vector<std::pair<Command, RedisReply>> cases{
      {Command::claim, RedisReply{}},
      {Command::claim, text("ACQUIRED")},
      {Command::claim, script_reply({})},
      {Command::claim, script_reply({"CORRUPT"})},
      {Command::claim, script_reply({"acquired", "1"})},
      {Command::claim, script_reply({"ACQUIRED"})},
      {Command::claim, script_reply({"ACQUIRED", "x"})},
      {Command::claim, script_reply({"ACQUIRED", "-1"})},
      {Command::claim, script_reply({"INFLIGHT", "9223372036854775808"})},
      {Command::claim, script_reply({"MISMATCH", "X"})},
      {Command::claim, script_reply({"COMPLETED", "200", "A: b\r\n", "body"})},
      {Command::claim, script_reply({"COMPLETED", "", "A: b\r\n", "body", "1"})},
      {Command::claim, script_reply({"GONE", "200", "", "reason"})},
      {Command::claim, script_reply({"UNKNOWN"})},
      {Command::claim, script_reply({"RECORD", "I", "1", "0", "0"})},
      {Command::peek, script_reply({"ACQUIRED", "1"})},
      {Command::renew, script_reply({"REVOKED"})},
      {Command::inspect, script_reply({"RECORD", "I", "1", "0"})},
      {Command::inspect, script_reply({"RECORD", "I", "1", "0", "0", "x"})},
  };
  for (const auto& [command, reply] : cases) {
    CAPTURE(name(command));
    CAPTURE(reply.elements.size());
    const auto verdict = verdict_of(command, reply);
    REQUIRE(!verdict);
    CHECK(verdict.error().kind == StoreError::Kind::corrupt);
  }
  RedisReply with_nil = script_reply({"COMPLETED", "200", "A: b\r\n", "body", "1"});
  with_nil.elements[3] = RedisReply{};
  CHECK(!verdict_of(Command::claim, with_nil));
}

TEST_CASE("an error is named by the server's first word, which quotes nothing that was sent") {
  struct Case {
    std::string text;
    StoreError::Kind kind;
    std::string detail;
  };
  const std::vector<Case> cases{
      {"OOM command not allowed when used memory > 'maxmemory'.", StoreError::Kind::full, "OOM"},
      {"ERR Error running script (call to f_1): @user_script:9: @user_script: 9: -OOM command not "
       "allowed when used memory > 'maxmemory'.",
       StoreError::Kind::full, "OOM"},
      {"WRONGTYPE Operation against a key", StoreError::Kind::corrupt, "WRONGTYPE"},
      {"READONLY You can't write", StoreError::Kind::refused, "READONLY"},
      {"LOADING Redis is loading", StoreError::Kind::refused, "LOADING"},
      {"CLUSTERDOWN Hash slot not served", StoreError::Kind::refused, "CLUSTERDOWN"},
      {"MASTERDOWN Link with MASTER is down", StoreError::Kind::refused, "MASTERDOWN"},
      {"NOAUTH Authentication required.", StoreError::Kind::refused, "NOAUTH"},
      {"WRONGPASS invalid", StoreError::Kind::refused, "WRONGPASS"},
      {"BUSY Redis is busy", StoreError::Kind::refused, "BUSY"},
      {"ERR unknown command `EVALSHA`, with args beginning with: 'token'",
       StoreError::Kind::refused, "ERR"},
      {"MOVED 3999 127.0.0.1:6381", StoreError::Kind::refused,
       "MOVED: this is a node of a Redis Cluster, which cannot be the store"},
      {"", StoreError::Kind::refused, ""},
  };
  for (const Case& each : cases) {
    CAPTURE(each.text);
    const StoreError found = error_of(error(each.text));
    CHECK(found.kind == each.kind);
    CHECK(found.detail == each.detail);
  }
  CHECK(is_unknown_script(error("NOSCRIPT No matching script. Please use EVAL.")));
  CHECK_FALSE(is_unknown_script(error("ERR NOSCRIPT")));
  CHECK_FALSE(is_unknown_script(text("NOSCRIPT")));
}

TEST_CASE("replies say what became of a record") {
  const auto completed =
      verdict_of(Command::claim, script_reply({"COMPLETED", "201", "A: b\r\n", "body", "1500"}));
  REQUIRE(completed);
  CHECK(completed->kind == Kind::completed);
  CHECK(completed->status == 201);
  CHECK(completed->headers == "A: b\r\n");
  CHECK(completed->body == "body");
  CHECK(completed->age == std::chrono::milliseconds(1500));

  const auto inflight = verdict_of(Command::peek, script_reply({"INFLIGHT", "12000"}));
  REQUIRE(inflight);
  CHECK(inflight->lease_left == std::chrono::seconds(12));

  RedisReply record = script_reply({"RECORD", "U", "3", "7000", "0", "", "", "reset"});
  record.elements[5] = RedisReply{};
  record.elements[6] = RedisReply{};
  const auto inspected = verdict_of(Command::inspect, record);
  REQUIRE(inspected);
  CHECK(inspected->kind == Kind::unknown);
  CHECK(inspected->state == RecordState::unknown);
  CHECK(inspected->attempt == 3);
  CHECK(inspected->reason == "reset");
}

TEST_CASE("neither a token nor a key of a client is in the key of a record") {
  const policy::Operation claim = test::make_operation(Command::claim, test::digest_of("id"));
  RedisRequest request("prefix:", claim);
  CHECK(request.key() == "prefix:r:" + hex(claim.id));
  const auto words = request.words("EVALSHA", "name");
  const std::vector<std::string> expected{"EVALSHA",     "name",    "1",
                                          request.key(), "own",     hex(claim.fingerprint),
                                          "3600000",     "7200000", "0"};
  CHECK(std::vector<std::string>(words.begin(), words.end()) == expected);
}

}  // namespace
}  // namespace holdfast::store
