// KeyedFixture: a worker's proxy, as ProxyFixture, with a ScriptedStore behind it and an upstream
// that counts what reaches it. Its destructor checks that nothing is left of any key either:
// nothing in flight, detached or waiting, and no pin on the configuration.
#pragma once

#include <doctest/doctest.h>

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "holdfast/proxy/execution.h"
#include "tests/support/proxy_fixture.h"
#include "tests/support/scripted_store.h"

namespace holdfast::test {

/// one_upstream() whose route keeps idempotency records.
inline proxy::Config keyed_route(const std::vector<std::string>& urls = {"http://10.0.0.1:80"}) {
  proxy::Config config = one_upstream(urls);
  config.routes[0].idempotency.enabled = true;
  config.routes[0].idempotency.name_space = "main";
  return config;
}

inline std::string keyed_post(std::string_view body = "order", std::string_view key = "k-1") {
  std::string fields("Idempotency-Key: ");
  fields.append(key).append("\r\n");
  return post(body, fields);
}

class KeyedFixture : public ProxyFixture {
 public:
  explicit KeyedFixture(proxy::Config config = keyed_route(), std::uint64_t seed = 1)
      : ProxyFixture(std::move(config), seed) {
    services.executions = executions.get();
  }
  ~KeyedFixture() { finish_keys(); }

  /// The record of the last operation that the store was asked for.
  Digest id() const { return store.asked.back().id; }
  std::string state() { return store.asked.empty() ? "absent" : store.state(id()); }

  /// From now on the upstream answers every whole request with `bytes`, `delay` after its last
  /// byte.
  void upstream_always(std::string_view bytes, Duration delay = {}) {
    network.on_accept = [this, bytes = std::string(bytes), delay](Peer& peer) {
      peer.on_change = [this, &peer, bytes, delay] {
        if (!is_whole(peer.received()) || peer.received().size() == answered_[&peer]) return;
        answered_[&peer] = peer.received().size();
        world.schedule(delay, [peer = peer.shared_from_this(), bytes] {
          if (peer->open()) peer->send(bytes);
        });
      };
      peer.on_change();
    };
  }
  /// Requests of which a byte has reached an upstream.
  int starts() const {
    int count = 0;
    for (const auto& peer : network.accepted) count += count_of(peer->received(), " HTTP/1.1\r\n");
    return count;
  }

  /// All that was asked of the store, in words: "claim complete".
  std::string told() const {
    std::string words;
    for (const policy::Operation& each : store.asked) {
      if (!words.empty()) words.append(" ");
      words.append(policy::name(each.command));
    }
    return words;
  }

  /// Ends all and looks for what is left. Called by the destructor.
  void finish_keys() {
    if (!executions) return;
    clients.reset();
    store.comes_up();
    world.settle();
    world.pass(std::chrono::minutes(5));
    CHECK(executions->running() == 0);
    CHECK(seen.keys_inflight == 0);
    CHECK(seen.keys_detached == 0);
    CHECK(seen.key_waiters == 0);
    CHECK(board.detached == 0);
    executions.reset();
    services.executions = nullptr;
    finish();
  }

  ScriptedStore store{world};
  proxy::KeyBoard board;
  std::unique_ptr<proxy::Executions> executions =
      std::make_unique<proxy::Executions>(services, store, board, "here");

 private:
  /// The requests of these tests say their length.
  static bool is_whole(const std::string& request) {
    const std::size_t end = request.find("\r\n\r\n");
    if (end == std::string::npos) return false;
    const std::string length = field_of(request, "Content-Length");
    return length == "-" || request.size() >= end + 4 + std::stoul(length);
  }

  std::map<const Peer*, std::size_t> answered_;
};

}  // namespace holdfast::test
