#include "holdfast/policy/balancer.h"

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

using namespace holdfast;
using namespace holdfast::policy;

namespace {

using Endpoints = std::vector<EndpointLoad>;

constexpr BalanceKind both_kinds[] = {BalanceKind::least_request, BalanceKind::round_robin};

std::vector<int> picks(BalanceKind kind, const Endpoints& endpoints, int count) {
  Balancer balancer(kind);
  Rng rng(11);
  std::vector<int> picked;
  for (int i = 0; i < count; ++i) picked.push_back(balancer.pick(endpoints, rng));
  return picked;
}

double share_of(int endpoint, const std::vector<int>& picked) {
  return static_cast<double>(std::ranges::count(picked, endpoint)) /
         static_cast<double>(picked.size());
}

}  // namespace

TEST_CASE("a key stays with its endpoint, and an endpoint that goes gives away only its own") {
  Endpoints endpoints;
  for (const char* name : {"10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80"}) {
    endpoints.push_back({.hash = stable_hash(name)});
  }
  endpoints[3].weight = 3;
  Balancer balancer(BalanceKind::consistent_hash);
  Rng rng(1);
  std::vector<int> before;
  std::vector<int> without_first;
  constexpr int keys = 6000;
  for (int i = 0; i < keys; ++i) {
    const std::uint64_t key = stable_hash("user-" + std::to_string(i));
    const int home = balancer.pick(endpoints, rng, key);
    before.push_back(home);
    CHECK(balancer.pick(endpoints, rng, key) == home);
    Endpoints fewer = endpoints;
    fewer[0].available = false;
    without_first.push_back(balancer.pick(fewer, rng, key));
    CHECK((home == 0 || without_first.back() == home));
    Endpoints tried = endpoints;
    tried[static_cast<std::size_t>(home)].tried = true;
    CHECK(balancer.pick(tried, rng, key) != home);
    std::ranges::reverse(tried = endpoints);
    CHECK(balancer.pick(tried, rng, key) == 3 - home);
    tried = endpoints;
    tried[static_cast<std::size_t>(home)].share = 10;
    CHECK(balancer.pick(tried, rng, key) == home);
  }
  for (int i = 0; i < 4; ++i) {
    CHECK(share_of(i, before) == doctest::Approx(i == 3 ? 0.5 : 1.0 / 6).epsilon(0.1));
    if (i > 0)
      CHECK(share_of(i, without_first) == doctest::Approx(i == 3 ? 0.6 : 0.2).epsilon(0.1));
  }
}

TEST_CASE("without a key consistent_hash spreads as least_request does") {
  const auto picked = picks(BalanceKind::consistent_hash, {{}, {}, {}}, 3000);
  for (int i = 0; i < 3; ++i) CHECK(share_of(i, picked) == doctest::Approx(1.0 / 3).epsilon(0.1));
}

TEST_CASE("stable_hash is the same for ever: replicas of several versions agree") {
  CHECK(stable_hash("") == 0xf52a15e9a9b5e89bu);
  CHECK(stable_hash("10.0.0.1:80") == 15833689265622162035u);
}

TEST_CASE("a share of the weight is a share of the requests, where little is in flight") {
  for (const BalanceKind kind : both_kinds) {
    const auto picked = picks(kind, {{.weight = 3, .share = 20}, {.weight = 3}}, 6000);
    CHECK(share_of(0, picked) == doctest::Approx(1.0 / 6).epsilon(0.1));
  }
}

TEST_CASE("with nothing available nothing is picked") {
  for (const BalanceKind kind : both_kinds) {
    CHECK(picks(kind, {}, 1) == std::vector{-1});
    CHECK(picks(kind, {{.available = false}, {.available = false, .tried = true}}, 1) ==
          std::vector{-1});
  }
}

TEST_CASE(
    "an endpoint out of service is never picked, one already tried only for want of another") {
  CHECK(rc::check([] {
    Balancer balancer(*rc::gen::element(BalanceKind::least_request, BalanceKind::round_robin));
    Rng rng(*rc::gen::arbitrary<std::uint64_t>());
    // The same balancer sees the endpoints change in state and number.
    for (int round = 0; round < 20; ++round) {
      const auto draws = *rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 1000));
      Endpoints endpoints;
      for (const int draw : draws) {
        endpoints.push_back({.weight = static_cast<std::uint32_t>(1 + draw % 5),
                             .in_flight = static_cast<std::uint32_t>(draw / 10),
                             .available = draw % 3 != 0,
                             .tried = draw % 2 == 0});
      }
      const auto usable = [](const EndpointLoad& e) { return e.available; };
      const auto fresh = [](const EndpointLoad& e) { return e.available && !e.tried; };
      const int picked = balancer.pick(endpoints, rng);
      RC_ASSERT((picked == -1) == std::ranges::none_of(endpoints, usable));
      if (picked == -1) continue;
      const EndpointLoad& chosen = endpoints.at(static_cast<std::size_t>(picked));
      RC_ASSERT(chosen.available);
      if (std::ranges::any_of(endpoints, fresh)) RC_ASSERT(!chosen.tried);
    }
  }));
}

TEST_CASE("round robin spreads weights over the turns") {
  CHECK(picks(BalanceKind::round_robin, {{}, {}, {}}, 6) == std::vector{0, 1, 2, 0, 1, 2});
  CHECK(picks(BalanceKind::round_robin, {{.weight = 5}, {.weight = 1}, {.weight = 1}}, 14) ==
        std::vector{0, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 2, 0, 0});
}

TEST_CASE("round robin forgets its turns when the endpoints change their number") {
  Balancer balancer(BalanceKind::round_robin);
  Rng rng(1);
  const Endpoints three(3);
  const Endpoints two(2);
  CHECK(balancer.pick(three, rng) == 0);
  CHECK(balancer.pick(two, rng) == 0);
  CHECK(balancer.pick(two, rng) == 1);
  CHECK(balancer.pick(three, rng) == 0);
}

TEST_CASE("round robin goes on evenly without one that left, and with it when it is back") {
  Balancer balancer(BalanceKind::round_robin);
  Rng rng(1);
  Endpoints endpoints(3);
  const auto shares_of_next_twelve = [&] {
    std::vector<int> shares(3);
    for (int i = 0; i < 12; ++i) {
      ++shares.at(static_cast<std::size_t>(balancer.pick(endpoints, rng)));
    }
    return shares;
  };
  balancer.pick(endpoints, rng);

  endpoints[1].available = false;
  const std::vector<int> without = shares_of_next_twelve();
  CHECK(without[1] == 0);
  CHECK(std::abs(without[0] - without[2]) <= 2);

  endpoints[1].available = true;
  const auto [least, most] = std::ranges::minmax(shares_of_next_twelve());
  CHECK(most - least <= 2);
}

TEST_CASE("idle endpoints share by weight") {
  const auto even = picks(BalanceKind::least_request, Endpoints(4), 20000);
  for (int i = 0; i < 4; ++i) CHECK(share_of(i, even) == doctest::Approx(0.25).epsilon(0.05));

  const auto weighted = picks(BalanceKind::least_request, {{.weight = 3}, {.weight = 1}}, 20000);
  CHECK(share_of(0, weighted) == doctest::Approx(0.75).epsilon(0.05));
}

TEST_CASE("of two, the one with fewer requests for its weight wins") {
  struct Row {
    EndpointLoad first, second;
    int picked;
  };
  for (const Row& row : {
           Row{{.in_flight = 1}, {.in_flight = 0}, 1},
           Row{{.in_flight = 3}, {.in_flight = 4}, 0},
           Row{{.weight = 4, .in_flight = 3}, {.weight = 1, .in_flight = 1}, 0},
           Row{{.weight = 2, .in_flight = 5}, {.weight = 1, .in_flight = 2}, 1},
           Row{{.weight = 4000000000, .in_flight = 4000000000},
               {.weight = 1, .in_flight = 4000000000},
               0},
       }) {
    const auto picked = picks(BalanceKind::least_request, {row.first, row.second}, 50);
    CHECK(share_of(row.picked, picked) == 1.0);
  }
}

TEST_CASE(
    "of many, the most loaded is never picked and the choice is not always the least loaded") {
  const Endpoints endpoints = {
      {.in_flight = 0}, {.in_flight = 1}, {.in_flight = 2}, {.in_flight = 9}};
  const auto picked = picks(BalanceKind::least_request, endpoints, 20000);
  // Pairs without repetition: of six, three hold the least loaded, two more the second.
  CHECK(share_of(0, picked) == doctest::Approx(3 / 6.0).epsilon(0.05));
  CHECK(share_of(1, picked) == doctest::Approx(2 / 6.0).epsilon(0.05));
  CHECK(share_of(2, picked) == doctest::Approx(1 / 6.0).epsilon(0.05));
  CHECK(share_of(3, picked) == 0.0);
}
