#include "holdfast/net/address.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace holdfast::net {
namespace {

Address ip(std::string_view text, std::uint16_t port = 1) {
  const auto address = Address::from_ip(text, port);
  REQUIRE(address.has_value());
  return *address;
}

}  // namespace

TEST_CASE("a listen address is an IP with a port or a unix socket's absolute path") {
  for (const std::string text : {"",
                                 "127.0.0.1",
                                 "8470",
                                 ":8470",
                                 "127.0.0.1:",
                                 "127.0.0.1:65536",
                                 "127.0.0.1:-1",
                                 "127.0.0.1:+1",
                                 "127.0.0.1:000080",
                                 "localhost:80",
                                 "::1:80",
                                 "[::1]",
                                 "[::1]80",
                                 "[::1",
                                 "[127.0.0.1]:80",
                                 "[fe80::1%lo]:80",
                                 "1.2.3.4:80 ",
                                 "unix:",
                                 "unix:relative",
                                 "http://1.2.3.4:80",
                                 "127.0.0.1:80/"}) {
    CAPTURE(text);
    CHECK_FALSE(ListenAddress::parse(text).has_value());
  }
  CHECK_FALSE(ListenAddress::parse("unix:/" + std::string(107, 'x')).has_value());
  CHECK_FALSE(ListenAddress::parse(std::string_view("unix:/a\0b", 9)).has_value());
  CHECK_FALSE(ListenAddress::parse(std::string_view("127.0.0.1\0:80", 13)).has_value());

  for (const std::string text :
       {"127.0.0.1:8470", "0.0.0.0:0", "[::1]:8470", "[::]:65535", "unix:/run/holdfast.sock"}) {
    CAPTURE(text);
    const auto address = ListenAddress::parse(text);
    REQUIRE(address.has_value());
    CHECK(address->text == text);
    CHECK(address->address.text() == text);
  }
  CHECK(ListenAddress::parse("unix:/" + std::string(106, 'x')).has_value());
  CHECK(ListenAddress::parse("unix:/a")->address.is_unix());
  CHECK(ListenAddress::parse("[::1]:8470")->address.port() == 8470);
}

TEST_CASE("an endpoint is a scheme with a host, or a unix socket, and nothing more") {
  for (const std::string text : {"",
                                 "127.0.0.1:80",
                                 "http://",
                                 "http:///",
                                 "http://host:0",
                                 "http://host:65536",
                                 "http://host:",
                                 "http://host:80/path",
                                 "http://host//",
                                 "http://host?x",
                                 "http://host#x",
                                 "http://user@host",
                                 "http://user:secret@host:80",
                                 "ftp://host",
                                 "tcp://host:1",
                                 "http://ho st",
                                 "http://host:80:80",
                                 "http://::1:80",
                                 "http://[::1",
                                 "http://[::1]x",
                                 "http://[host]:80",
                                 "http://300.1.1.1",
                                 "http://1.2.3",
                                 "http://a..b",
                                 "http://.a",
                                 "http://-\n",
                                 "unix:",
                                 "unix:app.sock",
                                 "https://"}) {
    CAPTURE(text);
    CHECK_FALSE(Endpoint::parse(text).has_value());
  }
  CHECK_FALSE(Endpoint::parse("http://" + std::string(64, 'a')).has_value());

  struct Case {
    std::string url;
    Endpoint::Scheme scheme;
    std::string authority;
    std::string text;
    bool named;
  };
  using Scheme = Endpoint::Scheme;
  const std::vector<Case> cases = {
      {"http://127.0.0.1:3000", Scheme::http, "127.0.0.1:3000", "127.0.0.1:3000", false},
      {"http://127.0.0.1", Scheme::http, "127.0.0.1", "127.0.0.1:80", false},
      {"HTTPS://10.0.0.5:8443/", Scheme::https, "10.0.0.5:8443", "10.0.0.5:8443", false},
      {"https://Pay.Internal", Scheme::https, "pay.internal", "pay.internal:443", true},
      {"https://pay.internal:80", Scheme::https, "pay.internal:80", "pay.internal:80", true},
      {"http://[::1]:8080", Scheme::http, "[::1]:8080", "[::1]:8080", false},
      {"http://my_service-1:80", Scheme::http, "my_service-1", "my_service-1:80", true},
      {"http://localhost.:81", Scheme::http, "localhost.:81", "localhost.:81", true},
      {"unix:/run/app.sock", Scheme::unix_socket, "localhost", "unix:/run/app.sock", false},
  };
  for (const Case& expected : cases) {
    CAPTURE(expected.url);
    const auto endpoint = Endpoint::parse(expected.url);
    REQUIRE(endpoint.has_value());
    CHECK(endpoint->scheme == expected.scheme);
    CHECK(endpoint->authority() == expected.authority);
    CHECK(endpoint->text() == expected.text);
    CHECK(endpoint->is_named() == expected.named);
    if (endpoint->address) CHECK(endpoint->address->text() == expected.text);
  }
}

TEST_CASE("a range that is none is refused") {
  for (const std::string text :
       {"", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8/8", "10.0.0", "::/129", "host",
        "[::1]", "127.0.0.1:80", "::ffff:10.0.0.0/95"}) {
    CAPTURE(text);
    CHECK_FALSE(Cidr::parse(text).has_value());
  }
}

TEST_CASE("a range contains by prefix, and a mapped address is the IPv4 address it stands for") {
  struct Case {
    std::string range;
    std::string address;
    bool inside;
  };
  const std::vector<Case> cases = {
      {"10.0.0.0/8", "10.255.255.255", true},
      {"10.0.0.0/8", "11.0.0.0", false},
      {"10.1.2.3/8", "10.9.9.9", true},
      {"10.0.0.0/9", "10.127.0.1", true},
      {"10.0.0.0/9", "10.128.0.1", false},
      {"127.0.0.1", "127.0.0.1", true},
      {"127.0.0.1", "127.0.0.2", false},
      {"0.0.0.0/0", "8.8.8.8", true},
      {"0.0.0.0/0", "2001:db8::1", false},
      {"::/0", "2001:db8::1", true},
      {"::/0", "10.0.0.1", false},
      {"::/0", "::ffff:10.0.0.1", false},
      {"10.0.0.0/8", "::ffff:10.0.0.1", true},
      {"::ffff:10.0.0.0/104", "10.1.1.1", true},
      {"::ffff:10.0.0.0/104", "11.1.1.1", false},
      {"2001:db8::/33", "2001:db8:7fff::1", true},
      {"2001:db8::/33", "2001:db8:8000::1", false},
      {"::1", "::1", true},
  };
  for (const Case& expected : cases) {
    CAPTURE(expected.range);
    CAPTURE(expected.address);
    const auto range = Cidr::parse(expected.range);
    REQUIRE(range.has_value());
    CHECK(range->text() == expected.range);
    CHECK(range->contains(ip(expected.address)) == expected.inside);
  }
  CHECK_FALSE(Cidr::parse("0.0.0.0/0")->contains(*Address::from_unix_path("/a")));
  CHECK_FALSE(Cidr().contains(Address()));
}

TEST_CASE("addresses are equal when family, address and port are") {
  CHECK(ip("127.0.0.1", 80) == ip("127.0.0.1", 80));
  CHECK_FALSE(ip("127.0.0.1", 80) == ip("127.0.0.1", 81));
  CHECK_FALSE(ip("127.0.0.1", 80) == ip("127.0.0.2", 80));
  CHECK_FALSE(ip("127.0.0.1", 80) == ip("::ffff:127.0.0.1", 80));
  CHECK(*Address::from_unix_path("/a") == *Address::from_unix_path("/a"));
  CHECK_FALSE(*Address::from_unix_path("/a") == *Address::from_unix_path("/b"));
}

TEST_CASE("an unnamed unix peer has no path and no port") {
  sockaddr raw{};
  raw.sa_family = AF_UNIX;
  const Address peer = Address::from_sockaddr(&raw, sizeof(sa_family_t));
  CHECK(peer.is_unix());
  CHECK(peer.ip().empty());
  CHECK(peer.port() == 0);
  CHECK(peer.text() == "unix:");
}

}  // namespace holdfast::net
