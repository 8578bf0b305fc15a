#include "holdfast/app/config_schema.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "holdfast/app/config_policies.h"

namespace holdfast::app {
namespace {

/// Reads `document` with `keys` into `options`; it must have no errors.
template <class Options, class Keys>
Options read(std::string_view document, Options options, Keys keys) {
  const auto root = parse_toml(document);
  REQUIRE(root.has_value());
  Diagnostics diagnostics;
  Reader reader(diagnostics, *root, "");
  keys(reader, options);
  reader.finish();
  INFO(render("f", document, "error", diagnostics.errors()));
  REQUIRE_FALSE(diagnostics.has_errors());
  return options;
}

}  // namespace

TEST_CASE("the defaults of the policies are the contract's, and every key is known") {
  const auto retry = [](Reader& keys, policy::RetryOptions& options) { retry_keys(keys, options); };
  const policy::RetryOptions retry_defaults = Policies().retry;
  CHECK(read(R"(
attempts = 3
on = ["connect", "reset", "502", "503", "504"]
methods = ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"]
backoff = { kind = "exponential", base = "25ms", max = "1s", jitter = "full" }
budget = { ratio = 0.2, min_per_second = 3, window = "10s" }
body_limit = "64KiB"
retry_after_max = "10s"
hedge_after = "off"
)",
             retry_defaults, retry) == retry_defaults);

  const auto timeout = [](Reader& keys, policy::TimeoutOptions& options) {
    timeout_keys(keys, options);
  };
  CHECK(read(R"(
connect = "1s"
per_try = "off"
total = "15s"
idle = "60s"
stream = "off"
deadline_header = ""
)",
             policy::TimeoutOptions(), timeout) == policy::TimeoutOptions());

  const auto breaker = [](Reader& keys, policy::BreakerOptions& options) {
    breaker_keys(keys, options);
  };
  CHECK(read(R"(
enabled = true
window = "10s"
min_requests = 20
failure_rate = 0.5
consecutive_failures = "off"
slow_call = "off"
slow_call_rate = 1.0
failures = ["connect", "reset", "timeout", "5xx"]
open_for = "5s"
open_max = "60s"
half_open_requests = 3
)",
             policy::BreakerOptions(), breaker) == policy::BreakerOptions());
}

TEST_CASE("every key of the policies reaches its field") {
  const auto retry =
      read(R"(
attempts = 5
on = ["429"]
methods = []
backoff = { kind = "fibonacci", base = "1ms", max = "2ms", jitter = 0.5 }
budget = { ratio = 1, min_per_second = 0.5, window = "1s" }
body_limit = "0B"
retry_after_max = "off"
hedge_after = "30ms"
)",
           policy::RetryOptions(), [](Reader& keys, auto& options) { retry_keys(keys, options); });
  CHECK(retry.attempts == 5);
  CHECK(retry.on.matches_status(429));
  CHECK_FALSE(retry.on.matches_status(503));
  CHECK(retry.methods == 0);
  CHECK(retry.backoff.kind == policy::BackoffKind::fibonacci);
  CHECK(retry.backoff.base == std::chrono::milliseconds(1));
  CHECK(retry.backoff.max == std::chrono::milliseconds(2));
  CHECK(retry.backoff.jitter_ratio == 0.5);
  CHECK(retry.budget.ratio == 1);
  CHECK(retry.budget.min_per_second == 0.5);
  CHECK(retry.budget.window == std::chrono::seconds(1));
  CHECK(retry.body_limit == 0);
  CHECK_FALSE(retry.retry_after_max.has_value());
  CHECK(retry.hedge_after == std::chrono::milliseconds(30));

  const auto timeout = read(R"(
connect = "1ms"
per_try = "2ms"
total = "3ms"
idle = "4ms"
stream = "5ms"
deadline_header = "X-Deadline"
)",
                            policy::TimeoutOptions(),
                            [](Reader& keys, auto& options) { timeout_keys(keys, options); });
  CHECK(timeout.connect == std::chrono::milliseconds(1));
  CHECK(timeout.per_try == std::chrono::milliseconds(2));
  CHECK(timeout.total == std::chrono::milliseconds(3));
  CHECK(timeout.idle == std::chrono::milliseconds(4));
  CHECK(timeout.stream == std::chrono::milliseconds(5));
  CHECK(timeout.deadline_header == "X-Deadline");

  const auto breaker = read(R"(
enabled = false
window = "1s"
min_requests = 2
failure_rate = 0.25
consecutive_failures = 3
slow_call = "4s"
slow_call_rate = 0.75
failures = ["503"]
open_for = "5ms"
open_max = "6ms"
half_open_requests = 7
)",
                            policy::BreakerOptions(),
                            [](Reader& keys, auto& options) { breaker_keys(keys, options); });
  CHECK_FALSE(breaker.enabled);
  CHECK(breaker.window == std::chrono::seconds(1));
  CHECK(breaker.min_requests == 2);
  CHECK(breaker.failure_rate == 0.25);
  CHECK(breaker.consecutive_failures == 3);
  CHECK(breaker.slow_call == std::chrono::seconds(4));
  CHECK(breaker.slow_call_rate == 0.75);
  CHECK(breaker.failures.matches_status(503));
  CHECK_FALSE(breaker.failures.has(ErrorGroup::connect));
  CHECK(breaker.open_for == std::chrono::milliseconds(5));
  CHECK(breaker.open_max == std::chrono::milliseconds(6));
  CHECK(breaker.half_open_requests == 7);
}

TEST_CASE("every key of [server], [log] and pool reaches its field") {
  const auto server =
      read(R"(
name = "edge-1"
workers = 2
max_connections = 3
drain_timeout = "0s"
header_timeout = "1s"
idle_timeout = "off"
min_body_rate = "off"
max_target_bytes = "1KiB"
max_header_bytes = "2KiB"
max_headers = 4
max_body_bytes = "5B"
underscore_headers = "reject"
trusted_proxies = ["10.0.0.0/8"]
)",
           proxy::ServerConfig(), [](Reader& keys, auto& options) { server_keys(keys, options); });
  CHECK(server.name == "edge-1");
  CHECK(server.workers == 2);
  CHECK(server.max_connections == 3);
  CHECK(server.drain_timeout == Duration::zero());
  CHECK(server.header_timeout == std::chrono::seconds(1));
  CHECK_FALSE(server.idle_timeout.has_value());
  CHECK_FALSE(server.min_body_rate.has_value());
  CHECK(server.max_target_bytes == 1024);
  CHECK(server.max_header_bytes == 2048);
  CHECK(server.max_headers == 4);
  CHECK(server.max_body_bytes == 5);
  CHECK(server.underscore_headers == proxy::UnderscoreHeaders::reject);
  CHECK(server.trusted_proxies.size() == 1);

  const auto log =
      read("level = \"debug\"\nformat = \"text\"\naccess = \"errors\"\n", proxy::LogConfig(),
           [](Reader& keys, auto& options) { log_keys(keys, options); });
  CHECK(log.level == LogLevel::debug);
  CHECK(log.format == LogFormat::text);
  CHECK(log.access == proxy::AccessLog::errors);

  const auto pool =
      read("max_connections = 1\nmax_pending = 0\nidle_timeout = \"off\"\nmax_requests = 2\n",
           proxy::PoolOptions(), [](Reader& keys, auto& options) { pool_keys(keys, options); });
  CHECK(pool.max_connections == 1);
  CHECK(pool.max_pending == 0);
  CHECK_FALSE(pool.idle_timeout.has_value());
  CHECK(pool.max_requests == 2);
}

TEST_CASE("what bounds a wait or a pool can be off") {
  const auto server = read("drain_timeout = \"off\"\n", proxy::ServerConfig(),
                           [](Reader& keys, auto& options) { server_keys(keys, options); });
  CHECK_FALSE(server.drain_timeout.has_value());
  const auto pool = read("max_connections = \"off\"\nmax_pending = \"off\"\n", proxy::PoolOptions(),
                         [](Reader& keys, auto& options) { pool_keys(keys, options); });
  CHECK_FALSE(pool.max_connections.has_value());
  CHECK_FALSE(pool.max_pending.has_value());
}

TEST_CASE("names that go onto the wire are tokens") {
  CHECK(is_pseudonym("holdfast-1"));
  CHECK(is_pseudonym("*"));
  CHECK_FALSE(is_pseudonym("1hf"));
  CHECK_FALSE(is_pseudonym("-hf"));
  CHECK_FALSE(is_pseudonym(""));
  CHECK_FALSE(is_pseudonym("two words"));
  CHECK_FALSE(is_pseudonym("a\r\nb"));
}

}  // namespace holdfast::app
