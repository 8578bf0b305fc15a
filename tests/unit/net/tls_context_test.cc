#include "holdfast/net/tls_context.h"

#include <doctest/doctest.h>
#include <openssl/ssl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "tests/support/certificates.h"

namespace holdfast::net {
namespace {

using testing::Authority;
using testing::Certificate;

std::string error_of(const TlsClientOptions& options) {
  const auto made = TlsClientContext::make(options);
  return made ? "" : made.error().text();
}

TEST_CASE("a file that cannot be used is named, with its key and the reason") {
  const Authority authority;
  const Certificate client = authority.issue();
  const Certificate other = authority.issue();
  const testing::TemporaryFolder folder;
  const std::string nonsense = folder.write("nonsense.pem", "nothing of the kind\n");
  const std::string missing = folder.path() + "/missing.pem";
  const std::string cert = client.cert_file();
  const std::string locked = client.locked_key_file();
  const std::string fifo = folder.path() + "/fifo";
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  struct Case {
    TlsClientOptions options;
    std::string beginning;
    std::string reason;
  };
  const std::vector<Case> cases{
      {{missing, "", true, "", ""}, "ca " + missing + ": ", "No such file"},
      {{nonsense, "", true, "", ""}, "ca " + nonsense + ": ", "no certificate"},
      {{"", "", true, missing, missing}, "cert " + missing + ": ", "No such file"},
      {{"", "", true, nonsense, cert}, "cert " + nonsense + ": ", "no start line"},
      {{"", "", true, cert, missing}, "key " + missing + ": ", "No such file"},
      {{"", "", true, cert, nonsense}, "key " + nonsense + ": ", ""},
      {{"", "", true, cert, other.key_file()}, "key " + other.key_file() + ": ", "mismatch"},
      {{"", "", true, cert, locked}, "key " + locked + ": ", "passphrase"},
      {{fifo, "", true, "", ""}, "ca " + fifo + ": ", "it is not a regular file"},
      {{"", "", true, fifo, cert}, "cert " + fifo + ": ", "it is not a regular file"},
      {{"", "", true, cert, fifo}, "key " + fifo + ": ", "it is not a regular file"},
      {{folder.path(), "", true, "", ""}, "ca " + folder.path() + ": ", "it is not a regular file"},
  };
  for (const Case& each : cases) {
    const std::string error = error_of(each.options);
    CAPTURE(error);
    CAPTURE(each.beginning);
    CHECK(error.starts_with(each.beginning));
    CHECK(error.size() > each.beginning.size());
    CHECK(error.find(each.reason) != std::string::npos);
  }
}

TEST_CASE("without verification no authority is read") {
  CHECK(error_of({"/nowhere.pem", "", false, "", ""}).empty());
}

TEST_CASE("the system's authorities count among the files, where they are the ones trusted") {
  const Authority authority;
  const testing::TemporaryFolder folder;
  const std::string system = folder.write("system.pem", testing::file_text(authority.ca_file()));
  REQUIRE(::setenv("SSL_CERT_FILE", system.c_str(), 1) == 0);
  const auto trusting = TlsClientContext::make({});
  const auto careless = TlsClientContext::make({"", "", false, "", ""});
  REQUIRE((trusting && careless));
  CHECK_FALSE((*trusting)->files_changed());
  folder.write("system.pem", testing::file_text(Authority("another").ca_file()));
  CHECK((*trusting)->files_changed());
  CHECK_FALSE((*careless)->files_changed());
  CHECK((*trusting)->read_again());
  // Who has lost them trusts nobody: the old ones stay.
  folder.write("system.pem", "");
  CHECK_FALSE((*trusting)->read_again());
  REQUIRE(::unlink(system.c_str()) == 0);
  CHECK((*trusting)->read_again().error().text() == "ca " + system + ": No such file or directory");
  CHECK((*careless)->read_again());
  const auto with_none = TlsClientContext::make({});
  REQUIRE(with_none);
  CHECK((*with_none)->read_again());
  REQUIRE(::unsetenv("SSL_CERT_FILE") == 0);
}

TEST_CASE("a session outlives its context") {
  auto made = TlsClientContext::make({});
  REQUIRE(made);
  const TlsSession session = (*made)->session("redis.test");
  made->reset();
  REQUIRE(session != nullptr);
  CHECK(SSL_get_version(session.get()) != nullptr);
}

TEST_CASE("the name is the one that was connected to, unless the options say another") {
  TlsClientOptions options;
  options.verify = false;
  auto plain = TlsClientContext::make(options);
  REQUIRE(plain);
  CHECK((*plain)->name_for("a.test") == "a.test");
  options.server_name = "b.test";
  auto named = TlsClientContext::make(options);
  REQUIRE(named);
  CHECK((*named)->name_for("a.test") == "b.test");
}

}  // namespace
}  // namespace holdfast::net
