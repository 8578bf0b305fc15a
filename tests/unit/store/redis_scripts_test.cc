#include "holdfast/store/redis_scripts.h"

#include <doctest/doctest.h>

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "holdfast/store/redis_operation.h"
#include "tests/support/redis_server.h"
#include "tests/support/store_conformance.h"

// That the scripts decide as the policy does is redis_store_test.cc's matter.

namespace holdfast::store {
namespace {

using policy::Command;

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

TEST_CASE("the first line says what a script may do, where Redis reads it") {
  struct Case {
    Command command;
    std::string line;
  };
  const std::vector<Case> cases{
      {Command::claim, "#!lua"},
      {Command::peek, "#!lua flags=no-writes"},
      {Command::renew, "#!lua flags=allow-oom"},
      {Command::complete, "#!lua"},
      {Command::tombstone, "#!lua flags=allow-oom"},
      {Command::release, "#!lua flags=allow-oom"},
      {Command::mark_unknown, "#!lua flags=allow-oom"},
      {Command::inspect, "#!lua flags=no-writes"},
      {Command::resolve, "#!lua flags=allow-oom"},
  };
  REQUIRE(cases.size() == command_count);
  for (const Case& each : cases) {
    CAPTURE(name(each.command));
    CHECK(first_line(redis_script(each.command, 7)) == each.line);
    CHECK(first_line(redis_script(each.command, 8)) == each.line);
  }
}

TEST_CASE("an older Redis is given no such line, and a write first where memory may be full") {
  const std::set<Command> without_memory{Command::renew, Command::tombstone, Command::release,
                                         Command::mark_unknown, Command::resolve};
  for (std::size_t i = 0; i < command_count; ++i) {
    const auto command = static_cast<Command>(i);
    CAPTURE(name(command));
    const std::string text = redis_script(command, 6);
    CHECK(text.find("#!") == std::string::npos);
    CHECK(text.starts_with("redis.call('HDEL'") == without_memory.contains(command));
  }
}

/// What the text for an older Redis answers; a newer one runs it by the old rules.
std::string run_old(const testing::RedisServer& server, const policy::Operation& operation) {
  RedisRequest request("", operation);
  const std::string text = redis_script(operation.command, 6);
  const auto words = request.words("EVAL", text);
  return server.command({words.begin(), words.end()});
}

TEST_CASE("in an older Redis that is full, a claim changes nothing and owners still speak") {
  const testing::RedisServer server;
  const auto id_in_flight = [&] {
    const Digest id = test::fresh_id();
    REQUIRE(run_old(server, test::make_operation(Command::claim, id)) ==
            "*2\r\n$8\r\nACQUIRED\r\n$1\r\n1");
    return id;
  };
  const Digest done = id_in_flight();
  const Digest released = id_in_flight();
  const Digest doubtful = id_in_flight();
  REQUIRE(server.command({"CONFIG", "SET", "maxmemory", "1"}) == "+OK");
  const policy::Operation refused = test::make_operation(Command::claim, test::fresh_id());
  CHECK(run_old(server, refused).starts_with("-OOM"));
  CHECK(run_old(server, test::make_operation(Command::peek, refused.id)) == "*1\r\n$6\r\nABSENT");
  CHECK(run_old(server, test::make_operation(Command::complete, done)).starts_with("-OOM"));
  const std::string ok = "*1\r\n$2\r\nOK";
  CHECK(run_old(server, test::make_operation(Command::renew, done)) == ok);
  CHECK(run_old(server, test::make_operation(Command::tombstone, done)) == ok);
  CHECK(run_old(server, test::make_operation(Command::release, released)) == ok);
  CHECK(run_old(server, test::make_operation(Command::mark_unknown, doubtful)) == ok);
  policy::Operation executed = test::make_operation(Command::resolve, doubtful);
  executed.executed = true;
  CHECK(run_old(server, executed).find("GONE") != std::string::npos);
}

}  // namespace
}  // namespace holdfast::store
