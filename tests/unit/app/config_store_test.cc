#include "holdfast/app/config_store.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <string>

#include "tests/unit/app/config_support.h"

namespace holdfast::app {
namespace {

store::StoreOptions store_of(const std::string& keys) {
  return load("[store]\n" + keys).config->store;
}

bool store_refuses(const std::string& keys, std::string_view text) {
  return refuses("[store]\n" + keys, text);
}

}  // namespace

TEST_CASE("a wrong value of the store is told at its place") {
  CHECK(store_refuses("kind = \"tape\"\n", "f.toml:2:8: error: \"kind\" must be one of \"local\""));
  CHECK(store_refuses("path = \"\"\n", "\"path\" must be a string that is not empty"));
  CHECK(store_refuses("sync = \"none\"\n", "\"sync\" must be one of \"normal\", \"full\""));
  CHECK(store_refuses("max_bytes = \"0B\"\n", "\"max_bytes\" must be more than 0"));
  CHECK(store_refuses("wait_replicas = -1\n", "\"wait_replicas\" must be"));
  CHECK(store_refuses("timeout = \"0s\"\n", "\"timeout\" must be more than 0"));
  CHECK(store_refuses("on_error = \"ajar\"\n", "\"on_error\" must be one of"));
  CHECK(store_refuses("pth = \"x\"\n", "did you mean \"path\"?"));
}

TEST_CASE("a Redis waits for its replicas for ever if it is told 0: that is refused") {
  CHECK(store_refuses("wait_timeout = \"0s\"\n", "\"wait_timeout\" must be more than 0"));
}

TEST_CASE("a wait for replicas fits into the one operation it is a part of") {
  const std::string text = "\"wait_timeout\" (100ms) must be less than \"timeout\" (100ms)";
  CHECK(store_refuses("wait_replicas = 1\nwait_timeout = \"100ms\"\n", "f.toml:3:16: error: "));
  CHECK(store_refuses("wait_replicas = 1\nwait_timeout = \"100ms\"\n", text));
  CHECK(store_refuses("wait_replicas = 1\ntimeout = \"50ms\"\n", "f.toml:3:11: error: "));
  CHECK(errors_of("[store]\nwait_timeout = \"1s\"\n").empty());  // nobody waits
  CHECK(errors_of("[store]\nwait_replicas = 1\nwait_timeout = \"99ms\"\n").empty());
}

TEST_CASE("a Redis needs a URL, and a wrong one is not repeated in the message") {
  CHECK(store_refuses("kind = \"redis\"\n", "f.toml:1:1: error: a store of kind \"redis\" needs"));
  const auto failure = load_document("f.toml", "[store]\nurl = \"http://user:hunter2@host\"\n", {});
  REQUIRE_FALSE(failure.has_value());
  const std::string first = failure.error().first_place();
  CHECK(first.starts_with("f.toml:2:7: store.url: a Redis URL begins with redis://"));
  CHECK(first.find("hunter2") == std::string::npos);
  CHECK(store_refuses("url = 6379\n", "\"url\" must be a URL such as"));
}

TEST_CASE("TLS is for a rediss URL only, so that a forgotten s is noticed") {
  const std::string text = "\"tls\" is only for a \"url\" that begins with rediss://";
  CHECK(store_refuses("tls = { verify = false }\n", text));
  // Of a value that is wrong already nothing more is said.
  CHECK(errors_of("[store]\ntls = \"${NOWHERE}\"\n").find(text) == std::string::npos);
  CHECK(store_refuses("url = \"redis://host\"\ntls = { verify = false }\n", text));
  CHECK(store_refuses("url = \"unix:/redis.sock\"\ntls = {}\n", "f.toml:3:1: error: \"tls\""));
  CHECK(errors_of("[store]\nurl = \"rediss://host\"\n").empty());
  CHECK(errors_of("[store]\nurl = \"rediss://host\"\ntls = { verify = false }\n").empty());
}

TEST_CASE("without [store] it has the defaults of the contract, beside the configuration") {
  const store::StoreOptions store = load(with_route("")).config->store;
  store::StoreOptions defaults;
  defaults.path = (std::filesystem::current_path() / "holdfast.db").string();
  CHECK(store == defaults);
  CHECK(store_of(R"(
kind = "local"
path = "holdfast.db"
sync = "normal"
max_bytes = "256MiB"
key_prefix = "holdfast:"
wait_replicas = 0
wait_timeout = "50ms"
allow_eviction = false
timeout = "100ms"
on_error = "closed"
)") == defaults);
}

TEST_CASE("every key of the store reaches its field") {
  const store::StoreOptions store = store_of(R"(
kind = "redis"
path = "/var/lib/holdfast/keys.db"
sync = "full"
max_bytes = "1GiB"
url = "redis://user:password@127.0.0.1:6379/2"
key_prefix = ""
wait_replicas = 2
wait_timeout = "20ms"
allow_eviction = true
timeout = "1s"
on_error = "open"
)");
  CHECK(store.kind == store::StoreKind::redis);
  CHECK(store.path == "/var/lib/holdfast/keys.db");
  CHECK(store.sync == store::Sync::full);
  CHECK(store.max_bytes == 1024ULL * 1024 * 1024);
  CHECK(store.url == "redis://user:password@127.0.0.1:6379/2");
  CHECK(store.key_prefix.empty());
  CHECK(store.wait_replicas == 2);
  CHECK(store.wait_timeout == std::chrono::milliseconds(20));
  CHECK(store.allow_eviction);
  CHECK(store.timeout == std::chrono::seconds(1));
  CHECK(store.on_error == store::OnStoreError::open);
}

TEST_CASE("a relative path starts at the configuration's folder") {
  store::StoreOptions store;
  store.path = "../keys.db";
  resolve_store_path(store, "/etc/holdfast");
  CHECK(store.path == "/etc/keys.db");
  store.path = "/var/keys.db";
  resolve_store_path(store, "/etc/holdfast");
  CHECK(store.path == "/var/keys.db");
  store.path = "keys.db";
  resolve_store_path(store, "conf");
  CHECK(store.path == (std::filesystem::current_path() / "conf/keys.db").string());
}

TEST_CASE("the store is needed only if a route keeps records") {
  CHECK_FALSE(load(with_route("")).config->needs_store());
  CHECK_FALSE(load(with_route("idempotency = { ttl = \"48h\" }\n")).config->needs_store());
  CHECK(load(with_route("idempotency = { enabled = true }\n")).config->needs_store());
  CHECK_FALSE(load("[defaults]\nidempotency = { enabled = true }\n"
                   "[[route]]\nrespond = { status = 200 }\n")
                  .config->needs_store());
}

}  // namespace holdfast::app
