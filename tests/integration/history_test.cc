// The checker of idempotency's invariants, on histories written by hand: for each invariant one
// that keeps it and the nearest one that does not.
#include "tests/support/history.h"

#include <doctest/doctest.h>

using namespace holdfast::testing;

namespace {

using Kind = Event::Kind;
using Events = std::vector<Event>;

Event send(std::uint64_t request, const std::string& payload = "pay 1",
           const std::string& key = "k", std::uint64_t connection = 1) {
  return {.kind = Kind::send,
          .key = key,
          .request = request,
          .payload = payload,
          .connection = connection};
}

Event start(std::uint64_t run, std::uint64_t request, const std::string& payload = "pay 1",
            const std::string& key = "k") {
  return {.kind = Kind::start, .key = key, .request = request, .payload = payload, .run = run};
}

std::string said_by(std::uint64_t run) {
  return "run " + std::to_string(run);
}

Event respond(std::uint64_t run) {
  return {.kind = Kind::respond, .key = "k", .run = run, .status = 201, .body = said_by(run)};
}

Event refuse(std::uint64_t run) {
  return {.kind = Kind::refuse, .key = "k", .run = run, .status = 429, .body = said_by(run)};
}

/// The upstream's own answer, as it came to the client.
Event executed(std::uint64_t request, std::uint64_t run, const std::string& state = "") {
  return {.kind = Kind::receive,
          .key = "k",
          .request = request,
          .run = run,
          .status = 201,
          .state = state,
          .body = said_by(run),
          .connection = 1};
}

Event released(std::uint64_t request, std::uint64_t run) {
  Event answer = executed(request, run, "released");
  answer.status = 429;
  return answer;
}

Event replayed(std::uint64_t request, std::uint64_t run) {
  Event answer = executed(request, run, "replayed");
  answer.replayed = true;
  return answer;
}

/// An answer that holdfast made.
Event told(std::uint64_t request, const std::string& state, int status = 409) {
  return {.kind = Kind::receive, .key = "k", .request = request, .status = status, .state = state};
}

Event lost(std::uint64_t request, const std::string& fault = "reset") {
  return {.kind = Kind::lost, .key = "k", .request = request, .fault = fault};
}

Event mark(Kind kind, Milliseconds at = {}) {
  return {.kind = kind, .at = at};
}

/// Which invariants a history breaks, in words: "I1 I4".
std::string broken(const Events& events, const Promises& promises = {}) {
  std::string names;
  for (const Violation& violation : check(events, promises)) {
    if (names.find(violation.invariant) != names.npos) continue;
    names += (names.empty() ? "" : " ") + violation.invariant;
  }
  return names;
}

const Events one_execution = {send(1), start(1, 1), respond(1), executed(1, 1)};

Events after_one_execution(const Events& more) {
  Events all = one_execution;
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

}  // namespace

TEST_SUITE("the checker of histories") {
  TEST_CASE("an execution and its replay keep every promise") {
    CHECK(broken({}) == "");
    CHECK(broken(one_execution) == "");
    CHECK(broken(after_one_execution({send(2), replayed(2, 1)})) == "");
  }

  TEST_CASE("I1: a second start needs the refusal of the first") {
    CHECK(broken({send(1), start(1, 1), refuse(1), start(2, 1), respond(2), executed(1, 2)}) == "");
    CHECK(broken({send(1), start(1, 1), lost(1), send(2), start(2, 2), lost(2)}) == "I1");
    // The refusal comes too late.
    CHECK(broken({send(1), send(2), start(1, 1), start(2, 2), refuse(1), respond(2), lost(1),
                  executed(2, 2)}) == "I1");
  }

  TEST_CASE("I1: where the route says so, an unknown outcome may run again") {
    const Events again = {send(1), start(1, 1), lost(1), send(2), start(2, 2), lost(2)};
    CHECK(broken(again, {.reexecutes = true}) == "");
  }

  TEST_CASE("I2: a run belongs to a request that was sent, and was not told that it did not run") {
    CHECK(broken({send(1), start(1, 1), told(1, "outcome-unknown", 502)}) == "");
    CHECK(broken({start(1, 1), send(1), lost(1)}) == "I2");
    CHECK(broken({start(1, 7)}) == "I2");
    for (const char* state : {"store-unavailable", "in-progress", "key-invalid", "capacity"}) {
      CAPTURE(state);
      CHECK(broken({send(1), start(1, 1), told(1, state)}) == "I2");
    }
  }

  TEST_CASE("I3: a replay is what the run answered: status, kept fields, body") {
    for (const auto change :
         {+[](Event& answer) { answer.status = 200; },
          +[](Event& answer) { answer.head = "Location: /other"; },
          +[](Event& answer) { answer.body += "!"; }, +[](Event& answer) { answer.state = ""; }}) {
      Event replay = replayed(2, 1);
      change(replay);
      CHECK(broken(after_one_execution({send(2), replay})) == "I3");
    }
    Event refusal = replayed(2, 1);
    refusal.status = 429;
    CHECK(broken({send(1), start(1, 1), refuse(1), released(1, 1), send(2), refusal}) == "I3");
  }

  TEST_CASE("I4: the recorded answer does not become another") {
    const Events two_owners = {
        send(1),    start(1, 1),   send(2),        start(2, 2),
        respond(2), respond(1),    executed(2, 2), executed(1, 1, "unrecorded"),
        send(3),    replayed(3, 2)};
    CHECK(broken(two_owners, {.reexecutes = true}) == "");
    Events overwritten = two_owners;
    overwritten.back() = replayed(3, 1);
    CHECK(broken(overwritten, {.reexecutes = true}) == "I4");
    overwritten = two_owners;
    overwritten[7] = executed(1, 1);
    CHECK(broken(overwritten, {.reexecutes = true}) == "I4");
  }

  TEST_CASE("I5: nobody is told another's answer") {
    CHECK(broken({send(1), send(2), start(1, 1), refuse(1), released(1, 1), released(2, 1)}) == "");
    CHECK(broken({send(1), send(2), start(1, 1), respond(1), executed(1, 1), executed(2, 1)}) ==
          "I5");
    // Another key, on another connection; another request with the same key.
    Event others = replayed(2, 1);
    others.key = "l";
    others.connection = 2;
    CHECK(broken(after_one_execution({send(2, "pay 1", "l", 2), others})) == "I5");
    CHECK(broken({send(1, "pay 2"), start(1, 1, "pay 2"), respond(1), lost(1), send(2, "pay 1"),
                  replayed(2, 1)}) == "I5");
  }

  TEST_CASE("I6: another request with a used key is told 422, and no other is") {
    CHECK(broken(after_one_execution({send(2, "pay 2"), told(2, "key-reused", 422)})) == "");
    CHECK(broken(after_one_execution({send(2, "pay 2"), told(2, "outcome-unknown")})) == "I6");
    CHECK(broken(after_one_execution({send(2), told(2, "key-reused", 422)})) == "I6");
    CHECK(broken({send(1), told(1, "key-reused", 422)}) == "I6");
    CHECK(broken({send(1), told(1, "result-unavailable"), send(2, "pay 2"),
                  told(2, "in-progress")}) == "I6");
  }

  TEST_CASE("I8: what was told for good is told again") {
    CHECK(broken(after_one_execution({send(2), told(2, "store-unavailable", 503)})) == "");
    for (const char* state : {"in-progress", "outcome-unknown", "not-executed"}) {
      CAPTURE(state);
      CHECK(broken(after_one_execution({send(2), told(2, state)})) == "I8");
    }
    const Promises frail{.store_may_fail = true};
    CHECK(broken(after_one_execution({send(2), told(2, "outcome-unknown")}), frail) == "");
    CHECK(broken(after_one_execution({send(2), told(2, "not-executed")}), frail) == "I8");
    // Who asked before that was told may be told what was true then.
    CHECK(broken({send(1), send(2), start(1, 1), respond(1), executed(1, 1),
                  told(2, "in-progress")}) == "");
  }

  TEST_CASE("I8: an answer that is too large is gone, and stays so") {
    const Promises small{.largest_kept = 2};
    CHECK(broken(after_one_execution({send(2), told(2, "result-unavailable")}), small) == "");
    CHECK(broken(after_one_execution({send(2), told(2, "outcome-unknown")}), small) == "I8");
    const Events gone = {send(1),
                         start(1, 1),
                         told(1, "result-unavailable", 502),
                         send(2),
                         told(2, "result-unavailable"),
                         send(3)};
    Events then = gone;
    then.push_back(told(3, "result-unavailable"));
    CHECK(broken(then) == "");
    then.back() = told(3, "outcome-unknown");
    CHECK(broken(then) == "I8");
  }

  TEST_CASE("I9: what the upstream did not say is nobody's success") {
    CHECK(broken({send(1), told(1, "not-executed", 503)}) == "");
    CHECK(broken({send(1), told(1, "not-executed", 200)}) == "");  // a fallback, and it says so
    CHECK(broken({send(1), told(1, "in-progress", 200)}) == "I9");
    CHECK(broken({send(1), told(1, "", 502)}) == "I9");
    CHECK(broken({send(1), executed(1, 1)}) == "I9");
    CHECK(broken({send(1), start(1, 1), executed(1, 1)}) == "I9");
    Event changed = executed(1, 1);
    changed.body = "run";
    CHECK(broken({send(1), start(1, 1), respond(1), changed}) == "I9");
  }

  TEST_CASE("I10: a release needs proof that nothing ran") {
    CHECK(broken({send(1), start(1, 1), refuse(1), told(1, "not-executed", 502)}) == "");
    CHECK(broken({send(1), start(1, 1), told(1, "not-executed", 502)}) == "I10");
    CHECK(broken({send(1), start(1, 1), respond(1), executed(1, 1, "released")}) == "I10");
  }

  TEST_CASE("I11: without a store no key starts") {
    const Event begins = mark(Kind::outage_begins);
    const Event ends = mark(Kind::outage_ends);
    CHECK(broken({begins, ends, send(1), start(1, 1), lost(1)}) == "");
    CHECK(broken({send(1), begins, start(1, 1), ends, lost(1)}) == "");  // claimed before
    CHECK(broken({begins, send(1), start(1, 1), ends, lost(1)}) == "I11");
  }

  TEST_CASE("I12: every attempt carries what the client sent") {
    CHECK(broken({send(1), start(1, 1), refuse(1), start(2, 1, "pay 9"), lost(1)}) == "I12");
  }

  TEST_CASE("I13: everybody is answered, and after the last fault nobody is put off for long") {
    CHECK(broken({send(1), lost(1, "aborted")}) == "");
    CHECK(broken({send(1)}) == "I13");
    CHECK(broken({send(1), lost(1, "timeout")}) == "I13");
    const Event calm = mark(Kind::calm, 100ms);
    for (const auto& [at, expected] :
         std::vector<std::pair<Milliseconds, std::string>>{{200ms, ""}, {1200ms, "I13"}}) {
      Event late = send(1);
      late.at = at;
      CHECK(broken({calm, late, told(1, "in-progress")}, {.calm_within = 1000ms}) == expected);
    }
  }

  TEST_CASE("I13: where owners live on, what is unknown is so for a while only") {
    const Promises healing{.nothing_stays_unknown = true, .calm_within = 1000ms};
    const Event calm = mark(Kind::calm, 100ms);
    for (const auto& [at, expected] :
         std::vector<std::pair<Milliseconds, std::string>>{{200ms, ""}, {1200ms, "I13"}}) {
      Event late = send(1);
      late.at = at;
      CHECK(broken({calm, late, told(1, "outcome-unknown")}, healing) == expected);
      CHECK(broken({calm, late, told(1, "outcome-unknown")}, {.calm_within = 1000ms}) == "");
    }
  }

  TEST_CASE("I16: answers come in the order of their requests, and are HTTP") {
    CHECK(broken({send(1), lost(1, "malformed")}) == "I16");
    Event swapped = executed(2, 1);
    swapped.key = "l";
    CHECK(broken({send(1), send(2, "pay 1", "l"), start(1, 1), respond(1), swapped, lost(1)}) ==
          "I16");
  }

  TEST_CASE("a story is of one key, and of what concerns all") {
    const std::string text = story({send(1), send(2, "pay 1", "l"), mark(Kind::calm)}, "k");
    CHECK(text.find("request 1") != text.npos);
    CHECK(text.find("request 2") == text.npos);
    CHECK(text.find("calm") != text.npos);
  }
}
