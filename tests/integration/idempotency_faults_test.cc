// Idempotency under faults: replicas of the real binary are killed, stopped and reloaded, their
// store and their upstream fail in every way a network can, and what clients and the upstream saw
// of it is held against the invariants of the specification. HOLDFAST_SEED repeats a run;
// HOLDFAST_FAULT_ROUNDS multiplies the rounds.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <random>
#include <ranges>

#include "tests/support/keyed_chaos.h"

using namespace holdfast::testing;

namespace {

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

std::uint64_t seed_of_this_run() {
  static const std::uint64_t seed = number_from("HOLDFAST_SEED", std::random_device()());
  return seed;
}

int rounds(int usual) {
  return usual * static_cast<int>(number_from("HOLDFAST_FAULT_ROUNDS", 1));
}

const std::vector<std::string> every_behaviour = {
    behaviour::ok,         behaviour::ok,         behaviour::ok,       behaviour::slow,
    behaviour::slow,       behaviour::slow,       behaviour::stuck,    behaviour::read_close,
    behaviour::half_body,  behaviour::garbage,    behaviour::fail_500, behaviour::fail_503,
    behaviour::refuse_429, behaviour::refuse_503, behaviour::oversize};

/// A client's pause, an exchange, its lease; and a machine with other things to do.
constexpr Milliseconds calm_within{6000};
/// The longest pause between two tries to commit or to revoke, twice, and the store's own.
constexpr Milliseconds healed_within{12000};

Promises promises(const ChaosPlan& plan) {
  Promises result;
  result.store_may_fail = plan.store == "redis";
  result.reexecutes = plan.idempotency.find("reexecute") != plan.idempotency.npos;
  result.nothing_stays_unknown = plan.heals;
  result.largest_kept = KeyedChaos::largest_kept;
  result.calm_within = plan.heals ? healed_within : calm_within;
  return result;
}

std::size_t count(const std::vector<Event>& events, Event::Kind kind) {
  return static_cast<std::size_t>(std::ranges::count(events, kind, &Event::kind));
}

/// How often clients were told what: "replayed 812, in-progress 97, ...".
std::string answers(const std::vector<Event>& events) {
  std::map<std::string, int> counts;
  for (const Event& event : events) {
    if (event.kind == Event::Kind::receive) ++counts[event.state.empty() ? "run" : event.state];
    if (event.kind == Event::Kind::lost) ++counts["no answer"];
  }
  std::string text;
  for (const auto& [state, count] : counts) {
    text += (text.empty() ? "" : ", ") + state + " " + std::to_string(count);
  }
  return text;
}

/// Runs the plan and holds its history against the promises.
void expect_no_violation(const ChaosPlan& plan, std::uint64_t seed) {
  CAPTURE(seed);
  KeyedChaos chaos(plan, seed);
  chaos.run();
  const std::vector<Event> events = chaos.events();
  const std::vector<Violation> violations = check(events, promises(plan));
  MESSAGE(plan.store << ", seed " << seed << ": " << count(events, Event::Kind::send)
                     << " requests, " << count(events, Event::Kind::start) << " runs, "
                     << chaos.kills() << " kills; " << answers(events));
  CHECK(count(events, Event::Kind::start) > 0);
  constexpr std::size_t told = 5;  // one fault may show in thousands of answers
  CHECK_MESSAGE(violations.empty(), violations.size() << " violations");
  for (const Violation& violation : violations | std::views::take(told)) {
    MESSAGE(violation.key << ", " << violation.invariant << ": " << violation.what);
  }
  if (!violations.empty()) MESSAGE(story(events, violations.front().key));
}

/// Which invariants a mutant breaks within a few rounds; "" if it was not noticed.
std::string caught(const ChaosPlan& plan, std::uint64_t seed) {
  constexpr std::uint64_t tries = 5;
  for (std::uint64_t n = 0; n < tries; ++n) {
    KeyedChaos chaos(plan, seed + n);
    chaos.run();
    std::string names;
    for (const Violation& violation : check(chaos.events(), promises(plan))) {
      if (names.find(violation.invariant) == names.npos) names += violation.invariant + " ";
    }
    if (!names.empty()) return names;
  }
  return "";
}

}  // namespace

TEST_SUITE("idempotency under faults") {
  TEST_CASE("two replicas and a Redis keep every promise") {
    ChaosPlan plan;
    plan.store = "redis";
    plan.steps = 36;
    plan.behaviours = every_behaviour;
    plan.troubles = {Trouble::kill,         Trouble::kill,
                     Trouble::stop,         Trouble::reload,
                     Trouble::store_cut,    Trouble::store_stall,
                     Trouble::store_delay,  Trouble::store_lost_answers,
                     Trouble::store_outage, Trouble::client_pause,
                     Trouble::script_flush, Trouble::upstream_refuses,
                     Trouble::upstream_cut, Trouble::upstream_half_close};
    const auto seed = seed_of_this_run();
    for (int round = 0; round < rounds(2); ++round) {
      expect_no_violation(plan, seed + static_cast<std::uint64_t>(round));
    }
  }

  TEST_CASE("a store that comes back leaves no key in doubt") {
    ChaosPlan plan;
    plan.store = "redis";
    plan.steps = 10;
    plan.behaviours = {behaviour::ok, behaviour::slow};
    plan.heals = true;
    plan.troubles = {Trouble::store_cut, Trouble::store_stall, Trouble::store_delay,
                     Trouble::store_lost_answers, Trouble::store_outage};
    const auto seed = seed_of_this_run();
    for (int round = 0; round < rounds(1); ++round) {
      expect_no_violation(plan, seed + static_cast<std::uint64_t>(round));
    }
  }

  TEST_CASE("a replica on its own file, killed again and again, forgets nothing") {
    ChaosPlan plan;
    plan.store = "local";
    plan.replicas = 1;
    plan.steps = 52;
    plan.behaviours = every_behaviour;
    plan.troubles = {Trouble::kill};
    const auto seed = seed_of_this_run();
    for (int round = 0; round < rounds(1); ++round) {
      expect_no_violation(plan, seed + static_cast<std::uint64_t>(round));
    }
  }

  TEST_CASE("a replica with its records in memory or in a file, stopped and cut off") {
    for (const std::string store : {"memory", "local"}) {
      ChaosPlan plan;
      plan.store = store;
      plan.replicas = 1;
      plan.steps = 10;
      plan.behaviours = every_behaviour;
      plan.troubles = {Trouble::none,         Trouble::stop,
                       Trouble::reload,       Trouble::upstream_refuses,
                       Trouble::upstream_cut, Trouble::upstream_half_close};
      const auto seed = seed_of_this_run();
      for (int round = 0; round < rounds(1); ++round) {
        expect_no_violation(plan, seed + static_cast<std::uint64_t>(round));
      }
    }
  }
}

// What these change is not in the product: a link rewrites a script on its way to the store, or
// sends a request to the upstream again; or a route is told to promise less.
TEST_SUITE("the faults find the mutants") {
  TEST_CASE("a lease that frees the key") {
    ChaosPlan plan;
    plan.steps = 8;
    plan.behaviours = {behaviour::slow};
    plan.troubles = {Trouble::kill, Trouble::stop};
    plan.prepare = [](FaultLink& store, FaultLink&) {
      store.rewrite("redis.call('PEXPIRE', R, ARGV[4])", "redis.call('PEXPIRE', R, ARGV[3])");
    };
    CHECK(caught(plan, seed_of_this_run()).find("I1") != std::string::npos);
  }

  TEST_CASE("a key that any error releases") {
    ChaosPlan plan;
    plan.steps = 8;
    plan.behaviours = {behaviour::ok, behaviour::read_close};
    plan.troubles = {Trouble::none};
    plan.prepare = [](FaultLink& store, FaultLink&) {
      store.rewrite("redis.call('HSET', R, 's', 'U', 'r', ARGV[2])", "redis.call('DEL', R)");
    };
    CHECK(caught(plan, seed_of_this_run()).find("I1") != std::string::npos);
  }

  TEST_CASE("a completion that does not compare its token") {
    ChaosPlan plan;
    plan.steps = 8;
    plan.behaviours = {behaviour::slow};
    plan.troubles = {Trouble::stop};
    plan.idempotency = "on_unknown = \"reexecute\"";
    SUBCASE("the mutant") {
      plan.prepare = [](FaultLink& store, FaultLink&) {
        store.rewrite(
            "if k[2] == 'R' or (k[1] and k[1] ~= ARGV[1]) then return {'FENCED'} end\n"
            "if k[2] == 'C'",
            "if k[2] == 'R' or (k[1] and k[1] ~= k[1]) then return {'FENCED'} end\n"
            "if k[2] == 'C'");
      };
      CHECK(caught(plan, seed_of_this_run()).find("I4") != std::string::npos);
    }
    SUBCASE("the original") {
      expect_no_violation(plan, seed_of_this_run());
    }
  }

  TEST_CASE("a request that is sent again after a reset") {
    ChaosPlan plan;
    plan.steps = 4;
    plan.behaviours = {behaviour::ok, behaviour::read_close};
    plan.troubles = {Trouble::none};
    plan.prepare = [](FaultLink&, FaultLink& upstream) { upstream.repeat_unanswered(); };
    CHECK(caught(plan, seed_of_this_run()).find("I1") != std::string::npos);
  }

  TEST_CASE("a store that is not asked when it fails") {
    ChaosPlan plan;
    plan.steps = 4;
    plan.behaviours = {behaviour::ok};
    plan.troubles = {Trouble::store_outage};
    plan.idempotency = "on_store_error = \"open\"";
    CHECK(caught(plan, seed_of_this_run()).find("I11") != std::string::npos);
  }

  TEST_CASE("records that end with their process") {
    ChaosPlan plan;
    plan.store = "memory";
    plan.replicas = 1;
    plan.steps = 4;
    plan.behaviours = {behaviour::ok};
    plan.troubles = {Trouble::kill};
    CHECK(caught(plan, seed_of_this_run()).find("I8") != std::string::npos);
  }
}
