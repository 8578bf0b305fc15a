#include "tests/support/proxy_fixture.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <charconv>

namespace holdfast::test {

// -------------------------------------------------------------------------------------------
// Recorder

void Recorder::attempt_finished(const proxy::AttemptRecord& record) {
  if (record.error) {
    attempts.emplace_back(name(*record.error));
  } else {
    attempts.push_back(record.status == 0 ? "cancelled" : std::to_string(record.status));
  }
}

void Recorder::exchange_finished(const proxy::ExchangeRecord& record) {
  Exchange kept;
  kept.route = record.route_name;
  kept.method = record.method_text;
  kept.path = record.path;
  kept.upstream = record.upstream;
  kept.endpoint = record.endpoint;
  kept.error = record.error;
  kept.breaker = record.breaker;
  kept.idempotency = record.idempotency;
  kept.idempotency_id = record.idempotency_id;
  kept.request_id = record.request_id;
  kept.trace_id = record.trace_id;
  kept.client = record.client;
  kept.status = record.status;
  kept.attempts = record.attempts;
  kept.fallback = record.fallback;
  kept.bytes_in = record.bytes_in;
  kept.bytes_out = record.bytes_out;
  kept.duration = record.duration;
  exchanges.push_back(std::move(kept));
}

void Recorder::breaker_moved(proxy::Slot, std::string_view, policy::Breaker::Transition moved,
                             std::string_view) {
  transitions.push_back(std::string(name(moved.from)) + ">" + std::string(name(moved.to)));
}

void Recorder::key_event(const proxy::KeyEvent& event) {
  constexpr std::string_view kinds[] = {"released",     "unknown",      "tombstone",
                                        "fenced",       "bypassed",     "unrecorded",
                                        "commit_retry", "renew_failed", "jwt_scope"};
  std::string text(kinds[static_cast<std::size_t>(event.kind)]);
  if (!event.reason.empty()) text.append(" ").append(event.reason);
  key_events.push_back(std::move(text));
}

void Recorder::key_gauge(proxy::KeyGauge gauge, int change) {
  switch (gauge) {
    case proxy::KeyGauge::inflight:
      keys_inflight += change;
      break;
    case proxy::KeyGauge::detached:
      keys_detached += change;
      break;
    case proxy::KeyGauge::waiters:
      key_waiters += change;
      break;
  }
}

void Recorder::store_operation(policy::Command command, Duration,
                               std::optional<store::StoreError::Kind> error) {
  std::string text(name(command));
  if (error) text.append(" ").append(name(*error));
  store_operations.push_back(std::move(text));
}

proxy::Slot Recorder::slot(std::string_view name) {
  const auto found = std::ranges::find(names_, name);
  const auto index = static_cast<proxy::Slot>(found - names_.begin());
  if (found == names_.end()) names_.emplace_back(name);
  return index;
}

// -------------------------------------------------------------------------------------
// configurations

policy::ConditionSet conditions(std::initializer_list<std::string_view> names) {
  policy::ConditionSet set;
  for (const std::string_view name : names) REQUIRE(set.add(name));
  return set;
}

proxy::UpstreamConfig upstream_of(const std::string& name, const std::vector<std::string>& urls) {
  proxy::UpstreamConfig upstream;
  upstream.name = name;
  upstream.balance = policy::BalanceKind::round_robin;
  for (const std::string& url : urls) {
    const auto endpoint = net::Endpoint::parse(url);
    REQUIRE(endpoint);
    upstream.endpoints.push_back({*endpoint, url, 1});
  }
  return upstream;
}

proxy::Config one_upstream(const std::vector<std::string>& urls) {
  proxy::Config config;
  config.upstreams.emplace("api", upstream_of("api", urls));
  proxy::RouteConfig route;
  route.name = "main";
  route.upstream = "api";
  for (const http::Method method : {http::Method::get, http::Method::head, http::Method::options,
                                    http::Method::put, http::Method::delete_}) {
    route.retry.methods |= http::bit(method);
  }
  route.retry.backoff.jitter = policy::JitterKind::none;
  config.routes.push_back(std::move(route));
  return config;
}

// ---------------------------------------------------------------------------------------
// ProxyFixture

ProxyFixture::ProxyFixture(proxy::Config config, std::uint64_t seed)
    : world(seed),
      services{world.context(), network, network, seen, upstreams, {}},
      proxy(std::make_unique<proxy::Proxy>(services)),
      frames_before_(runtime::live_frames()) {
  load(std::move(config));
  clients = std::make_unique<proxy::ConnectionSet>(*proxy, world.context(), [] {});
}

ProxyFixture::~ProxyFixture() {
  finish();
}

void ProxyFixture::load(proxy::Config config) {
  auto loaded = std::make_shared<const proxy::Config>(std::move(config));
  upstreams.apply(*loaded, world.now());
  proxy->adopt(std::make_shared<const proxy::PublishedConfig>(std::move(loaded)));
}

std::shared_ptr<Peer> ProxyFixture::client(std::string_view address) {
  FakePair pair = make_pair(world, address);
  clients->serve(std::move(pair.stream), listener);
  return pair.peer;
}

std::shared_ptr<Peer> ProxyFixture::client_sends(std::string_view bytes) {
  std::shared_ptr<Peer> peer = client();
  peer->send(bytes);
  world.settle();
  return peer;
}

void ProxyFixture::upstream_answers(std::string_view bytes) {
  upstream().send(bytes);
  world.settle();
}

void ProxyFixture::finish() {
  if (!proxy) return;
  clients.reset();
  world.settle();
  const auto all = upstreams.all();
  for (const auto& upstream : all) CHECK(upstream->active_connections == 0);
  proxy.reset();
  world.settle();
  for (const auto& upstream : all) {
    CHECK(upstream->idle_connections == 0);
    CHECK_FALSE(upstream->has_waiters());
  }
  CHECK(runtime::live_frames() == frames_before_);
  const bool all_closed =
      std::ranges::none_of(network.accepted, [](const auto& peer) { return peer->open(); });
  CHECK(all_closed);
}

// -------------------------------------------------------------------------------------------
// messages

std::string get(std::string_view path, std::string_view fields) {
  std::string text("GET ");
  text.append(path).append(" HTTP/1.1\r\nHost: a.test\r\n").append(fields).append("\r\n");
  return text;
}

std::string request(std::string_view method, std::string_view body, std::string_view fields) {
  std::string text(method);
  text.append(" / HTTP/1.1\r\nHost: a.test\r\nContent-Length: ");
  text.append(std::to_string(body.size())).append("\r\n").append(fields).append("\r\n");
  return text.append(body);
}

std::string post(std::string_view body, std::string_view fields) {
  return request("POST", body, fields);
}

std::string answer(int status, std::string_view body, std::string_view fields) {
  std::string text("HTTP/1.1 ");
  text.append(std::to_string(status)).append(" Text\r\nContent-Length: ");
  text.append(std::to_string(body.size())).append("\r\n").append(fields).append("\r\n");
  return text.append(body);
}

int status_of(std::string_view bytes) {
  int status = 0;
  if (bytes.starts_with("HTTP/1.1 ")) std::from_chars(bytes.data() + 9, bytes.data() + 12, status);
  return status;
}

std::string body_of(std::string_view bytes) {
  const std::size_t end = bytes.find("\r\n\r\n");
  return end == std::string_view::npos ? "" : std::string(bytes.substr(end + 4));
}

std::string field_of(std::string_view bytes, std::string_view name) {
  const std::string start = "\r\n" + std::string(name) + ": ";
  const std::size_t at = bytes.find(start);
  if (at == std::string_view::npos || at > bytes.find("\r\n\r\n")) return "-";
  const std::string_view rest = bytes.substr(at + start.size());
  return std::string(rest.substr(0, rest.find("\r\n")));
}

int count_of(std::string_view text, std::string_view part) {
  int count = 0;
  for (std::size_t at = text.find(part); at != std::string_view::npos;
       at = text.find(part, at + 1)) {
    ++count;
  }
  return count;
}

}  // namespace holdfast::test
