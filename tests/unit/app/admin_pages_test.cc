#include "holdfast/app/admin_pages.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "tests/support/golden.h"
#include "tests/support/manual_clock.h"

using namespace holdfast;
using namespace holdfast::app;

namespace {

struct HostRow {
  std::string_view host;
  bool allowed;
};

constexpr HostRow hosts[] = {
    // nothing, and what is no host
    {"", false},
    {":8471", false},
    {"[", false},
    {"[]", false},
    {"[::1", false},
    {"[::1]8471", false},
    {"[::1]:84x1", false},
    {"127.0.0.1:84 71", false},
    {"127.0.0.1:8471:8471", false},
    {"127.0.0.1:123456", false},
    {"127.0.0.1@evil.example", false},
    {"::1", false},
    {"[127.0.0.1]", false},
    // names that are not ours, however near
    {"evil.example", false},
    {"evil.example:8471", false},
    {"127.0.0.1.evil.example", false},
    {"localhost.evil.example", false},
    {"notlocalhost", false},
    {"1.2.3", false},
    {"0x7f000001", false},
    {"admin.internal.evil.example", false},
    {"x.admin.internal", false},
    {"admin.internal,127.0.0.1", false},
    // IP literals and localhost always pass
    {"127.0.0.1", true},
    {"127.0.0.1:8471", true},
    {"127.0.0.1:", true},
    {"10.1.2.3:80", true},
    {"[::1]", true},
    {"[::1]:8471", true},
    {"[2001:DB8::7]:8471", true},
    {"localhost", true},
    {"LocalHost:8471", true},
    // and so do the names of the configuration
    {"admin.internal", true},
    {"ADMIN.Internal:8471", true},
    {"holdfast", true},
};

proxy::EndpointConfig endpoint(const std::string& url, std::uint32_t weight) {
  const auto parsed = net::Endpoint::parse(url);
  REQUIRE(parsed);
  return {*parsed, url, weight};
}

proxy::Config two_upstreams() {
  proxy::Config config;
  proxy::UpstreamConfig& payments = config.upstreams["payments"];
  payments.name = "payments";
  payments.endpoints = {endpoint("http://10.0.0.5:8080", 3), endpoint("http://pay.internal", 1)};
  payments.balance = policy::BalanceKind::round_robin;
  payments.breaker.consecutive_failures = 5;
  payments.breaker.slow_call = std::chrono::milliseconds(800);
  proxy::UpstreamConfig& search = config.upstreams["search"];
  search.name = "search";
  search.endpoints = {endpoint("unix:/run/search.sock", 1)};
  search.breaker.enabled = false;
  search.pool.idle_timeout = std::nullopt;
  return config;
}

}  // namespace

TEST_CASE("the admin listener answers to IP literals, localhost and its own names only") {
  const std::vector<std::string> names = {"admin.internal", "holdfast"};
  for (const HostRow& row : hosts) {
    CAPTURE(row.host);
    CHECK(admin_host_allowed(row.host, names) == row.allowed);
  }
  CHECK_FALSE(admin_host_allowed("admin.internal", {}));
  CHECK_FALSE(admin_host_allowed("", {""}));
}

TEST_CASE("upstreams are told with their state") {
  const proxy::Config config = two_upstreams();
  proxy::SharedUpstreams upstreams;
  test::ManualClock clock;
  upstreams.apply(config, clock.now());
  clock.advance(std::chrono::seconds(90));
  upstreams.find("payments")->endpoints().drain("10.0.0.5:8080", true, clock.now());
  clock.advance(std::chrono::seconds(5));
  upstreams.find("payments")->active_connections = 4;
  upstreams.find("payments")->idle_connections = 2;
  testing::check_golden("upstreams.json", upstreams_page(config, upstreams, clock));
}

TEST_CASE("upstreams that have no state yet are told as new ones") {
  const proxy::Config config = two_upstreams();
  const proxy::SharedUpstreams none;
  const test::ManualClock clock;
  const std::string page = upstreams_page(config, none, clock);
  CHECK(page.find(R"("url": "unix:/run/search.sock")") != std::string::npos);
  CHECK(page.find("draining") == std::string::npos);
  CHECK(upstreams_page(proxy::Config(), none, clock) == "{\n  \"upstreams\": []\n}\n");
}
