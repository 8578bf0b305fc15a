#include "holdfast/proxy/destination.h"

#include <doctest/doctest.h>

#include <string>

namespace holdfast::proxy {
namespace {

UpstreamConfig upstream(const std::vector<std::string>& urls) {
  UpstreamConfig config;
  for (const std::string& url : urls) {
    config.endpoints.push_back({*net::Endpoint::parse_pattern(url), url, 1});
  }
  return config;
}

/// "http host:port", or "" for what is not covered.
std::string place(const std::vector<std::string>& urls, std::string_view authority,
                  bool tunnel = false) {
  const auto found = destination_of(upstream(urls), authority, tunnel);
  if (!found) return "";
  const bool https = found->endpoint.scheme == net::Endpoint::Scheme::https;
  return (https ? "https " : "http ") + found->endpoint.text();
}

}  // namespace

TEST_CASE("a wildcard covers one or more labels, at its port, and never an address") {
  const std::vector<std::string> internal = {"http://*.internal"};
  CHECK(place(internal, "a.internal") == "http a.internal:80");
  CHECK(place(internal, "a.b.INTERNAL:80") == "http a.b.internal:80");
  for (const std::string_view authority :
       {"internal", ".internal", "xinternal", "a.internal.test", "a.internal.", "a.internal:81",
        "10.0.0.1", "[::1]", "", "a.internal:0", "u@a.internal"}) {
    CAPTURE(authority);
    CHECK(place(internal, authority).empty());
  }
  CHECK(place({"http://*.internal:8080"}, "a.internal:8080") == "http a.internal:8080");
  CHECK(place({"http://*.internal:8080"}, "a.internal").empty());
}

TEST_CASE("an address is covered where it is named") {
  CHECK(place({"http://*.x", "http://10.0.0.1:81"}, "10.0.0.1:81") == "http 10.0.0.1:81");
  CHECK(place({"http://*.x", "http://[::1]:81"}, "[::1]:81") == "http [::1]:81");
  CHECK(place({"http://*.x", "http://10.0.0.1:81"}, "10.0.0.2:81").empty());
}

TEST_CASE(
    "an https endpoint is what a target without a port may mean, and a tunnel speaks no TLS") {
  const std::vector<std::string> secure = {"https://*.x"};
  CHECK(place(secure, "a.x") == "https a.x:443");
  CHECK(place(secure, "a.x:443") == "https a.x:443");
  CHECK(place(secure, "a.x:8443").empty());
  CHECK(place(secure, "a.x:443", true) == "http a.x:443");
  CHECK(place(secure, "a.x:80", true).empty());
}

TEST_CASE("a unix socket has no authority that could name it") {
  CHECK(place({"unix:/a"}, "localhost").empty());
  CHECK(place({"unix:/a"}, "localhost:80", true).empty());
}

}  // namespace holdfast::proxy
