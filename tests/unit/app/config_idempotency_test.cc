#include "holdfast/app/config_idempotency.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "tests/unit/app/config_support.h"

namespace holdfast::app {
namespace {

using policy::IdempotencyOptions;
using Kind = policy::ScopeSource::Kind;

/// A document whose only route, "route-1", has [route.idempotency] with `keys`.
std::string with_idempotency(const std::string& keys) {
  return with_route("[route.idempotency]\n" + keys);
}

/// The same, enabled.
std::string enabled(const std::string& keys) {
  return with_idempotency("enabled = true\n" + keys);
}

IdempotencyOptions options_of(const std::string& document) {
  return load(document).config->routes[0].idempotency;
}

std::string warnings_of(const std::string& document) {
  return load(document).warnings;
}

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
    ++count;
  return count;
}

}  // namespace

TEST_CASE("a wrong value of idempotency is told at its place, enabled or not") {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"enabled = 1\n", "\"enabled\" must be true or false"},
      {"methods = [\"GET\"]\n", "each item of \"methods\" must be \"POST\", \"PATCH\", \"PUT\""},
      {"methods = []\n", "\"methods\" names none"},
      {"header = \"a b\"\n", "\"header\" must be the name of a header"},
      {"header = \"Content-Length\"\n", "\"header\" must be the name of a header"},
      {"missing_key = \"refuse\"\n", "\"missing_key\" must be one of"},
      {"auto_ttl = \"61m\"\n", "f.toml:6:12: error: \"auto_ttl\" must be at most 1h, not \"61m\""},
      {"key_syntax = \"loose\"\n", "\"key_syntax\" must be one of"},
      {"max_key_length = 256\n", "\"max_key_length\" must be an integer from 1 to 255"},
      {"max_key_length = 0\n", "\"max_key_length\" must be an integer from 1 to 255"},
      {"namespace = \" x\"\n", "\"namespace\" must be a name of 1 to 128 visible characters"},
      {"scope = [\"cookie\"]\n", "each item of \"scope\" must be \"authorization\""},
      {"scope = [\"header:\"]\n", "each item of \"scope\" must be \"authorization\""},
      {"scope = [\"header:a b\"]\n", "each item of \"scope\" must be \"authorization\""},
      {"scope = []\n", "\"scope\" names nothing"},
      {"scope = [\"none\", \"authorization\"]\n", "\"none\" stands alone in \"scope\""},
      {"scope_missing = \"pass\"\n", "\"scope_missing\" must be one of"},
      {"fingerprint = \"path\"\n", "\"fingerprint\" must be one of"},
      {"ttl = \"off\"\n", "\"ttl\" must be a duration"},
      {"lease = \"0s\"\n", "\"lease\" must be more than 0"},
      {"max_execution = 60\n", "\"max_execution\" must be a duration"},
      {"in_flight_wait = \"0s\"\n", "\"in_flight_wait\" must be more than 0 (\"off\" switches"},
      {"on_unknown = \"retry\"\n", "\"on_unknown\" must be one of"},
      {"on_store_error = \"503\"\n", "\"on_store_error\" must be one of"},
      {"record = \"some\"\n", "\"record\" must be one of"},
      {"max_request_bytes = \"0B\"\n", "\"max_request_bytes\" must be more than 0"},
      {"max_response_bytes = 1\n", "\"max_response_bytes\" must be a size"},
      {"replay_set_cookie = \"no\"\n", "\"replay_set_cookie\" must be true or false"},
      {"upstream_honours_key = 0\n", "\"upstream_honours_key\" must be true or false"},
      {"min_key_length = 1\n", "unknown key \"min_key_length\""},
  };
  for (const auto& [keys, text] : cases) {
    CAPTURE(keys);
    CHECK(refuses(with_idempotency(keys), text));
    CHECK(count_of(errors_of(with_idempotency(keys)), ": error: ") == 1);
  }
}

TEST_CASE("a record outlives the longest execution and its lease, whichever level says so") {
  CHECK(errors_of(enabled("ttl = \"75s\"\n")).empty());
  CHECK(refuses(enabled("ttl = \"74s\"\n"),
                "f.toml:7:7: error: \"ttl\" (74s) must be at least max_execution + lease (75s)"));
  CHECK(refuses(enabled("max_execution = \"24h\"\n"), "f.toml:7:17: error: \"ttl\" (24h) must"));
  CHECK(refuses(enabled("lease = \"24h\"\n"), "f.toml:7:9: error: \"ttl\" (24h) must be"));
  CHECK(refuses("[defaults]\nidempotency = { ttl = \"80s\" }\n" + enabled("lease = \"30s\"\n"),
                "f.toml:2:23: error: \"ttl\" (80s) must be at least max_execution + lease (90s)"));
  CHECK(errors_of(with_idempotency("ttl = \"1s\"\n")).empty());  // nobody uses it
}

TEST_CASE("what is wrong with an inherited value is told once, and beside every other error") {
  const std::string errors =
      errors_of("[defaults]\nidempotency = { enabled = true, ttl = \"1s\" }\n" +
                with_route("[[route]]\nupstream = \"app\"\ntimeout = { totl = \"1s\" }\n"));
  CAPTURE(errors);
  CHECK(count_of(errors, "\"ttl\" (1s) must be") == 1);
  CHECK(count_of(errors, "did you mean \"total\"?") == 1);
}

TEST_CASE("a duplicate does not wait longer than the route lets anybody wait") {
  CHECK(errors_of(enabled("in_flight_wait = \"15s\"\n")).empty());
  CHECK(refuses(enabled("in_flight_wait = \"16s\"\n"),
                "f.toml:7:18: error: \"in_flight_wait\" (16s) must be at most the route's "
                "timeout.total (15s)"));
  CHECK(refuses("[defaults]\ntimeout = { total = \"3s\" }\n" + enabled("in_flight_wait = \"4s\"\n"),
                "timeout.total (3s)"));
  CHECK(errors_of("[defaults]\ntimeout = { total = \"off\" }\n" +
                  enabled("in_flight_wait = \"1h\"\n"))
            .empty());
}

TEST_CASE(
    "what is one caller's is not shared by all: no generated key, no cookie without a scope") {
  CHECK(refuses(enabled("scope = [\"none\"]\nmissing_key = \"generate\"\n"),
                "f.toml:8:15: error: missing_key = \"generate\" needs a scope other than"));
  CHECK(refuses(enabled("scope = [\"none\"]\nreplay_set_cookie = true\n"),
                "f.toml:8:21: error: \"replay_set_cookie\" needs a scope other than"));
  CHECK(errors_of(enabled("scope = [\"none\"]\n")).empty());
  CHECK(errors_of(enabled("missing_key = \"generate\"\nreplay_set_cookie = true\n")).empty());
}

TEST_CASE("a short ttl and a blind reexecution are warned of") {
  CHECK(warnings_of(enabled("ttl = \"1h\"\n")).empty());
  CHECK(warnings_of(enabled("ttl = \"59m\"\n")).starts_with("f.toml:7:7: warning: \"ttl\" is 59m"));
  CHECK(warnings_of(with_idempotency("ttl = \"59m\"\n")).empty());
  CHECK(warnings_of(enabled("on_unknown = \"reexecute\"\n"))
            .find("f.toml:7:14: warning: on_unknown = \"reexecute\" without") != std::string::npos);
  CHECK(warnings_of(enabled("on_unknown = \"reexecute\"\nupstream_honours_key = true\n")).empty());
  CHECK(warnings_of(enabled("upstream_honours_key = true\n")).empty());
}

TEST_CASE("a route that answers by itself keeps no records") {
  CHECK(refuses("[[route]]\nrespond = {}\nidempotency = { enabled = true }\n",
                "f.toml:3:1: error: \"idempotency\" makes no sense beside \"respond\""));
  const LoadedConfig loaded = load(
      "[defaults]\nidempotency = { enabled = true, ttl = \"30m\" }\n[[route]]\nrespond = {}\n");
  CHECK_FALSE(loaded.config->routes[0].idempotency.enabled);
  CHECK(loaded.warnings.empty());
}

TEST_CASE("the namespace is the route's name unless it is set") {
  CHECK(options_of(with_route("")).name_space == "route-1");
  CHECK(options_of(with_route("name = \"charge\"\n")).name_space == "charge");
  CHECK(options_of(enabled("namespace = \"\"\n")).name_space == "route-1");
  CHECK(options_of(enabled("namespace = \"pay\"\n")).name_space == "pay");
  CHECK(
      options_of("[defaults]\nidempotency = { namespace = \"pay\" }\n" + enabled("")).name_space ==
      "pay");
}

TEST_CASE("on_unknown follows upstream_honours_key unless it is set") {
  using policy::OnUnknown;
  CHECK(options_of(enabled("")).on_unknown == OnUnknown::hold);
  CHECK(options_of(enabled("upstream_honours_key = true\n")).on_unknown == OnUnknown::reexecute);
  CHECK(options_of(enabled("upstream_honours_key = true\non_unknown = \"hold\"\n")).on_unknown ==
        OnUnknown::hold);
  CHECK(options_of("[defaults]\nidempotency = { upstream_honours_key = true }\n" + enabled(""))
            .on_unknown == OnUnknown::reexecute);
}

TEST_CASE("on_store_error follows the store's on_error unless it is set") {
  using policy::OnStoreFailure;
  const std::string open = "[store]\non_error = \"open\"\n";
  CHECK(options_of(enabled("")).on_store_error == OnStoreFailure::closed);
  CHECK(options_of(enabled("on_store_error = \"open\"\n")).on_store_error == OnStoreFailure::open);
  CHECK(options_of(open + enabled("")).on_store_error == OnStoreFailure::open);
  CHECK(options_of(open + enabled("on_store_error = \"closed\"\n")).on_store_error ==
        OnStoreFailure::closed);
}

TEST_CASE("three levels are merged key by key, and an array is taken whole") {
  const IdempotencyOptions options = options_of(
      "[defaults.idempotency]\nttl = \"2h\"\nlease = \"1s\"\nmethods = [\"POST\", \"PATCH\"]\n"
      "[upstream.app]\nendpoints = [\"http://h\"]\nidempotency = { lease = \"2s\", "
      "max_execution = \"3s\" }\n"
      "[[route]]\nupstream = \"app\"\nidempotency = { enabled = true, max_execution = \"4s\", "
      "methods = [\"PUT\"] }\n");
  CHECK(options.enabled);
  CHECK(options.ttl == std::chrono::hours(2));
  CHECK(options.lease == std::chrono::seconds(2));
  CHECK(options.max_execution == std::chrono::seconds(4));
  CHECK(options.methods == std::vector<std::string>{"PUT"});
}

TEST_CASE("the sample of the specification holds the defaults") {
  const IdempotencyOptions written = options_of(with_idempotency(R"(
enabled = false
methods = ["POST"]
header = "Idempotency-Key"
missing_key = "pass"
auto_ttl = "60s"
key_syntax = "lenient"
max_key_length = 255
namespace = ""
scope = ["authorization"]
scope_missing = "anonymous"
fingerprint = "full"
ttl = "24h"
lease = "15s"
max_execution = "60s"
in_flight_wait = "off"
on_unknown = "hold"
on_store_error = "closed"
record = "definitive"
max_request_bytes = "1MiB"
max_response_bytes = "1MiB"
replay_set_cookie = false
upstream_honours_key = false
)"));
  const IdempotencyOptions defaults = options_of(with_route(""));
  CHECK(written == defaults);
  IdempotencyOptions values;
  values.name_space = "route-1";
  CHECK(defaults == values);
}

TEST_CASE("every key of idempotency reaches its field") {
  const IdempotencyOptions options = options_of(with_idempotency(R"(
enabled = true
methods = ["PATCH", "DELETE"]
header = "X-Key"
missing_key = "generate"
auto_ttl = "1h"
key_syntax = "strict"
max_key_length = 36
namespace = "pay"
scope = ["header:X-Tenant", "authorization"]
scope_missing = "reject"
fingerprint = "body"
ttl = "48h"
lease = "2s"
max_execution = "3s"
in_flight_wait = "4s"
on_unknown = "reexecute"
on_store_error = "open"
record = "no_5xx"
max_request_bytes = "5B"
max_response_bytes = "6B"
replay_set_cookie = true
upstream_honours_key = true
)"));
  CHECK(options.enabled);
  CHECK(options.methods == std::vector<std::string>{"PATCH", "DELETE"});
  CHECK(options.header == "X-Key");
  CHECK(options.missing_key == policy::MissingKey::generate);
  CHECK(options.auto_ttl == std::chrono::hours(1));
  CHECK(options.key_syntax == policy::KeySyntax::strict);
  CHECK(options.max_key_length == 36);
  CHECK(options.name_space == "pay");
  CHECK(options.scope ==
        std::vector<policy::ScopeSource>{{Kind::header, "x-tenant"}, {Kind::authorization, ""}});
  CHECK(options.scope_missing == policy::ScopeMissing::reject);
  CHECK(options.fingerprint == policy::FingerprintOf::body);
  CHECK(options.ttl == std::chrono::hours(48));
  CHECK(options.lease == std::chrono::seconds(2));
  CHECK(options.max_execution == std::chrono::seconds(3));
  CHECK(options.in_flight_wait == std::chrono::seconds(4));
  CHECK(options.on_unknown == policy::OnUnknown::reexecute);
  CHECK(options.on_store_error == policy::OnStoreFailure::open);
  CHECK(options.record == policy::Recording::no_5xx);
  CHECK(options.max_request_bytes == 5);
  CHECK(options.max_response_bytes == 6);
  CHECK(options.replay_set_cookie);
  CHECK(options.upstream_honours_key);
}

}  // namespace holdfast::app
