// KeyedSetup: a configuration whose one route keeps idempotency records, for each kind of store.
#pragma once

#include <optional>
#include <string>

#include "tests/support/holdfast_process.h"
#include "tests/support/redis_server.h"
#include "tests/support/suite.h"

namespace holdfast::testing {

/// The store of a test: memory, a file, or a Redis of its own.
class KeyedSetup {
 public:
  explicit KeyedSetup(std::string kind) : kind_(std::move(kind)) {
    if (kind_ == "redis") redis_.emplace();
  }

  /// One route to `app` with these keys of [route.idempotency]; `retry` are keys of [route.retry].
  Setup to(const ScriptedUpstream& app, const std::string& keys = "",
           const std::string& route = "") const {
    Setup setup{.endpoints = {app.url()}};
    setup.route = route + "\n[route.idempotency]\nenabled = true\n" + keys + "\n";
    setup.more = "[store]\nkind = \"" + kind_ + "\"\ntimeout = \"2s\"\n";
    if (redis_) setup.more += "url = \"" + redis_->url() + "\"\n";
    return setup;
  }
  const std::string& kind() const { return kind_; }
  RedisServer& redis() { return *redis_; }

 private:
  std::string kind_;
  std::optional<RedisServer> redis_;
};

inline Headers with_key(const std::string& key, const std::string& who = "alice") {
  return {{"Idempotency-Key", key}, {"Authorization", who}};
}

inline std::string code_of(const Response& response) {
  const auto body = nlohmann::json::parse(response.body, nullptr, false);
  return body.is_object() && body.contains("code") ? body["code"].get<std::string>() : "";
}

}  // namespace holdfast::testing
