#include "holdfast/proxy/balance_key.h"

#include <doctest/doctest.h>

#include "holdfast/policy/balancer.h"

namespace holdfast::proxy {
namespace {

const std::vector<net::Cidr> trusted = {*net::Cidr::parse("10.0.0.0/8")};

std::optional<std::uint64_t> key_of(std::string_view hash_key,
                                    std::vector<std::pair<std::string, std::string>> headers,
                                    std::string_view peer = "10.0.0.9", bool is_trusted = true) {
  http::Fields fields;
  for (const auto& [name, value] : headers) fields.add(name, value);
  return balance_key(hash_key, fields, peer, is_trusted, trusted);
}

TEST_CASE("a header's value is the key, whatever the case of its name; none and empty are no key") {
  CHECK(key_of("header:X-User", {{"x-user", "ann"}}) == policy::stable_hash("ann"));
  CHECK(key_of("header:X-User", {{"X-User", "ann"}, {"X-User", "bob"}}) ==
        policy::stable_hash("ann"));
  CHECK_FALSE(key_of("header:X-User", {{"X-User", ""}}));
  CHECK_FALSE(key_of("header:X-User", {{"X-Other", "ann"}}));
}

TEST_CASE("client_ip is the peer, or the nearest that no trusted proxy is") {
  using Headers = std::vector<std::pair<std::string, std::string>>;
  const auto is = [](const Headers& headers, std::string_view ip) {
    return key_of("client_ip", headers) == policy::stable_hash(ip);
  };
  CHECK(is({}, "10.0.0.9"));
  CHECK(is({{"X-Forwarded-For", "1.1.1.1, 192.0.2.7"}}, "192.0.2.7"));
  CHECK(is({{"X-Forwarded-For", "192.0.2.7, 10.0.0.3"}, {"X-Forwarded-For", "10.0.0.4"}},
           "192.0.2.7"));
  CHECK(is({{"X-Forwarded-For", "10.0.0.3, 10.0.0.4"}}, "10.0.0.3"));
  CHECK(is({{"X-Forwarded-For", "192.0.2.7, unknown, 10.0.0.4"}}, "10.0.0.4"));
  CHECK(is({{"X-Forwarded-For", "unknown"}}, "10.0.0.9"));
  CHECK(key_of("client_ip", {{"X-Forwarded-For", "1.1.1.1"}}, "192.0.2.1", false) ==
        policy::stable_hash("192.0.2.1"));
  CHECK_FALSE(key_of("client_ip", {}, "", false));
}

}  // namespace
}  // namespace holdfast::proxy
