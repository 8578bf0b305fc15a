#include "holdfast/proxy/shared_upstream.h"

#include <doctest/doctest.h>

#include <deque>
#include <thread>

namespace holdfast::proxy {
namespace {

using namespace std::chrono_literals;
using policy::Breaker;
using policy::BreakerState;

UpstreamConfig limits(std::uint64_t connections, std::uint64_t pending) {
  UpstreamConfig config;
  config.name = "api";
  config.pool.max_connections = connections;
  config.pool.max_pending = pending;
  return config;
}

/// A ticket that notes when it was granted.
struct Ticket : ConnectionTicket {
  Ticket() {
    granted = [this] { ++grants; };
  }
  int grants = 0;
};

TEST_CASE("there are so many places, and one given back is one again") {
  SharedUpstream shared(limits(2, 0));
  CHECK(shared.try_open());
  CHECK(shared.try_open());
  CHECK_FALSE(shared.try_open());
  shared.closed();
  CHECK(shared.try_open());
}

TEST_CASE("tickets are granted in order, and nobody overtakes them") {
  SharedUpstream shared(limits(1, 10));
  CHECK(shared.try_open());
  std::deque<Ticket> tickets(3);
  for (Ticket& ticket : tickets) CHECK(shared.enqueue(ticket));
  CHECK(shared.has_waiters());
  for (std::size_t i = 0; i < tickets.size(); ++i) {
    CHECK_FALSE(shared.try_open());
    CHECK(tickets[i].grants == 0);
    shared.closed();
    CHECK(tickets[i].grants == 1);
  }
  CHECK_FALSE(shared.has_waiters());
  CHECK_FALSE(shared.try_open());  // the last one's place is still taken
  shared.closed();
  CHECK(shared.try_open());
}

TEST_CASE("no more than max_pending wait; what cannot wait is told at once") {
  SharedUpstream shared(limits(1, 1));
  CHECK(shared.try_open());
  Ticket first;
  Ticket second;
  CHECK(shared.enqueue(first));
  CHECK_FALSE(shared.enqueue(second));
  CHECK_FALSE(second.queued);
  CHECK(shared.withdraw(first));
  CHECK(shared.enqueue(second));
  CHECK(shared.withdraw(second));
}

TEST_CASE("a connection that nobody needs makes nobody be refused") {
  for (const bool ending : {false, true}) {
    SharedUpstream shared(limits(2, 0));
    int pressed = 0;
    shared.on_pressure(&pressed, [&] { ++pressed; });
    CHECK(shared.try_open());
    CHECK(shared.try_open());
    Ticket first;
    Ticket second;
    CHECK_FALSE(shared.enqueue(first));
    CHECK(pressed == 0);
    (ending ? shared.ending_connections : shared.idle_connections) = 1;
    CHECK(shared.enqueue(first));
    CHECK(pressed == 1);
    CHECK_FALSE(shared.enqueue(second));  // there is one such place, and it is the first's
    shared.closed();
    CHECK(first.grants == 1);
  }
}

TEST_CASE("a bound that is off bounds nothing") {
  UpstreamConfig config = limits(1, 0);
  config.pool.max_pending.reset();
  SharedUpstream shared(config);
  CHECK(shared.try_open());
  std::deque<Ticket> tickets(3);
  for (Ticket& ticket : tickets) CHECK(shared.enqueue(ticket));
  config.pool.max_connections.reset();
  shared.reconfigure(config);
  for (const Ticket& ticket : tickets) CHECK(ticket.grants == 1);
  CHECK(shared.try_open());
}

TEST_CASE("a place that came free meanwhile is granted at once") {
  SharedUpstream shared(limits(1, 0));
  Ticket ticket;
  CHECK(shared.enqueue(ticket));
  CHECK(ticket.grants == 1);
  CHECK_FALSE(ticket.queued);
  CHECK_FALSE(shared.withdraw(ticket));
  CHECK_FALSE(shared.try_open());
}

TEST_CASE("a withdrawn ticket is never granted; a granted one cannot be withdrawn") {
  SharedUpstream shared(limits(1, 10));
  CHECK(shared.try_open());
  Ticket gone;
  Ticket stays;
  CHECK(shared.enqueue(gone));
  CHECK(shared.enqueue(stays));
  CHECK(shared.withdraw(gone));
  CHECK_FALSE(shared.withdraw(gone));
  shared.closed();
  CHECK(gone.grants == 0);
  CHECK(stays.grants == 1);
  CHECK_FALSE(shared.withdraw(stays));
}

TEST_CASE("who waits presses those with idle connections, until they forget it") {
  SharedUpstream shared(limits(1, 10));
  CHECK(shared.try_open());
  int pressed = 0;
  shared.on_pressure(&pressed, [&] { ++pressed; });
  Ticket first;
  CHECK(shared.enqueue(first));
  CHECK(pressed == 1);
  shared.forget_pressure(&pressed);
  Ticket second;
  CHECK(shared.enqueue(second));
  CHECK(pressed == 1);
  CHECK(shared.withdraw(first));
  CHECK(shared.withdraw(second));
}

TEST_CASE(
    "a reload that raises the bound grants; one that lowers it waits for the surplus to end") {
  SharedUpstream shared(limits(1, 10));
  CHECK(shared.try_open());
  std::deque<Ticket> tickets(3);
  for (Ticket& ticket : tickets) CHECK(shared.enqueue(ticket));
  shared.reconfigure(limits(3, 10));
  CHECK(tickets[0].grants == 1);
  CHECK(tickets[1].grants == 1);
  CHECK(tickets[2].grants == 0);
  shared.reconfigure(limits(1, 10));
  shared.closed();
  shared.closed();
  CHECK(tickets[2].grants == 0);
  shared.closed();
  CHECK(tickets[2].grants == 1);
}

TEST_CASE("threads that open, wait, give up and close lose no place and gain none") {
  SharedUpstream shared(limits(3, 100));
  std::atomic<int> open{0};
  std::atomic<bool> too_many{false};
  const auto work = [&] {
    for (int i = 0; i < 2000; ++i) {
      std::atomic<bool> granted{false};
      ConnectionTicket ticket;
      ticket.granted = [&granted] { granted = true; };
      if (!shared.try_open()) {
        if (!shared.enqueue(ticket)) continue;
        for (int spin = 0; spin < i % 50 && !granted; ++spin) std::this_thread::yield();
        if (shared.withdraw(ticket)) continue;  // it was not granted, and never will be
        while (!granted) std::this_thread::yield();
      }
      if (open.fetch_add(1) >= 3) too_many = true;
      open.fetch_sub(1);
      shared.closed();
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();
  CHECK_FALSE(too_many);
  CHECK_FALSE(shared.has_waiters());
  for (int i = 0; i < 3; ++i) CHECK(shared.try_open());
  CHECK_FALSE(shared.try_open());
}

TEST_CASE("threads that ask, tell and reload at once leave the breaker to be asked as before") {
  UpstreamConfig config = limits(100, 100);
  config.breaker.consecutive_failures = 3;
  config.breaker.open_for = 1ms;
  SharedUpstream shared(config);
  const auto work = [&](std::uint64_t seed) {
    Rng rng(seed);
    Transitions transitions;
    for (int i = 0; i < 3000; ++i) {
      const TimePoint now{Duration(i * 100us)};
      transitions.clear();
      const auto permit = shared.acquire(now, transitions);
      if (seed == 1 && i % 100 == 0) shared.reconfigure(config);
      if (!permit) continue;
      const bool fails = rng.below(3) == 0;
      shared.record(*permit, fails ? Breaker::Outcome::failure : Breaker::Outcome::success, 0ms,
                    now, rng, transitions);
    }
  };
  std::vector<std::thread> threads;
  for (std::uint64_t seed = 1; seed <= 4; ++seed) threads.emplace_back(work, seed);
  for (std::thread& thread : threads) thread.join();

  // Three probes of an open breaker, which all succeed, close it, whatever went before.
  Rng rng(5);
  Transitions transitions;
  const TimePoint later{1h};
  for (int i = 0; i < 3; ++i) {
    const auto permit = shared.acquire(later, transitions);
    REQUIRE(permit.has_value());
    shared.record(*permit, Breaker::Outcome::success, 0ms, later, rng, transitions);
  }
  CHECK(shared.breaker_state() == BreakerState::closed);
  CHECK(shared.acquire(later, transitions).has_value());
}

// --------------------------------------------------------------------------------------------
// budgets

TEST_CASE("budgets of several windows share what they count") {
  SharedUpstream shared(limits(1, 1));
  shared.count_window(1s);
  shared.count_window(100s);
  shared.count_window(1s);
  const TimePoint start{1000s};
  for (int i = 0; i < 10; ++i) shared.record_request(start);
  const policy::RetryBudgetOptions narrow{0.2, 0, 1s};
  const policy::RetryBudgetOptions wide{0.3, 0, 100s};
  CHECK(shared.try_retry(narrow, start));
  CHECK(shared.try_retry(narrow, start));
  CHECK_FALSE(shared.try_retry(narrow, start));
  CHECK(shared.try_retry(wide, start));
  CHECK_FALSE(shared.try_retry(wide, start));
  // The short window has forgotten, the long one has not.
  for (int i = 0; i < 5; ++i) shared.record_request(start + 10s);
  CHECK(shared.try_retry(narrow, start + 10s));
  CHECK_FALSE(shared.try_retry(wide, start + 10s));
}

// --------------------------------------------------------------------------------------------
// breaker

TEST_CASE("each transition of the breaker is told once") {
  UpstreamConfig config = limits(1, 1);
  config.breaker.consecutive_failures = 1;
  config.breaker.half_open_requests = 1;
  SharedUpstream shared(config);
  Rng rng(1);
  TimePoint now{1000s};
  Transitions transitions;
  auto permit = shared.acquire(now, transitions);
  REQUIRE(permit);
  CHECK(transitions.empty());
  shared.record(*permit, Breaker::Outcome::failure, 1ms, now, rng, transitions);
  REQUIRE(transitions.size() == 1);
  CHECK(transitions[0].to == BreakerState::open);
  CHECK(shared.breaker_state() == BreakerState::open);
  transitions.clear();
  const auto rejected = shared.acquire(now, transitions);
  REQUIRE_FALSE(rejected);
  CHECK(rejected.error().retry_after > 0s);
  CHECK(transitions.empty());
  now += 10s;
  permit = shared.acquire(now, transitions);
  REQUIRE(permit);
  REQUIRE(transitions.size() == 1);
  CHECK(transitions[0].to == BreakerState::half_open);
  transitions.clear();
  shared.record(*permit, Breaker::Outcome::success, 1ms, now, rng, transitions);
  REQUIRE(transitions.size() == 1);
  CHECK(transitions[0].to == BreakerState::closed);
}

TEST_CASE("a reload that switches the breaker off closes it") {
  UpstreamConfig config = limits(1, 1);
  config.breaker.consecutive_failures = 1;
  SharedUpstream shared(config);
  Rng rng(1);
  Transitions transitions;
  auto permit = shared.acquire(TimePoint{1s}, transitions);
  shared.record(*permit, Breaker::Outcome::failure, 1ms, TimePoint{1s}, rng, transitions);
  CHECK(shared.breaker_state() == BreakerState::open);
  config.breaker.enabled = false;
  shared.reconfigure(config);
  CHECK(shared.breaker_state() == BreakerState::closed);
}

// ---------------------------------------------------------------------------------------- the
// whole set

TEST_CASE("an upstream keeps its state as long as it keeps its name") {
  SharedUpstreams upstreams;
  Config config;
  config.upstreams.emplace("a", limits(1, 1));
  config.upstreams.emplace("b", limits(1, 1));
  upstreams.apply(config);
  const auto a = upstreams.find("a");
  const auto b = upstreams.find("b");
  REQUIRE(a);
  CHECK(upstreams.all().size() == 2);
  config.upstreams.erase("b");
  config.upstreams.emplace("c", limits(1, 1));
  upstreams.apply(config);
  CHECK(upstreams.find("a") == a);
  CHECK(upstreams.find("b") == nullptr);
  CHECK(upstreams.find("c") != nullptr);
  CHECK(b->name() == "api");  // who still uses it keeps it
}

TEST_CASE("destinations are those of their upstream that somebody uses, whatever it is called") {
  SharedUpstreams upstreams;
  const auto destination = [&](const std::string& name, const std::string& authority) {
    UpstreamConfig config = limits(1, 1);
    config.name = name;
    return upstreams.destination(config, authority, {});
  };
  const auto one = destination("a", "x:80");
  auto other = destination("a", "y:80");
  const auto namesake = destination("a b", "x:80");
  CHECK(destination("a", "x:80") == one);
  const auto of = [&](std::string_view name) {
    std::string all;
    for (const auto& found : upstreams.destinations(name)) all += found.authority + ";";
    return all;
  };
  CHECK(of("a") == "x:80;y:80;");
  CHECK(of("a b") == "x:80;");
  CHECK(of("b").empty());
  CHECK(of("").empty());
  other.reset();
  CHECK(of("a") == "x:80;");
}

}  // namespace
}  // namespace holdfast::proxy
