#include "holdfast/app/admin_drain.h"

#include <doctest/doctest.h>

namespace holdfast::app {

TEST_CASE("a drain names an upstream and an endpoint, and nothing else") {
  const auto target = parse_drain_target(R"({"endpoint":"10.0.0.1:80","upstream":"pay"})");
  REQUIRE(target);
  CHECK(target->upstream == "pay");
  CHECK(target->endpoint == "10.0.0.1:80");
  for (const char* wrong :
       {"", "{", "[]", "1", "{}", R"({"upstream":"pay"})", R"({"upstream":"pay","endpoint":1})",
        R"({"upstream":null,"endpoint":"a"})", R"({"upstream":"pay","endpoint":"a","more":1})"}) {
    CAPTURE(wrong);
    CHECK_FALSE(parse_drain_target(wrong));
  }
}

namespace {

proxy::UpstreamConfig upstream(const std::string& name, const std::string& url) {
  proxy::UpstreamConfig config;
  config.name = name;
  config.endpoints.push_back({*net::Endpoint::parse_pattern(url), url, 1});
  config.dynamic = config.endpoints.back().endpoint.wildcard;
  return config;
}

}  // namespace

TEST_CASE("what is not there, or is only chosen by requests, is not drained, and that is said") {
  proxy::Config config;
  config.upstreams.emplace("pay", upstream("pay", "http://10.0.0.1:80"));
  config.upstreams.emplace("any", upstream("any", "http://*.internal:80"));
  proxy::SharedUpstreams upstreams;
  upstreams.apply(config);
  const auto destination =
      upstreams.destination(upstream("any", "http://app.internal:80"), "app.internal:80", {});
  const auto drain = [&](const std::string& name, const std::string& endpoint, bool draining) {
    return drain_endpoint(config, upstreams, {name, endpoint}, draining, TimePoint());
  };
  for (const bool draining : {true, false}) {
    CHECK(drain("none", "10.0.0.1:80", draining) == DrainOutcome::no_endpoint);
    CHECK(drain("pay", "10.0.0.2:80", draining) == DrainOutcome::no_endpoint);
    CHECK(drain("any", "*.internal:80", draining) == DrainOutcome::chosen_by_requests);
    CHECK(drain("any", "app.internal:80", draining) == DrainOutcome::chosen_by_requests);
  }
  CHECK(destination->endpoints().calm());
  CHECK(drain("pay", "10.0.0.1:80", true) == DrainOutcome::done);
  CHECK_FALSE(upstreams.find("pay")->endpoints().calm());
  CHECK(drain("pay", "10.0.0.1:80", false) == DrainOutcome::done);
  CHECK(upstreams.find("pay")->endpoints().calm());
}

}  // namespace holdfast::app
