#include "holdfast/app/config_tls.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <memory>
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
  for (const std::string name : {"", "a b", "a.test\\u0000.evil", "https://a.test", "a.test:443",
                                 "[::1]", "*.test", "a/b", "u@a.test"}) {
    CAPTURE(name);
    CHECK(refuses(rediss + "tls = { server_name = \"" + name + "\" }\n",
                  "\"server_name\" must be a host's name or address such as \"pay.local\""));
  }
  CHECK(refuses(rediss + "tls = { server_name = \"" + std::string(300, 'a') + "\" }\n",
                "\"server_name\" must be"));
  for (const std::string name : {"a.test", "A.Test", "localhost", "10.0.0.1", "::1"}) {
    CAPTURE(name);
    CHECK(errors_of(rediss + "tls = { server_name = \"" + name + "\" }\n").empty());
  }
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

TEST_CASE("a reload keeps the contexts whose options and files are as before") {
  const testing::Authority authority;
  const testing::Certificate identity = authority.issue();
  const testing::TemporaryFolder folder;
  const std::string ca = folder.write("ca.pem", testing::file_text(authority.ca_file()));
  const std::string listeners = "[[listener]]\ntls = { cert = \"" + identity.cert_file() +
                                "\", key = \"" + identity.key_file() + "\" }\n";
  const std::string document = listeners + upstream("a", https, "tls = { ca = \"" + ca + "\" }\n");
  const auto reload = [](const std::string& text, const std::shared_ptr<const proxy::Config>& old) {
    auto loaded = load_document("f.toml", text, {}, old.get());
    REQUIRE(loaded);
    return loaded->config;
  };
  const auto of_upstream = [](const auto& config) {
    return config->upstreams.at("a").endpoints[0].credentials;
  };
  const auto of_listener = [](const auto& config) { return config->listeners[0].credentials; };
  const auto first = load(document).config;

  const auto same = reload(document, first);
  CHECK(of_upstream(same) == of_upstream(first));
  CHECK(of_listener(same) == of_listener(first));

  const auto careless =
      reload(listeners + upstream("a", https, "tls = { verify = false }\n"), same);
  CHECK(of_upstream(careless) != of_upstream(first));
  CHECK(of_listener(careless) == of_listener(first));

  folder.write("ca.pem", testing::file_text(testing::Authority("another").ca_file()));
  const auto changed = reload(document, first);
  CHECK(of_upstream(changed) != of_upstream(first));
  CHECK(of_listener(changed) == of_listener(first));
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

// -- listeners

TEST_CASE("a listener's tls table has a context of its files") {
  const testing::Authority authority;
  const testing::Certificate identity = authority.issue();
  const std::string pair =
      "cert = \"" + identity.cert_file() + "\", key = \"" + identity.key_file() + "\"";
  const std::string mutual = pair + ", client_ca = \"" + authority.ca_file() + "\"";
  const auto listener = [](const std::string& tls) {
    return load("[[listener]]\ntls = { " + tls + " }\n").config->listeners.front();
  };
  CHECK(listener(pair).credentials != nullptr);
  CHECK_FALSE(listener(pair).asks_for_certificates());
  CHECK(listener(mutual).asks_for_certificates());
  CHECK(listener(mutual).credentials->current()->options().client_ca == authority.ca_file());
  CHECK(load("[[listener]]\n").config->listeners.front().credentials == nullptr);
}

TEST_CASE("a wrong tls table of a listener is told at its place") {
  const testing::Certificate one = testing::Authority().issue();
  const testing::Certificate other = testing::Authority().issue();
  const auto refused = [](const std::string& tls, const std::string& text) {
    return refuses("[[listener]]\ntls = { " + tls + " }\n", text);
  };
  const std::string cert = "cert = \"" + one.cert_file() + "\", ";
  CHECK(refused("", "f.toml:2:7: error: a listener's \"tls\" needs \"cert\" and \"key\""));
  CHECK(refused("cert = \"a\"", "needs \"cert\" and \"key\""));
  CHECK(refused("cert = \"/nowhere/c\", key = \"/nowhere/k\"",
                "f.toml:2:16: error: cannot use cert \"/nowhere/c\": No such file or directory"));
  CHECK(refused(cert + "key = \"" + other.key_file() + "\"", "key values mismatch"));
  CHECK(refused(cert + "key = \"" + one.locked_key_file() + "\"", "it needs a passphrase"));
  CHECK(refused(cert + "key = \"" + one.key_file() + "\", client_ca = \"/nowhere/ca\"",
                "cannot use client_ca \"/nowhere/ca\": No such file or directory"));
  CHECK(
      refused(cert + "key = \"" + one.key_file() + "\", verify = true", "unknown key \"verify\""));
}

TEST_CASE("a scope of certificates is for listeners that ask for them") {
  const testing::Authority authority;
  const testing::Certificate identity = authority.issue();
  const std::string tls = "tls = { cert = \"" + identity.cert_file() + "\", key = \"" +
                          identity.key_file() + "\", client_ca = \"" + authority.ca_file() +
                          "\" }\n";
  const std::string two =
      "[[listener]]\nname = \"open\"\nlisten = \"127.0.0.1:1\"\n"
      "[[listener]]\nname = \"closed\"\nlisten = \"127.0.0.1:2\"\n" +
      tls;
  const std::string upstream_a = upstream("a", http);
  const auto route = [](const std::string& match) {
    return "[[route]]\nupstream = \"a\"\n" + match +
           "idempotency = { enabled = true, scope = [\"client_cert\"] }\n";
  };
  const std::string needs = "scope \"client_cert\" needs a \"client_ca\" in the \"tls\" of ";
  CHECK(refuses(two + upstream_a + route(""), needs + "listener \"open\""));
  CHECK(errors_of(two + upstream_a + route("match = { listener = \"closed\" }\n")) == "");
  CHECK(refuses(upstream_a + route(""), needs + "listener \"listener-1\""));
  CHECK(
      refuses("[[listener]]\nmode = \"forward\"\nallow = [\"a:80\"]\n[defaults.idempotency]\n"
              "enabled = true\nscope = [\"client_cert\"]\n",
              needs + "listener \"listener-1\""));
  CHECK(refuses(two + upstream_a + "[defaults.idempotency]\nscope = [\"client_cert\"]\n" +
                    "[[route]]\nupstream = \"a\"\nidempotency.enabled = true\n",
                needs));
}

}  // namespace
}  // namespace holdfast::app
