#include "holdfast/proxy/shared_endpoints.h"

#include <doctest/doctest.h>

#include "tests/support/proxy_fixture.h"

namespace holdfast::test {
namespace {

using namespace std::chrono_literals;
using proxy::EndpointState;
using proxy::SharedEndpoints;

constexpr TimePoint start = TimePoint(1000s);

std::string told(const SharedEndpoints& endpoints) {
  std::string text;
  for (const proxy::EndpointReport& report : endpoints.report()) {
    text += (text.empty() ? "" : ", ") + report.key + " " + std::string(name(report.state));
  }
  return text;
}

TEST_CASE("an endpoint that is written twice is one, with the sum of the weights") {
  proxy::UpstreamConfig config =
      upstream_of("api", {"http://10.0.0.1:80", "http://10.0.0.2:80", "http://10.0.0.1"});
  config.endpoints[2].weight = 4;
  const SharedEndpoints endpoints(config, start);
  const auto reports = endpoints.report();
  REQUIRE(reports.size() == 2);
  CHECK(reports[0].weight == 5);
  CHECK(reports[1].weight == 1);
}

TEST_CASE("a state survives a reload as long as its endpoint stays") {
  SharedEndpoints endpoints(upstream_of("api", {"http://10.0.0.1:80", "http://10.0.0.2:80"}),
                            start);
  CHECK(endpoints.calm());
  CHECK_FALSE(endpoints.drain("10.0.0.9:80", true, start));
  CHECK(endpoints.drain("10.0.0.2:80", true, start + 5s));
  CHECK_FALSE(endpoints.calm());
  const std::uint64_t version = endpoints.version();
  endpoints.configure(upstream_of("api", {"http://10.0.0.2:80", "http://10.0.0.3:80"}),
                      start + 10s);
  CHECK(endpoints.version() > version);
  CHECK(told(endpoints) == "10.0.0.2:80 draining, 10.0.0.3:80 healthy");
  CHECK(endpoints.report()[0].since == start + 5s);
  CHECK(endpoints.report()[1].since == start + 10s);
  endpoints.configure(upstream_of("api", {"http://10.0.0.1:80"}), start + 20s);
  endpoints.configure(upstream_of("api", {"http://10.0.0.2:80"}), start + 30s);
  CHECK(told(endpoints) == "10.0.0.2:80 healthy");
  CHECK(endpoints.calm());
}

TEST_CASE("addresses are kept over a reload while their name stays, and then forgotten") {
  const std::vector<net::Address> addresses = {*net::Address::from_ip("10.0.0.1", 80),
                                               *net::Address::from_ip("10.0.0.2", 80)};
  SharedEndpoints endpoints(upstream_of("api", {"http://app.local:80"}), start);
  endpoints.resolved("other.local:80", addresses, start);
  CHECK(told(endpoints) == "app.local:80 healthy");
  endpoints.resolved("app.local:80", addresses, start);
  CHECK(told(endpoints) == "app.local:80 10.0.0.1:80 healthy, app.local:80 10.0.0.2:80 healthy");
  endpoints.configure(upstream_of("api", {"http://app.local:80", "http://10.0.0.3:80"}), start);
  CHECK(endpoints.report().size() == 3);
  endpoints.configure(upstream_of("api", {"http://10.0.0.3:80"}), start);
  endpoints.configure(upstream_of("api", {"http://app.local:80"}), start);
  CHECK(told(endpoints) == "app.local:80 healthy");
}

}  // namespace
}  // namespace holdfast::test
