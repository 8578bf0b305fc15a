#include "holdfast/proxy/shared_endpoints.h"

#include <doctest/doctest.h>

#include <atomic>
#include <thread>

#include "tests/support/proxy_fixture.h"

namespace holdfast::test {
namespace {

using namespace std::chrono_literals;
using proxy::EndpointState;
using proxy::SharedEndpoints;

constexpr TimePoint start = TimePoint(1000s);

std::string told(SharedEndpoints& endpoints) {
  std::string text;
  for (const proxy::EndpointReport& report : endpoints.report(start)) {
    text += (text.empty() ? "" : ", ") + report.key + " " + std::string(name(report.state));
  }
  return text;
}

TEST_CASE("an endpoint that is written twice is one, with the sum of the weights") {
  proxy::UpstreamConfig config =
      upstream_of("api", {"http://10.0.0.1:80", "http://10.0.0.2:80", "http://10.0.0.1"});
  config.endpoints[2].weight = 4;
  SharedEndpoints endpoints(config, start);
  const auto reports = endpoints.report(start);
  REQUIRE(reports.size() == 2);
  CHECK(reports[0].weight == 5);
  CHECK(reports[1].weight == 1);
}

TEST_CASE("a state survives a reload as long as its endpoint stays") {
  SharedEndpoints endpoints(upstream_of("api", {"http://10.0.0.1:80", "http://10.0.0.2:80"}),
                            start);
  CHECK(endpoints.calm());
  CHECK_FALSE(endpoints.drain("10.0.0.9:80", true, start));
  CHECK(endpoints.drain("10.0.0.2:80", true, start + 5s));
  CHECK_FALSE(endpoints.calm());
  const std::uint64_t version = endpoints.version();
  endpoints.configure(upstream_of("api", {"http://10.0.0.2:80", "http://10.0.0.3:80"}),
                      start + 10s);
  CHECK(endpoints.version() > version);
  CHECK(told(endpoints) == "10.0.0.2:80 draining, 10.0.0.3:80 healthy");
  CHECK(endpoints.report(start)[0].since == start + 5s);
  CHECK(endpoints.report(start)[1].since == start + 10s);
  endpoints.configure(upstream_of("api", {"http://10.0.0.1:80"}), start + 20s);
  endpoints.configure(upstream_of("api", {"http://10.0.0.2:80"}), start + 30s);
  CHECK(told(endpoints) == "10.0.0.2:80 healthy");
  CHECK(endpoints.calm());
}

TEST_CASE("a name that is not found keeps its addresses, and that is told once, as its return is") {
  const net::Address one = *net::Address::from_ip("10.0.0.1", 80);
  std::vector<std::string> told_of;
  proxy::EndpointListener listener;
  listener.name_changed = [&](std::string_view upstream, const proxy::NameChange& change) {
    told_of.push_back(std::string(upstream) + " " + change.name + " " +
                      (change.found ? "found" : change.why) + " " +
                      std::to_string(change.addresses));
  };
  SharedEndpoints endpoints(upstream_of("api", {"http://app.local:80", "http://10.0.0.9:80"}),
                            start, listener);
  REQUIRE(endpoints.names().size() == 1);
  CHECK_FALSE(endpoints.names()[0].answered);
  endpoints.not_found("app.local:80", "unknown", start + 1s);
  endpoints.not_found("app.local:80", "silence", start + 2s);
  endpoints.not_found("other.local:80", "unknown", start + 2s);  // nobody's
  CHECK(endpoints.names()[0].failing_since == start + 1s);
  CHECK(endpoints.names()[0].why == "silence");
  endpoints.resolved("app.local:80", {one}, start + 3s);
  endpoints.resolved("app.local:80", {one}, start + 4s);
  CHECK_FALSE(endpoints.names()[0].failing_since);
  CHECK(endpoints.names()[0].answered == start + 4s);
  endpoints.not_found("app.local:80", "unknown", start + 5s);
  CHECK(endpoints.names()[0].addresses == 1);
  CHECK(endpoints.report(start + 5s)[0].key == "app.local:80 10.0.0.1:80");
  CHECK(told_of == std::vector<std::string>{"api app.local:80 unknown 0",
                                            "api app.local:80 found 1",
                                            "api app.local:80 unknown 1"});
  endpoints.configure(upstream_of("api", {"http://10.0.0.9:80"}), start + 6s);
  CHECK(endpoints.names().empty());
}

TEST_CASE("what was taken out by hand stays out, though its name forgets it for a while") {
  const net::Address one = *net::Address::from_ip("10.0.0.1", 80);
  const net::Address two = *net::Address::from_ip("10.0.0.2", 80);
  SharedEndpoints endpoints(upstream_of("api", {"http://app.local:80"}), start);
  endpoints.resolved("app.local:80", {one, two}, start);
  CHECK(endpoints.drain("app.local:80 10.0.0.1:80", true, start));
  endpoints.resolved("app.local:80", {two}, start);
  CHECK(told(endpoints) == "app.local:80 10.0.0.2:80 healthy");
  endpoints.resolved("app.local:80", {one, two}, start);
  CHECK(told(endpoints) == "app.local:80 10.0.0.1:80 draining, app.local:80 10.0.0.2:80 healthy");
  CHECK(endpoints.drain("app.local:80 10.0.0.1:80", false, start));
  CHECK(told(endpoints) == "app.local:80 10.0.0.1:80 healthy, app.local:80 10.0.0.2:80 healthy");
}

TEST_CASE("what was taken out is put back though its name does not give it at the moment") {
  const net::Address one = *net::Address::from_ip("10.0.0.1", 80);
  const net::Address two = *net::Address::from_ip("10.0.0.2", 80);
  const std::string first = "app.local:80 10.0.0.1:80";
  SharedEndpoints endpoints(upstream_of("api", {"http://app.local:80"}), start);
  endpoints.resolved("app.local:80", {one, two}, start);
  CHECK(endpoints.drain(first, true, start));
  endpoints.resolved("app.local:80", {two}, start);
  CHECK_FALSE(endpoints.drain(first, true, start));
  CHECK(endpoints.drain(first, false, start));
  CHECK_FALSE(endpoints.drain(first, false, start));
  endpoints.resolved("app.local:80", {one, two}, start);
  CHECK(told(endpoints) == "app.local:80 10.0.0.1:80 healthy, app.local:80 10.0.0.2:80 healthy");
}

TEST_CASE("addresses are kept over a reload while their name stays, and then forgotten") {
  const std::vector<net::Address> addresses = {*net::Address::from_ip("10.0.0.1", 80),
                                               *net::Address::from_ip("10.0.0.2", 80)};
  SharedEndpoints endpoints(upstream_of("api", {"http://app.local:80"}), start);
  endpoints.resolved("other.local:80", addresses, start);
  CHECK(told(endpoints) == "app.local:80 healthy");
  endpoints.resolved("app.local:80", addresses, start);
  CHECK(told(endpoints) == "app.local:80 10.0.0.1:80 healthy, app.local:80 10.0.0.2:80 healthy");
  endpoints.configure(upstream_of("api", {"http://app.local:80", "http://10.0.0.3:80"}), start);
  CHECK(endpoints.report(start).size() == 3);
  endpoints.configure(upstream_of("api", {"http://10.0.0.3:80"}), start);
  endpoints.configure(upstream_of("api", {"http://app.local:80"}), start);
  CHECK(told(endpoints) == "app.local:80 healthy");
}

using Outcome = policy::Outlier::Outcome;

/// Three endpoints that are ejected by their second failure for 30 s, and what was told of them.
struct Three {
  explicit Three(std::optional<Duration> slow_start = std::nullopt, double panic_below = 0.5) {
    config.outlier.consecutive_failures = 2;
    config.outlier.slow_start = slow_start;
    config.outlier.panic_below = panic_below;
    endpoints = std::make_unique<SharedEndpoints>(
        config, start,
        proxy::EndpointListener{
            [this](std::string_view upstream, const proxy::EndpointChange& change) {
              CHECK(upstream == "api");
              changes.push_back(change.key.substr(7, 1) + " " + std::string(name(change.from)) +
                                ">" + std::string(name(change.to)));
            },
            [this] { ++lists; }});
  }
  void check(std::size_t i, bool passed, TimePoint now) {
    endpoints->checked(at(i), passed, passed ? "200" : "503", now);
  }
  proxy::SharedEndpoint& at(std::size_t i) { return *endpoints->members()->list[i].shared; }
  void fail(std::size_t i, TimePoint now, int times = 2) {
    for (int n = 0; n < times; ++n) endpoints->record(at(i), Outcome::failure, now, now, "503");
  }
  std::string states(TimePoint now) {
    std::string letters;
    for (const auto& report : endpoints->report(now)) letters += name(report.state)[0];
    return letters;
  }

  proxy::UpstreamConfig config =
      upstream_of("api", {"http://10.0.0.1:80", "http://10.0.0.2:80", "http://10.0.0.3:80"});
  std::vector<std::string> changes;
  int lists = 0;
  std::unique_ptr<SharedEndpoints> endpoints;
};

TEST_CASE("failures in a row eject, the time brings back, and both are told") {
  Three three;
  three.fail(0, start, 1);
  CHECK(three.at(0).failing());
  three.endpoints->record(three.at(0), Outcome::success, start, start, "");
  CHECK_FALSE(three.at(0).failing());
  CHECK(three.endpoints->calm());
  three.fail(0, start + 1s);
  CHECK(three.states(start + 2s) == "ehh");
  CHECK_FALSE(three.endpoints->calm());
  CHECK_FALSE(three.endpoints->available(three.at(0)));
  CHECK(three.endpoints->available(three.at(1)));
  const auto report = three.endpoints->report(start + 2s).front();
  CHECK(report.why == "2 failures in a row, the last: 503");
  CHECK(report.since == start + 1s);
  CHECK(report.until == start + 31s);
  three.endpoints->tick(start + 31s - 1ns);
  CHECK_FALSE(three.endpoints->calm());
  three.endpoints->tick(start + 31s);
  CHECK(three.endpoints->calm());
  CHECK(three.endpoints->ejections() == 1);
  CHECK(three.changes == std::vector<std::string>{"1 healthy>ejected", "1 ejected>healthy"});
}

TEST_CASE("no more than max_ejected, and what a shorter list makes too many comes back at once") {
  Three three;
  three.fail(0, start);
  three.fail(1, start + 1s);  // two of three are more than a half
  CHECK(three.states(start + 1s) == "ehh");
  three.config.endpoints.pop_back();
  three.endpoints->configure(three.config, start + 2s);
  CHECK(three.states(start + 2s) == "eh");
  three.config.endpoints.pop_back();
  three.endpoints->configure(three.config, start + 3s);
  CHECK(three.states(start + 3s) == "h");
  CHECK(three.endpoints->calm());
  three.fail(0, start + 4s, 100);  // alone it is not even counted
  CHECK_FALSE(three.at(0).failing());
}

TEST_CASE("an ejected endpoint comes back where another reason takes out the last one") {
  Three three;
  three.fail(0, start);
  CHECK(three.endpoints->drain("10.0.0.2:80", true, start + 1s));
  CHECK(three.states(start + 1s) == "edh");
  CHECK(three.endpoints->drain("10.0.0.3:80", true, start + 2s));
  CHECK(three.states(start + 2s) == "hdd");
  CHECK_FALSE(three.endpoints->panic());
}

TEST_CASE("to drain an ejected endpoint and to put it back ends its ejection") {
  Three three;
  three.fail(0, start);
  CHECK(three.endpoints->drain("10.0.0.1:80", true, start + 1s));
  CHECK(three.states(start + 1s) == "dhh");
  CHECK(three.endpoints->report(start + 1s)[0].why == "taken out by hand");
  CHECK(three.endpoints->drain("10.0.0.1:80", false, start + 2s));
  CHECK(three.states(start + 2s) == "hhh");
  CHECK(three.changes ==
        std::vector<std::string>{"1 healthy>ejected", "1 ejected>draining", "1 draining>healthy"});
}

TEST_CASE("checks take out and bring back; ejections and drains go on beside them") {
  Three three;
  three.config.health.path = "/up";
  three.endpoints->configure(three.config, start);
  CHECK(three.lists == 2);
  three.check(0, true, start);
  for (int i = 0; i < 2; ++i) three.check(0, false, start);
  CHECK(three.states(start) == "hhh");
  three.fail(0, start);
  CHECK(three.states(start) == "ehh");
  three.check(0, false, start + 1s);
  CHECK(three.states(start + 1s) == "uhh");
  CHECK(three.endpoints->report(start + 1s)[0].why == "checks fail, the last: 503");
  CHECK(three.endpoints->drain("10.0.0.1:80", true, start + 2s));
  three.check(0, true, start + 3s);
  three.check(0, true, start + 4s);
  CHECK(three.states(start + 4s) == "dhh");
  CHECK(three.endpoints->drain("10.0.0.1:80", false, start + 5s));
  CHECK(three.states(start + 5s) == "hhh");
  three.check(1, false, start + 6s);  // its first
  CHECK(three.states(start + 6s) == "huh");
  three.config.endpoints.erase(three.config.endpoints.begin());
  three.endpoints->configure(three.config, start + 7s);
  CHECK(three.states(start + 7s) == "uh");
  three.config.health.path = "";
  three.endpoints->configure(three.config, start + 8s);
  CHECK(three.states(start + 8s) == "hh");
  three.check(0, false, start + 9s);  // one that was under way
  CHECK(three.endpoints->calm());
  CHECK(three.endpoints->checks_passed() == 3);
  CHECK(three.endpoints->checks_failed() == 5);
}

TEST_CASE("without panic nobody is asked that is unhealthy, with it everybody is") {
  for (const double panic_below : {0.0, 0.5}) {
    Three three(std::nullopt, panic_below);
    three.config.health.path = "/up";
    three.endpoints->configure(three.config, start);
    three.fail(0, start);
    for (const std::size_t i : {1, 2}) three.check(i, false, start);
    CHECK(three.states(start) == "huu");  // the ejected one came back
    three.check(0, false, start);
    CHECK(three.states(start) == "uuu");
    CHECK(three.endpoints->available(three.at(0)) == (panic_below > 0));
  }
}

TEST_CASE("in panic all are used but those that drain") {
  Three three(std::nullopt, 0.9);
  three.fail(0, start);
  CHECK(three.endpoints->panic());
  CHECK(three.endpoints->available(three.at(0)));
  CHECK(three.endpoints->drain("10.0.0.2:80", true, start));
  CHECK_FALSE(three.endpoints->available(three.at(1)));
  CHECK(three.endpoints->panic());
  three.endpoints->tick(start + 1min);
  CHECK_FALSE(three.endpoints->panic());
}

TEST_CASE("who comes back, or comes later than the first, has a share that grows") {
  Three three(10s);
  CHECK(three.endpoints->calm());  // at the start nobody is late
  CHECK(three.endpoints->share(three.at(0), start) == 100);
  three.fail(0, start);
  three.endpoints->tick(start + 30s);
  CHECK(three.states(start + 30s) == "hhh");
  CHECK_FALSE(three.endpoints->calm());
  CHECK(three.endpoints->share(three.at(0), start + 30s) == 10);
  CHECK(three.endpoints->share(three.at(0), start + 35s) == 50);
  CHECK(three.endpoints->share(three.at(1), start + 35s) == 100);
  three.config.endpoints.push_back(upstream_of("api", {"http://10.0.0.4:80"}).endpoints[0]);
  three.endpoints->configure(three.config, start + 36s);
  CHECK(three.endpoints->share(three.at(3), start + 41s) == 50);
  three.endpoints->tick(start + 46s);
  CHECK(three.endpoints->calm());
  three.fail(0, start + 50s);
  three.config.outlier.slow_start = std::nullopt;
  three.endpoints->configure(three.config, start + 51s);
  three.endpoints->tick(start + 2min);
  CHECK(three.endpoints->calm());
}

/// One list that everybody uses at once, with endpoints that the slightest failure takes out.
struct Crowd {
  Crowd() {
    config.outlier.consecutive_failures = 1;
    config.outlier.eject_for = 3ms;
    config.outlier.panic_below = 0;
    config.outlier.slow_start = 1ms;
    config.health.path = "/well";
    endpoints = std::make_unique<SharedEndpoints>(
        config, start,
        proxy::EndpointListener{[this](std::string_view, const proxy::EndpointChange& change) {
                                  if (change.to == EndpointState::ejected) ++ejections;
                                },
                                [this] { ++lists; }});
    endpoints->resolved("app.local:80", addresses, start);
  }
  static TimePoint at(int turn) { return start + turn * 100us; }

  void work(std::uint64_t seed) {
    Rng rng(seed);
    std::uint64_t version = 0;
    for (int turn = 0; turn < turns; ++turn) {
      const TimePoint now = at(turn);
      const auto members = endpoints->members();
      if (members->version < std::exchange(version, members->version)) ++wrong;
      proxy::SharedEndpoint& one = *members->list[rng.below(members->list.size())].shared;
      endpoints->tick(now);
      const std::uint32_t share = endpoints->share(one, now);
      if (share < 10 || share > 100) ++wrong;
      const bool fails = endpoints->available(one) && rng.below(3) == 0;
      endpoints->record(one, fails ? Outcome::failure : Outcome::success, now, now, "503");
    }
  }
  void change_lists() {
    const std::vector<net::Address> one(addresses.begin(), addresses.begin() + 1);
    proxy::UpstreamConfig less = config;
    less.endpoints.erase(less.endpoints.begin());
    for (int turn = 0; turn < turns; turn += 4) {
      endpoints->resolved("app.local:80", turn % 8 == 0 ? one : addresses, at(turn));
      if (turn % 32 == 0) endpoints->configure(turn % 64 == 0 ? less : config, at(turn));
    }
  }
  void check_and_drain() {
    const std::string first = "10.0.0.1:80";
    for (int turn = 0; turn < turns; ++turn) {
      endpoints->drain(first, turn % 10 < 3, at(turn));
      const auto members = endpoints->members();
      endpoints->checked(*members->list.back().shared, turn % 12 < 6, "503", at(turn));
    }
  }
  void look_on() {
    for (int turn = 0; turn < turns; ++turn) {
      int ejected = 0;
      int in_service = 0;
      for (const auto& report : endpoints->report(at(turn))) {
        if (report.state == EndpointState::ejected) ++ejected;
        if (report.state == EndpointState::healthy) ++in_service;
      }
      if (ejected > 0 && in_service == 0) ++wrong;
    }
  }

  static constexpr int turns = 2000;
  const std::vector<net::Address> addresses = {*net::Address::from_ip("10.0.1.1", 80),
                                               *net::Address::from_ip("10.0.1.2", 80)};
  proxy::UpstreamConfig config =
      upstream_of("api", {"http://10.0.0.1:80", "http://10.0.0.2:80", "http://app.local:80"});
  std::atomic<std::uint64_t> ejections = 0;
  std::atomic<int> lists = 0;
  std::atomic<int> wrong = 0;
  std::unique_ptr<SharedEndpoints> endpoints;
};

TEST_CASE("everybody at once uses one list and finds it in order") {
  Crowd crowd;
  std::vector<std::thread> threads;
  for (std::uint64_t seed = 1; seed <= 2; ++seed)
    threads.emplace_back([&, seed] { crowd.work(seed); });
  threads.emplace_back([&] { crowd.change_lists(); });
  threads.emplace_back([&] { crowd.check_and_drain(); });
  threads.emplace_back([&] { crowd.look_on(); });
  for (std::thread& thread : threads) thread.join();
  CHECK(crowd.wrong == 0);
  CHECK(crowd.lists > 0);
  CHECK(crowd.ejections > 0);
  CHECK(crowd.endpoints->ejections() == crowd.ejections);

  // What they leave behind goes by itself, and with what they would have done next.
  crowd.endpoints->configure(crowd.config, start + 1h);
  crowd.endpoints->drain("10.0.0.1:80", false, start + 1h);
  for (const proxy::EndpointMember& member : crowd.endpoints->members()->list) {
    for (int i = 0; i < crowd.config.health.healthy_after; ++i) {
      crowd.endpoints->checked(*member.shared, true, "200", start + 1h);
    }
  }
  crowd.endpoints->tick(start + 2h);  // who comes back now starts slowly
  for (const auto& report : crowd.endpoints->report(start + 3h)) {
    CHECK(report.state == EndpointState::healthy);
  }
  CHECK(crowd.endpoints->calm());
  CHECK_FALSE(crowd.endpoints->panic());
}

}  // namespace
}  // namespace holdfast::test
