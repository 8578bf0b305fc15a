// What every kind of store must do, checked against policy::apply on a record in memory: the same
// operations go to the store and to that model, and each verdict must be the model's.
//
// Use: open a backend, and
//   LoopFixture loop;
//   StoreSubject subject{loop, *backend, advance};
//   check_every_transition(subject);   // and the others below
// `advance` lets the time of the store pass; leave it empty where nobody can. Such a store is
// compared by ranges where a verdict tells a duration, and still meets leases that are over and
// records that have expired: those of zero length. Each sequence has ids of its own, so that one
// backend serves them all.
#pragma once

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "holdfast/policy/idempotency.h"
#include "holdfast/runtime/scope.h"
#include "holdfast/store/store.h"
#include "tests/support/loop_fixture.h"

namespace holdfast::test {

using policy::Command;
using policy::Milliseconds;
using policy::Operation;
using policy::StoreTime;
using policy::Verdict;
using StoreResult = Result<Verdict, store::StoreError>;

struct StoreSubject {
  LoopFixture& loop;
  store::StoreBackend& backend;
  std::function<void(Milliseconds)> advance;
};

inline constexpr Milliseconds long_time = std::chrono::hours(1);

inline Digest digest_of(std::string_view text) {
  return Digester().field(text).finish();
}

/// An id that nobody has used.
inline Digest fresh_id() {
  static Rng rng = Rng::from_entropy();
  return digest_of(std::to_string(rng.next()) + std::to_string(rng.next()));
}

/// An operation with every field set to something that can be told from its neighbours.
inline Operation make_operation(Command command, const Digest& id, std::string_view token = "own") {
  Operation operation;
  operation.command = command;
  operation.id = id;
  operation.token = token;
  operation.fingerprint = digest_of("request");
  operation.lease = long_time;
  operation.ttl = 2 * long_time;
  operation.attempt = 3;
  operation.status = 201;
  operation.headers = "Content-Type: text/plain\r\nLocation: /" + std::string(token) + "\r\n";
  operation.body = "body of " + std::string(token);
  operation.reason = command == Command::tombstone ? "truncated" : "reset";
  return operation;
}

inline std::string describe(const Operation& operation) {
  std::string text(name(operation.command));
  text += " token=" + operation.token + " fingerprint=" + hex(operation.fingerprint).substr(0, 4);
  text += " lease=" + std::to_string(operation.lease.count());
  text += " ttl=" + std::to_string(operation.ttl.count());
  if (operation.reexecute) text += " reexecute";
  if (operation.executed) text += " executed";
  return text;
}

inline std::string describe(const Verdict& verdict) {
  std::string text(name(verdict.kind));
  text += " attempt=" + std::to_string(verdict.attempt) +
          " state=" + std::string(name(verdict.state)) +
          " left=" + std::to_string(verdict.lease_left.count()) +
          " age=" + std::to_string(verdict.age.count()) +
          " status=" + std::to_string(verdict.status) + " reason=" + verdict.reason;
  return text + " headers=" + verdict.headers.substr(0, 100) +
         " body=" + verdict.body.substr(0, 100);
}

inline std::string describe(const StoreResult& result) {
  if (result) return describe(*result);
  return "error " + std::string(name(result.error().kind)) + ": " + result.error().detail;
}

/// A store opened on the subject's loop, asked as if its answer came at once.
class StoreDriver {
 public:
  explicit StoreDriver(StoreSubject& subject)
      : loop_(subject.loop),
        store_(subject.backend.open(loop_.loop.context(), loop_.network, loop_.network)) {}

  StoreResult apply(const Operation& operation) {
    runtime::Task<StoreResult> task = store_->apply(operation);
    task.start();
    if (!task.done()) loop_.run(task);
    return task.take();
  }
  /// For what must succeed.
  Verdict verdict(const Operation& operation) {
    StoreResult result = apply(operation);
    INFO(describe(operation), " -> ", describe(result));
    REQUIRE(result);
    return *std::move(result);
  }
  store::Store& store() { return *store_; }

 private:
  LoopFixture& loop_;
  std::unique_ptr<store::Store> store_;
};

/// The store and its model, side by side.
class StoreTwin {
 public:
  explicit StoreTwin(StoreSubject& subject) : subject_(subject), driver_(subject) {}

  /// True if the two verdicts are equal; else doctest has been told.
  bool apply(const Operation& operation) {
    const Verdict expected = policy::apply(records_[operation.id], operation, now());
    StoreResult result = driver_.apply(operation);
    history_ += describe(operation) + " -> " + describe(result) + "\n";
    const bool same = result && equal(expected, *result);
    if (!same) FAIL_CHECK(history_, "  expected ", describe(expected));
    return same;
  }
  /// Both tell the same of the record, to its owner's requests and to a person.
  bool compare_record(const Digest& id) {
    return apply(make_operation(Command::peek, id)) && apply(make_operation(Command::inspect, id));
  }
  void advance(Milliseconds duration) {
    subject_.advance(duration);
    advanced_ += duration;
    history_ += "advance " + std::to_string(duration.count()) + "\n";
  }
  void forget_history() { history_.clear(); }

 private:
  bool has_manual_time() const { return static_cast<bool>(subject_.advance); }
  StoreTime now() const {
    if (has_manual_time()) return StoreTime(advanced_);
    const Duration elapsed = subject_.loop.loop.context().now().time_since_epoch();
    return StoreTime(std::chrono::duration_cast<Milliseconds>(elapsed));
  }
  bool equal(const Verdict& expected, Verdict actual) const {
    if (!has_manual_time()) {
      const auto near = [](Milliseconds a, Milliseconds b) {
        return std::chrono::abs(a - b) < std::chrono::seconds(10);
      };
      if (!near(expected.lease_left, actual.lease_left)) return false;
      if (!near(expected.age, actual.age)) return false;
      actual.lease_left = expected.lease_left;
      actual.age = expected.age;
    }
    return expected == actual;
  }

  StoreSubject& subject_;
  StoreDriver driver_;
  std::map<Digest, std::optional<policy::Record>> records_;
  Milliseconds advanced_{};
  std::string history_;
};

/// How a record comes to be in each state, by claims of "own".
struct StoreSetting {
  std::string name;
  std::vector<Operation> operations;  // their ids are filled in
};

inline std::vector<StoreSetting> store_settings() {
  const auto make = [](Command command) { return make_operation(command, Digest{}); };
  Operation claim = make(Command::claim);
  Operation brief = claim;
  brief.lease = Milliseconds(0);
  Operation expired = claim;
  expired.ttl = Milliseconds(0);
  Operation executed = make(Command::resolve);
  executed.executed = true;
  return {
      {"absent", {}},
      {"in flight", {claim}},
      {"lease over", {brief}},
      {"lease over and told so", {brief, make_operation(Command::claim, Digest{}, "foreign")}},
      {"expired", {expired}},
      {"completed", {claim, make(Command::complete)}},
      {"gone", {claim, make(Command::tombstone)}},
      {"unknown", {claim, make(Command::mark_unknown)}},
      {"released", {claim, make(Command::release)}},
      {"released before it was there", {make(Command::release)}},
      {"resolved as executed", {brief, executed}},
      {"resolved as not executed", {brief, make(Command::resolve)}},
      {"lost and asserted again", {make(Command::renew)}},
  };
}

/// Every operation on a record of "own": by it or another, with its request or another.
inline std::vector<Operation> store_operations() {
  constexpr int last = static_cast<int>(Command::resolve);
  std::vector<Operation> operations;
  for (int command = 0; command <= last; ++command) {
    for (const int bits : {0, 1, 2, 3, 4, 5, 6, 7}) {
      Operation operation = make_operation(static_cast<Command>(command), Digest{},
                                           (bits & 1) != 0 ? "foreign" : "own");
      if ((bits & 2) != 0) operation.fingerprint = digest_of("another request");
      operation.reexecute = (bits & 4) != 0;
      operation.executed = (bits & 4) != 0;
      operations.push_back(operation);
    }
  }
  return operations;
}

inline void check_every_transition(StoreSubject& subject) {
  StoreTwin twin(subject);
  for (const StoreSetting& setting : store_settings()) {
    for (Operation operation : store_operations()) {
      CAPTURE(setting.name);
      twin.forget_history();
      operation.id = fresh_id();
      for (Operation before : setting.operations) {
        before.id = operation.id;
        REQUIRE(twin.apply(before));
      }
      REQUIRE(twin.apply(operation));
      REQUIRE(twin.compare_record(operation.id));
    }
  }
}

/// A replay is what was recorded, byte by byte.
inline void check_payloads(StoreSubject& subject) {
  StoreTwin twin(subject);
  std::string every_byte;
  for (int byte = 0; byte < 256; ++byte) every_byte += static_cast<char>(byte);
  for (const std::string& body :
       {std::string(), every_byte, std::string("\r\n\0\r\n", 5), std::string(1 << 20, '\xff')}) {
    CAPTURE(body.size());
    Operation complete = make_operation(Command::complete, fresh_id());
    complete.body = body;
    complete.headers = body.empty() ? "" : "Set-Cookie: a\r\nSet-Cookie: b\r\nX: \xc3\xa9\r\n";
    REQUIRE(twin.apply(make_operation(Command::claim, complete.id)));
    REQUIRE(twin.apply(complete));
    REQUIRE(twin.apply(make_operation(Command::claim, complete.id, "foreign")));
    REQUIRE(twin.compare_record(complete.id));
  }
}

/// Sequences that nobody thought of: three owners, two records, short and long leases.
inline void check_random_sequences(StoreSubject& subject) {
  StoreTwin twin(subject);
  const bool agrees = rc::check("a random sequence", [&] {
    twin.forget_history();
    const std::vector<Digest> ids{fresh_id(), fresh_id()};
    const auto steps = *rc::gen::container<std::vector<std::tuple<int, int, int, int>>>(
        rc::gen::tuple(rc::gen::inRange(0, 10), rc::gen::inRange(0, 3), rc::gen::inRange(0, 2),
                       rc::gen::inRange(0, 64)));
    for (const auto& [command, owner, record, bits] : steps) {
      if (command == 9) {
        // Seconds and minutes: over leases, the stub of a release, and the whole life of a record.
        if (subject.advance) twin.advance(std::chrono::seconds(bits * bits));
        continue;
      }
      Operation operation = make_operation(static_cast<Command>(command), ids.at(record),
                                           std::string(1, static_cast<char>('a' + owner)));
      if ((bits & 7) == 0) operation.fingerprint = digest_of("another request");
      operation.reexecute = (bits & 8) != 0;
      operation.executed = (bits & 8) != 0;
      if ((bits & 48) == 0) operation.lease = Milliseconds(0);
      if ((bits & 48) == 16 && bits % 3 == 0) operation.ttl = Milliseconds(0);
      RC_ASSERT(twin.apply(operation));
    }
    for (const Digest& id : ids) RC_ASSERT(twin.compare_record(id));
  });
  CHECK(agrees);
}

/// REQUIRES: subject.advance.
inline void check_time(StoreSubject& subject) {
  StoreTwin twin(subject);
  constexpr Milliseconds tick{1};
  const auto fresh = [](Command command) { return make_operation(command, fresh_id()); };

  Operation claim = fresh(Command::claim);
  twin.apply(claim);
  twin.advance(claim.lease - tick);
  twin.compare_record(claim.id);  // in flight, for a millisecond
  twin.advance(tick);
  twin.compare_record(claim.id);  // unknown, though nobody said so
  twin.apply(make_operation(Command::renew, claim.id));
  twin.compare_record(claim.id);
  twin.advance(claim.ttl - claim.lease - tick);
  twin.compare_record(claim.id);  // there to the last millisecond: the renewal moved no expiry
  twin.advance(tick);
  twin.compare_record(claim.id);

  for (const Command command : {Command::complete, Command::tombstone}) {
    claim = fresh(Command::claim);
    const Operation settle = make_operation(command, claim.id);
    twin.apply(claim);
    twin.advance(long_time);
    twin.apply(settle);
    twin.advance(settle.ttl - tick);
    twin.compare_record(claim.id);
    twin.advance(tick);
    twin.compare_record(claim.id);
  }

  claim = fresh(Command::claim);
  twin.apply(claim);
  twin.apply(make_operation(Command::release, claim.id));
  twin.advance(policy::revoked_for - tick);
  twin.apply(claim);  // its own delayed claim: revoked
  twin.advance(tick);
  twin.apply(claim);
  twin.compare_record(claim.id);
}

inline runtime::Task<void> claim_for(store::Store& store, const Operation& operation,
                                     std::vector<StoreResult>& results) {
  StoreResult result = co_await store.apply(operation);
  results.push_back(std::move(result));
}

/// Of many claims at the same time one is acquired, and all are answered.
inline void check_simultaneous_claims(StoreSubject& subject) {
  StoreDriver driver(subject);
  const Digest id = fresh_id();
  std::vector<Operation> claims;
  for (int i = 0; i < 64; ++i) {
    claims.push_back(make_operation(Command::claim, id, std::to_string(i)));
  }
  std::vector<StoreResult> results;
  runtime::Scope scope;
  for (const Operation& claim : claims) scope.spawn(claim_for(driver.store(), claim, results));
  subject.loop.run_until([&] { return results.size() == claims.size(); });
  int acquired = 0;
  for (const StoreResult& result : results) {
    INFO(describe(result));
    REQUIRE(result);
    if (result->kind == Verdict::Kind::acquired) {
      ++acquired;
    } else {
      CHECK(result->kind == Verdict::Kind::inflight);
    }
  }
  CHECK(acquired == 1);
}

/// Whoever stops waiting is not answered, and the others are.
inline void check_cancelled_waits(StoreSubject& subject) {
  StoreDriver driver(subject);
  const Operation claim = make_operation(Command::claim, fresh_id());
  for (int i = 0; i < 20; ++i) {
    std::vector<StoreResult> results;
    runtime::Scope scope;
    scope.spawn(claim_for(driver.store(), claim, results));
    if (i % 2 == 0) subject.loop.turn();
    scope.cancel_all();
    CHECK(driver.verdict(claim).kind == Verdict::Kind::acquired);
  }
}

/// The store of a loop may go while its operations are on the way.
inline void check_closing_with_operations_on_the_way(StoreSubject& subject) {
  const Operation claim = make_operation(Command::claim, fresh_id());
  for (int i = 0; i < 20; ++i) {
    StoreDriver driver(subject);
    std::vector<StoreResult> results;
    runtime::Scope scope;
    scope.spawn(claim_for(driver.store(), claim, results));
  }
  StoreDriver driver(subject);
  CHECK(driver.verdict(claim).kind == Verdict::Kind::acquired);
}

/// Two loops on two threads have one store.
inline void check_two_loops(StoreSubject& subject) {
  constexpr int records = 200;
  std::vector<Digest> ids;
  for (int i = 0; i < records; ++i) ids.push_back(fresh_id());
  std::atomic<int> acquired = 0;
  const auto claim_all = [&](LoopFixture& loop, std::string_view token) {
    StoreSubject own{loop, subject.backend, {}};
    StoreDriver driver(own);
    for (const Digest& id : ids) {
      const Verdict verdict = driver.verdict(make_operation(Command::claim, id, token));
      if (verdict.kind == Verdict::Kind::acquired) ++acquired;
    }
  };
  std::thread other([&] {
    LoopFixture loop;
    claim_all(loop, "other");
  });
  claim_all(subject.loop, "own");
  other.join();
  CHECK(acquired == records);
}

/// REQUIRES: subject.advance, and a store of `bounded_bytes` with nothing in it.
inline constexpr std::uint64_t bounded_bytes = 20'000;
inline void check_full_store(StoreSubject& subject) {
  StoreDriver driver(subject);
  const auto kind_of = [&](const Operation& operation) { return driver.verdict(operation).kind; };
  const auto is_full = [&](const Operation& operation) {
    const StoreResult result = driver.apply(operation);
    return !result && result.error().kind == store::StoreError::Kind::full;
  };
  const auto id_of = [](int number) { return digest_of(std::to_string(number)); };

  int held = 0;
  while (!is_full(make_operation(Command::claim, id_of(held)))) {
    REQUIRE(subject.backend.stats().inflight == static_cast<std::uint64_t>(++held));
  }
  REQUIRE(held > 10);
  CHECK(subject.backend.stats().bytes <= bounded_bytes);

  // What exists goes on.
  const Digest id = id_of(0);
  CHECK(kind_of(make_operation(Command::claim, id)) == Verdict::Kind::acquired);
  CHECK(kind_of(make_operation(Command::renew, id)) == Verdict::Kind::ok);
  CHECK(kind_of(make_operation(Command::claim, id, "foreign")) == Verdict::Kind::inflight);
  Operation complete = make_operation(Command::complete, id);
  complete.body.assign(bounded_bytes / 2, 'x');
  CHECK(is_full(complete));
  CHECK(kind_of(make_operation(Command::peek, id)) == Verdict::Kind::inflight);
  CHECK(kind_of(make_operation(Command::tombstone, id)) == Verdict::Kind::ok);
  CHECK(kind_of(make_operation(Command::claim, id, "foreign")) == Verdict::Kind::gone);
  for (int number = 0; number < held; ++number) {
    CHECK(kind_of(make_operation(Command::peek, id_of(number))) != Verdict::Kind::absent);
  }

  // Room is made by what has expired, however much of it that takes.
  subject.advance(2 * long_time);
  complete.id = id_of(held);
  complete.body.assign(bounded_bytes * 3 / 4, 'x');
  CHECK(kind_of(make_operation(Command::claim, complete.id)) == Verdict::Kind::acquired);
  CHECK(kind_of(complete) == Verdict::Kind::ok);
  CHECK(kind_of(make_operation(Command::claim, complete.id)) == Verdict::Kind::completed);
  CHECK(subject.backend.stats().bytes <= bounded_bytes);
}

}  // namespace holdfast::test
