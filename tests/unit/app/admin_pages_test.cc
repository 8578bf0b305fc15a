#include "holdfast/app/admin_pages.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
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

// -- destinations that requests choose

namespace {

proxy::UpstreamConfig internal(const std::string& url) {
  proxy::UpstreamConfig config;
  config.name = "internal";
  const auto parsed = net::Endpoint::parse_pattern(url);
  REQUIRE(parsed);
  config.endpoints = {{*parsed, url, 1}};
  config.dynamic = true;
  return config;
}

/// What the page says of the first upstream.
nlohmann::json first_upstream(const proxy::Config& config, const proxy::SharedUpstreams& upstreams,
                              const Clock& clock) {
  return nlohmann::json::parse(upstreams_page(config, upstreams, clock))["upstreams"][0];
}

}  // namespace

TEST_CASE("a wildcard's destinations are told while somebody uses them") {
  proxy::Config config;
  config.upstreams.emplace("internal", internal("http://*.internal:80"));
  config.upstreams.emplace("internal-2", internal("http://*.internal:80"));
  proxy::SharedUpstreams upstreams;
  const test::ManualClock clock;
  CHECK(first_upstream(config, upstreams, clock)["destinations"].empty());
  upstreams.apply(config, clock.now());
  const auto app =
      upstreams.destination(internal("http://app.internal:80"), "app.internal:80", clock.now());
  auto gone = upstreams.destination(internal("http://gone.internal:80"), "gone.internal:80 tls",
                                    clock.now());
  app->endpoints().resolved("app.internal:80", {*net::Address::from_ip("10.0.0.5", 80)},
                            clock.now());
  app->active_connections = 2;
  nlohmann::json page = first_upstream(config, upstreams, clock);
  CHECK(page["destinations_known"] == 2);
  REQUIRE(page["destinations"].size() == 2);
  const nlohmann::json& first = page["destinations"][0];
  CHECK(first["destination"] == "app.internal:80");
  CHECK(first["breaker"] == "closed");
  CHECK(first["endpoints"].size() == 1);
  CHECK(first["endpoints"][0]["endpoint"] == "app.internal:80 10.0.0.5:80");
  CHECK(first["endpoints"][0]["state"] == "healthy");
  CHECK(first["connections"] == nlohmann::json({{"active", 2}, {"idle", 0}}));
  CHECK(page["destinations"][1]["destination"] == "gone.internal:80 tls");
  gone.reset();
  page = first_upstream(config, upstreams, clock);
  CHECK(page["destinations_known"] == 1);
  CHECK(page["destinations"].size() == 1);
}

TEST_CASE("no more destinations are told than the page has room for, and how many there are is") {
  proxy::Config config;
  config.upstreams.emplace("internal", internal("http://*.internal:80"));
  proxy::SharedUpstreams upstreams;
  const test::ManualClock clock;
  upstreams.apply(config, clock.now());
  std::vector<std::shared_ptr<proxy::SharedUpstream>> used;
  for (std::size_t i = 0; i <= max_destinations_shown; ++i) {
    const std::string authority = "n" + std::to_string(i) + ".internal:80";
    used.push_back(upstreams.destination(internal("http://" + authority), authority, clock.now()));
  }
  const nlohmann::json page = first_upstream(config, upstreams, clock);
  CHECK(page["destinations"].size() == max_destinations_shown);
  CHECK(page["destinations_known"] == max_destinations_shown + 1);
}
