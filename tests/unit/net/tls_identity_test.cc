#include "holdfast/net/tls_identity.h"

#include <doctest/doctest.h>

#include <string>

#include "tests/support/certificates.h"

namespace holdfast::net {
namespace {

ClientIdentity client_with(const std::string& san, const std::string& common_name = "alice") {
  const testing::Authority authority;
  return ClientIdentity::of(*authority.issue({.san = san, .common_name = common_name}).get());
}

/// Behind the hash.
std::string told(const ClientIdentity& client) {
  return client.forwarded.substr(client.forwarded.find(';'));
}

TEST_CASE("a certificate is told by hash, subject and names, the first URI is who it is") {
  const ClientIdentity client =
      client_with("DNS:a.test,URI:spiffe://test/a,DNS:b.test,URI:spiffe://test/b");
  CHECK(client.name == "uri spiffe://test/a");
  CHECK(told(client) ==
        ";Subject=\"CN=alice\";URI=spiffe://test/a;URI=spiffe://test/b;DNS=a.test;DNS=b.test");
  const std::string hash = client.forwarded.substr(0, client.forwarded.find(';'));
  CHECK(hash.starts_with("Hash="));
  CHECK(hash.size() == 5 + 64);
}

TEST_CASE("without a URI it is the subject, and without that the certificate") {
  CHECK(client_with("DNS:a.test").name == "subject CN=alice");
  CHECK(client_with("").name == "subject CN=alice");
  CHECK(told(client_with("")) == ";Subject=\"CN=alice\"");
}

TEST_CASE("nothing in a certificate ends a value, a field or a line") {
  CHECK(told(client_with("", "a\"b;URI=c,d\\e")) ==
        ";Subject=\"CN=a\\\\\\\"b\\\\;URI=c\\\\,d\\\\\\\\e\"");
  CHECK(told(client_with("", "a\r\nX: y")).find_first_of("\r\n") == std::string::npos);
  const ClientIdentity odd = client_with("URI:spiffe://test/a;Subject=b");
  CHECK(odd.name == "uri spiffe://test/a;Subject=b");
  CHECK(told(odd) == ";Subject=\"CN=alice\";URI=\"spiffe://test/a;Subject=b\"");
}

TEST_CASE("of a certificate with names without end the hash alone is told") {
  std::string san = "URI:spiffe://test/a";
  for (int n = 0; n < 1000; ++n) san += ",DNS:name-" + std::to_string(n) + ".test";
  const ClientIdentity client = client_with(san);
  CHECK(client.forwarded.size() == 5 + 64);
  CHECK(client.name == "uri spiffe://test/a");
}

}  // namespace
}  // namespace holdfast::net
