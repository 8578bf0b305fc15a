#include "holdfast/app/config_tls.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <string>

#include "holdfast/app/config_effective.h"
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

// -- upstreams

std::string upstream(const std::string& name, const std::string& endpoints,
                     const std::string& more = "") {
  return "[upstream." + name + "]\nendpoints = [" + endpoints + "]\n" + more;
}
const std::string https = "\"https://10.0.0.5:8443\"";
const std::string http = "\"http://10.0.0.5:80\"";

TEST_CASE("an https endpoint has credentials, by the defaults without a tls table") {
  const auto config = load(upstream("a", https + ", " + http)).config;
  const proxy::UpstreamConfig& a = config->upstreams.at("a");
  CHECK(a.tls == net::TlsClientOptions{});
  REQUIRE(a.endpoints[0].credentials != nullptr);
  CHECK(a.endpoints[0].credentials->current()->options() == net::TlsClientOptions{});
  CHECK(a.endpoints[0].credentials->current()->protocol() == "http/1.1");
  CHECK(a.endpoints[1].credentials == nullptr);
}

TEST_CASE("upstreams with the same options share a context, in one load") {
  const testing::Authority authority;
  const std::string ca = "tls = { ca = \"" + authority.ca_file() + "\" }\n";
  const std::string document = upstream("a", https, ca) + upstream("b", https, ca) +
                               upstream("c", https, "tls = { verify = false }\n");
  const auto first = load(document).config;
  const auto credentials = [&](const auto& config, const std::string& name) {
    return config->upstreams.at(name).endpoints[0].credentials;
  };
  CHECK(credentials(first, "a") == credentials(first, "b"));
  CHECK(credentials(first, "a") != credentials(first, "c"));
  CHECK(credentials(first, "a")->current()->options().ca == authority.ca_file());
  CHECK(credentials(load(document).config, "a") != credentials(first, "a"));
}

TEST_CASE("what is wrong with the tls of an upstream is told at its place") {
  const auto at = [](const std::string& tls) { return upstream("a", https, tls); };
  CHECK(refuses(at("tls = { verify = 1 }\n"), "f.toml:3:18: error: \"verify\" must be"));
  CHECK(refuses(at("tls = { cert = \"a\" }\n"), "\"cert\" and \"key\" need each other"));
  CHECK(refuses(at("tls = { ca = \"/nowhere/ca.pem\" }\n"),
                "f.toml:3:14: error: cannot use ca \"/nowhere/ca.pem\": No such file"));
  CHECK(refuses(upstream("a", http, "tls = {}\n"),
                "f.toml:3:1: error: \"tls\" is only for endpoints that begin with https://"));
  CHECK(refuses(upstream("a", "\"https://10.0.0.5:80\", " + http),
                "f.toml:2:13: error: \"10.0.0.5:80\" is an endpoint with TLS and one without"));
  CHECK(errors_of(upstream("a", https + ", " + https)).empty());
}

TEST_CASE("the effective configuration shows the table where it counts, and no file's content") {
  const testing::Authority authority;
  const testing::Certificate client = authority.issue();
  const auto shown = [](const std::string& document) {
    return effective_config(load(document))["upstream"]["a"];
  };
  const Json tls = shown(upstream("a", https,
                                  "tls = { cert = \"" + client.cert_file() + "\", key = \"" +
                                      client.key_file() + "\" }\n"))["tls"];
  CHECK(tls == Json({{"ca", ""},
                     {"server_name", ""},
                     {"verify", true},
                     {"cert", client.cert_file()},
                     {"key", client.key_file()}}));
  CHECK(shown(upstream("a", http)).count("tls") == 0);
}

}  // namespace
}  // namespace holdfast::app
