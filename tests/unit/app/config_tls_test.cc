#include "holdfast/app/config_tls.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <string>

#include "tests/support/certificates.h"
#include "tests/unit/app/config_support.h"

namespace holdfast::app {
namespace {

const std::string rediss = "[store]\nkind = \"redis\"\nurl = \"rediss://host\"\n";

TEST_CASE("every key of a tls table reaches its field, with its files made absolute") {
  const testing::Authority authority;
  const testing::Certificate client = authority.issue();
  const auto relative = [](const std::string& file) {
    return std::filesystem::relative(file, std::filesystem::current_path()).string();
  };
  const net::TlsClientOptions tls =
      load(rediss + "[store.tls]\nca = \"" + relative(authority.ca_file()) +
           "\"\nserver_name = \"redis.test\"\nverify = false\ncert = \"" + client.cert_file() +
           "\"\nkey = \"" + client.key_file() + "\"\n")
          .config->store.tls;
  CHECK(tls.ca == authority.ca_file());
  CHECK(tls.server_name == "redis.test");
  CHECK_FALSE(tls.verify);
  CHECK(tls.cert == client.cert_file());
  CHECK(tls.key == client.key_file());
  CHECK(load(rediss).config->store.tls == net::TlsClientOptions{});
  CHECK(net::TlsClientOptions{}.verify);
}

TEST_CASE("a wrong value of a tls table is told at its place, a file's with the reason") {
  const std::string unpaired = "\"cert\" and \"key\" need each other";
  CHECK(refuses(rediss + "tls = { verify = 1 }\n", "f.toml:4:18: error: \"verify\" must be"));
  CHECK(refuses(rediss + "tls = { ca = \"\" }\n", "\"ca\" must be a string that is not empty"));
  CHECK(refuses(rediss + "tls = { cert = \"a\" }\n", unpaired));
  CHECK(refuses(rediss + "tls = { key = \"a\" }\n", unpaired));
  CHECK(refuses(rediss + "tls = { sni = \"a\" }\n", "unknown key \"sni\""));
  CHECK(
      refuses(rediss + "tls = { ca = \"/nowhere/ca.pem\" }\n",
              "f.toml:4:14: error: cannot use ca \"/nowhere/ca.pem\": No such file or directory"));
  CHECK(refuses(rediss + "tls = { cert = \"/nowhere/c\", key = \"/nowhere/k\" }\n",
                "cannot use cert \"/nowhere/c\": No such file"));
}

}  // namespace
}  // namespace holdfast::app
