#include "holdfast/store/redis_scripts.h"

#include <doctest/doctest.h>

#include <set>
#include <string>
#include <string_view>
#include <vector>

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

}  // namespace
}  // namespace holdfast::store
