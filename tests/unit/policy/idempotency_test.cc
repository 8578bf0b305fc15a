#include "holdfast/policy/idempotency.h"

#include <doctest/doctest.h>

#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace holdfast::policy {
namespace {

using Kind = Verdict::Kind;
using std::chrono::hours;
using std::chrono::seconds;

constexpr StoreTime start{hours(1'000'000)};
constexpr Milliseconds tick{1};
constexpr Milliseconds lease = seconds(15);
constexpr Milliseconds ttl = hours(24);

Digest fingerprint_of(std::string_view request) {
  return Digester().field(request).finish();
}

Operation make_operation(Command command, const std::string& token = "own") {
  static const Digest fingerprint = fingerprint_of("request");
  Operation operation;
  operation.command = command;
  operation.token = token;
  operation.fingerprint = fingerprint;
  operation.lease = lease;
  operation.ttl = ttl;
  operation.attempt = 7;
  operation.status = 201;
  operation.headers = "Location: /1\r\n";
  operation.body = "paid";
  operation.reason = command == Command::tombstone ? "truncated" : "reset";
  return operation;
}

/// A record of "own" in the state named, claimed at `start`.
std::optional<Record> make_record(const std::string& name) {
  std::optional<Record> record;
  if (name == "absent") return record;
  apply(record, make_operation(Command::claim), start);
  if (name == "completed") apply(record, make_operation(Command::complete), start);
  if (name == "gone") apply(record, make_operation(Command::tombstone), start);
  if (name == "unknown") apply(record, make_operation(Command::mark_unknown), start);
  if (name == "revoked") apply(record, make_operation(Command::release), start);
  if (name == "over") record->lease_until = start;
  return record;
}

std::string letter(const std::optional<Record>& record) {
  if (!record) return "-";
  return std::string(1, "ICGUR"[static_cast<int>(record->state)]);
}

/// The columns of the tables below.
std::vector<Operation> columns(const std::string& token, bool same_request) {
  std::vector<Operation> operations;
  for (const Command command :
       {Command::claim, Command::claim, Command::peek, Command::renew, Command::complete,
        Command::tombstone, Command::release, Command::mark_unknown, Command::inspect,
        Command::resolve, Command::resolve}) {
    operations.push_back(make_operation(command, token));
    if (!same_request) operations.back().fingerprint = fingerprint_of("another");
  }
  operations[1].reexecute = true;
  operations[10].executed = true;
  return operations;
}

void check_row(const std::string& row, const std::string& token, bool same_request) {
  std::istringstream cells(row);
  std::string state;
  cells >> state;
  std::size_t column = 0;
  const std::vector<Operation> operations = columns(token, same_request);
  for (std::string expected; cells >> expected; ++column) {
    CAPTURE(state);
    CAPTURE(name(operations[column].command));
    std::optional<Record> record = make_record(state);
    const Verdict verdict = apply(record, operations[column], start);
    CHECK(std::string(name(verdict.kind)) + "/" + letter(record) == expected);
  }
  CHECK(column >= 3);
}

// Each cell: the verdict, and the state afterwards (In flight, Completed, Gone, Unknown, Revoked).
// Columns: claim, claim that may reexecute, peek, renew, complete, tombstone, release,
// mark_unknown, inspect, resolve as not executed, resolve as executed.
TEST_CASE("every command by the owner in every state") {
  for (const std::string row : {
           "absent    acquired/I  acquired/I  absent/-    reasserted/I reasserted/C ok/G      "
           "ok/R    absent/-  absent/-    absent/-  absent/-",
           "inflight  acquired/I  acquired/I  inflight/I  ok/I         ok/C         ok/G      "
           "ok/R    ok/U      inflight/I  refused/I refused/I",
           "over      acquired/I  acquired/I  unknown/I   ok/I         ok/C         ok/G      "
           "ok/R    ok/U      unknown/I   absent/-  gone/G",
           "completed completed/C completed/C completed/C done/C       already/C    already/C "
           "done/C  already/C completed/C refused/C refused/C",
           "gone      gone/G      gone/G      gone/G      done/G       already/G    already/G "
           "done/G  already/G gone/G      refused/G refused/G",
           "unknown   unknown/U   acquired/I  unknown/U   ok/I         ok/C         ok/G      "
           "ok/R    already/U unknown/U   absent/-  gone/G",
           "revoked   revoked/R   revoked/R   absent/R    fenced/R     fenced/R     fenced/R  "
           "ok/R    already/R absent/R    absent/R  absent/R",
       }) {
    check_row(row, "own", true);
  }
}

TEST_CASE("every command by somebody else in every state") {
  for (const std::string row : {
           "inflight  inflight/I  inflight/I  inflight/I  fenced/I fenced/I fenced/I fenced/I "
           "fenced/I inflight/I  refused/I refused/I",
           "over      unknown/U   acquired/I  unknown/I   fenced/I fenced/I fenced/I fenced/I "
           "fenced/I unknown/I   absent/-  gone/G",
           "completed completed/C completed/C completed/C fenced/C fenced/C fenced/C fenced/C "
           "fenced/C completed/C refused/C refused/C",
           "gone      gone/G      gone/G      gone/G      fenced/G fenced/G fenced/G fenced/G "
           "fenced/G gone/G      refused/G refused/G",
           "unknown   unknown/U   acquired/I  unknown/U   fenced/U fenced/U fenced/U fenced/U "
           "fenced/U unknown/U   absent/-  gone/G",
           "revoked   acquired/I  acquired/I  absent/R    fenced/R fenced/R fenced/R fenced/R "
           "fenced/R absent/R    absent/R  absent/R",
       }) {
    check_row(row, "foreign", true);
  }
}

TEST_CASE("a fingerprint that differs is told before anything else") {
  for (const std::string row :
       {"inflight  mismatch/I mismatch/I mismatch/I", "over      mismatch/I mismatch/I mismatch/I",
        "completed mismatch/C mismatch/C mismatch/C", "gone      mismatch/G mismatch/G mismatch/G",
        "unknown   mismatch/U mismatch/U mismatch/U", "revoked   acquired/I acquired/I absent/R"}) {
    check_row(row, "foreign", false);
  }
  // A token is of one claim: what comes with it again is that claim.
  check_row("inflight acquired/I acquired/I mismatch/I", "own", false);
  check_row("completed mismatch/C mismatch/C mismatch/C", "own", false);
  check_row("revoked revoked/R revoked/R absent/R", "own", false);
  // Nobody else is asked for it: the token says whose the record is, a person needs none.
  for (const std::string state :
       {"absent", "inflight", "over", "completed", "gone", "unknown", "revoked"}) {
    for (const std::string token : {"own", "foreign"}) {
      const auto same = columns(token, true);
      const auto other = columns(token, false);
      for (std::size_t column = 3; column < same.size(); ++column) {
        std::optional<Record> a = make_record(state);
        std::optional<Record> b = a;
        CHECK(apply(a, same[column], start) == apply(b, other[column], start));
        CHECK(letter(a) == letter(b));
      }
    }
  }
}

TEST_CASE("a record that has expired is absent to every command") {
  for (const std::string state : {"inflight", "over", "completed", "gone", "unknown", "revoked"}) {
    for (const std::string token : {"own", "foreign"}) {
      for (const bool same_request : {true, false}) {
        for (const Operation& operation : columns(token, same_request)) {
          CAPTURE(state);
          CAPTURE(name(operation.command));
          std::optional<Record> expired = make_record(state);
          const StoreTime now = expired->expires;
          std::optional<Record> absent;
          CHECK(apply(expired, operation, now) == apply(absent, operation, now));
          CHECK(expired == absent);
        }
      }
    }
  }
}

TEST_CASE("what a claim keeps and is told") {
  std::optional<Record> record;
  const Verdict verdict = apply(record, make_operation(Command::claim), start);
  CHECK(verdict.attempt == 1);
  REQUIRE(record);
  CHECK(record->token == "own");
  CHECK(record->fingerprint == fingerprint_of("request"));
  CHECK(record->lease_until == start + lease);
  CHECK(record->expires == start + ttl);
  CHECK(record->since == start);

  const StoreTime later = start + lease - tick;
  const Operation foreign = make_operation(Command::claim, "foreign");
  CHECK(apply(record, foreign, later).lease_left == tick);
  CHECK(apply(record, foreign, later + tick).reason == lease_expired);
  CHECK(record->expires == start + ttl);
}

TEST_CASE("a claim sent again begins no lease anew") {
  std::optional<Record> record;
  apply(record, make_operation(Command::claim), start);
  const Record before = *record;
  apply(record, make_operation(Command::claim), start + seconds(5));
  CHECK(*record == before);
}

TEST_CASE("a renewal begins the lease anew, and moves no expiry") {
  std::optional<Record> record = make_record("unknown");
  apply(record, make_operation(Command::renew), start + seconds(100));
  CHECK(record->lease_until == start + seconds(100) + lease);
  CHECK(record->expires == start + ttl);
  CHECK(record->since == start);
  CHECK(record->reason.empty());
}

TEST_CASE("a completion begins the ttl anew, and is replayed as it was") {
  std::optional<Record> record = make_record("inflight");
  const StoreTime completed = start + hours(1);
  apply(record, make_operation(Command::complete), completed);
  CHECK(record->expires == completed + ttl);
  CHECK(record->attempt == 7);
  for (const Command command : {Command::claim, Command::peek}) {
    Verdict expected;
    expected.kind = Kind::completed;
    expected.status = 201;
    expected.headers = "Location: /1\r\n";
    expected.body = "paid";
    expected.age = seconds(3);
    CHECK(apply(record, make_operation(command, "foreign"), completed + seconds(3)) == expected);
  }
}

TEST_CASE("a tombstone keeps all but the body") {
  std::optional<Record> record = make_record("gone");
  Verdict expected;
  expected.kind = Kind::gone;
  expected.status = 201;
  expected.headers = "Location: /1\r\n";
  expected.reason = "truncated";
  expected.age = seconds(3);
  CHECK(apply(record, make_operation(Command::peek), start + seconds(3)) == expected);
  CHECK(record->body.empty());
}

TEST_CASE("a reexecution is the next attempt of a new owner") {
  std::optional<Record> record = make_record("unknown");
  Operation claim = make_operation(Command::claim, "foreign");
  claim.reexecute = true;
  const StoreTime now = start + hours(1);
  CHECK(apply(record, claim, now).attempt == 2);
  CHECK(record->attempt == 2);
  CHECK(record->token == "foreign");
  CHECK(record->expires == now + ttl);
  CHECK(apply(record, make_operation(Command::complete), now).kind == Kind::fenced);
}

TEST_CASE("a released token is remembered for a minute, against its owner alone") {
  std::optional<Record> record = make_record("revoked");
  const StoreTime last = start + revoked_for - tick;
  CHECK(apply(record, make_operation(Command::claim), last).kind == Kind::revoked);
  CHECK(apply(record, make_operation(Command::renew), last).kind == Kind::fenced);
  std::optional<Record> other = record;
  CHECK(apply(other, make_operation(Command::claim, "foreign"), last).kind == Kind::acquired);
  CHECK(apply(record, make_operation(Command::claim), last + tick).kind == Kind::acquired);
}

TEST_CASE("an inspection tells a person what there is, without the body") {
  const Operation inspect = make_operation(Command::inspect, "");
  std::optional<Record> record = make_record("completed");
  Verdict verdict = apply(record, inspect, start + seconds(5));
  CHECK(verdict.kind == Kind::completed);
  CHECK(verdict.state == RecordState::completed);
  CHECK(verdict.attempt == 7);
  CHECK(verdict.age == seconds(5));
  CHECK(verdict.status == 201);
  CHECK(verdict.body.empty());

  record = make_record("inflight");
  verdict = apply(record, inspect, start + seconds(5));
  CHECK(verdict.state == RecordState::inflight);
  CHECK(verdict.lease_left == lease - seconds(5));
  CHECK(verdict.age == seconds(5));
  verdict = apply(record, inspect, start + lease);
  CHECK(verdict.kind == Kind::unknown);
  CHECK(verdict.state == RecordState::unknown);
  CHECK(verdict.reason == lease_expired);
  CHECK(record->state == RecordState::inflight);
}

TEST_CASE("what a person resolved as executed is gone, for a ttl from then") {
  std::optional<Record> record = make_record("unknown");
  Operation resolve = make_operation(Command::resolve);
  resolve.executed = true;
  const Verdict verdict = apply(record, resolve, start + hours(2));
  CHECK(verdict.reason == resolved);
  CHECK(verdict.age == Milliseconds(0));
  CHECK(verdict.status == 0);
  CHECK(record->expires == start + hours(2) + ttl);
}

TEST_CASE("a record whose owner died is unknown if it was in flight") {
  for (const std::string state : {"inflight", "over"}) {
    Record record = *make_record(state);
    CHECK(owner_died(record));
    CHECK(record.state == RecordState::unknown);
    CHECK(record.reason == crash);
  }
  for (const std::string state : {"completed", "gone", "unknown", "revoked"}) {
    Record record = *make_record(state);
    const Record before = record;
    CHECK_FALSE(owner_died(record));
    CHECK(record == before);
  }
}

TEST_CASE("a footprint counts what can be long") {
  const Record empty;
  Record record;
  record.token = "12345";
  record.headers = "1234567";
  record.body = "123456789ab";
  record.reason = "123";
  CHECK(footprint(record) == footprint(empty) + 26);
  CHECK(footprint(empty) >= sizeof(Record));
}

TEST_CASE("every state, command and verdict has a name of its own") {
  std::set<std::string_view> names;
  for (int state = 0; state <= static_cast<int>(RecordState::revoked); ++state) {
    names.insert(name(static_cast<RecordState>(state)));
  }
  CHECK(names.size() == 5);
  names.clear();
  for (int command = 0; command <= static_cast<int>(Command::resolve); ++command) {
    names.insert(name(static_cast<Command>(command)));
  }
  CHECK(names.size() == 9);
  names.clear();
  for (int kind = 0; kind <= static_cast<int>(Kind::refused); ++kind) {
    names.insert(name(static_cast<Kind>(kind)));
  }
  CHECK(names.size() == 14);
  CHECK(names.count("") == 0);
}

// --- All short histories of two owners, a person, and the time. ---

struct Event {
  Operation operation;
  Milliseconds wait{};  // before it
};

std::vector<Event> alphabet() {
  std::vector<Event> events;
  for (const std::string token : {"a", "b"}) {
    for (const Command command : {Command::claim, Command::renew, Command::complete,
                                  Command::tombstone, Command::release, Command::mark_unknown}) {
      events.push_back({make_operation(command, token)});
    }
    events.push_back({make_operation(Command::claim, token)});
    events.back().operation.reexecute = true;
  }
  events.push_back({make_operation(Command::claim, "c")});
  events.back().operation.fingerprint = fingerprint_of("another");
  events.push_back({make_operation(Command::resolve)});
  events.push_back({make_operation(Command::resolve)});
  events.back().operation.executed = true;
  for (const Milliseconds wait : {lease, Milliseconds(revoked_for), ttl}) {
    events.push_back({make_operation(Command::peek), wait});
  }
  return events;
}

/// The state as anybody reads it.
std::string read_state(const std::optional<Record>& record, StoreTime now) {
  if (!record || record->expires <= now) return "-";
  if (record->state == RecordState::inflight && record->lease_until <= now) return "U";
  return letter(record);
}

bool is_owners(Command command) {
  return command == Command::renew || command == Command::complete ||
         command == Command::tombstone || command == Command::release ||
         command == Command::mark_unknown;
}

/// What must hold of one step, whatever came before it.
void check_step(const std::optional<Record>& before, const Operation& operation,
                const Verdict& verdict, const std::optional<Record>& after, StoreTime now) {
  static const std::map<Command, std::set<std::string>> legal{
      {Command::claim, {"-I", "RI", "UI"}},     {Command::peek, {}},
      {Command::renew, {"-I", "UI"}},           {Command::complete, {"-C", "IC", "UC"}},
      {Command::tombstone, {"-G", "IG", "UG"}}, {Command::release, {"-R", "IR", "UR"}},
      {Command::mark_unknown, {"IU"}},          {Command::resolve, {"U-", "UG"}}};
  const std::string from = read_state(before, now);
  const std::string to = read_state(after, now);
  const bool is_there = from != "-";
  const bool own = is_there && before->token == operation.token;
  bool ok = from == to || legal.at(operation.command).count(from + to) != 0;

  // Write-once.
  if (from == "C" || from == "G") ok = ok && after == before;
  // Fencing: another's token changes nothing.
  if (is_there && !own && is_owners(operation.command)) {
    ok = ok && after == before && verdict.kind == Kind::fenced;
  }
  // Nobody gets a key that somebody may be using, but by reexecution.
  if (verdict.kind == Kind::acquired) {
    const bool again = from == "I" || (from == "U" && before->state == RecordState::inflight);
    const bool taken_over =
        from == "U" && operation.reexecute && before->fingerprint == operation.fingerprint;
    ok = ok && (from == "-" || (from == "R" && !own) || (own && again) || taken_over);
    ok = ok && after->token == operation.token;
  }
  // A released token cannot come back.
  if (from == "R" && own) ok = ok && to == "R";
  // No early forgetting, and no expiry that slides.
  if (is_there && to != "-" && from != "R") {
    const bool begins_anew = from != to && (to == "C" || to == "G" || to == "R");
    const bool taken_over = verdict.kind == Kind::acquired && after->token != before->token;
    const bool reexecuted = verdict.kind == Kind::acquired && after->attempt > before->attempt;
    ok = ok && (after->expires == before->expires || begins_anew || taken_over || reexecuted);
  }
  if (ok) return;
  FAIL_CHECK(name(operation.command), " by ", operation.token, ": ", from, " -> ", to, ", ",
             name(verdict.kind));
}

void enumerate(const std::vector<Event>& events, const std::optional<Record>& record, StoreTime now,
               int length, std::size_t& steps) {
  if (length == 0) return;
  for (const Event& event : events) {
    const StoreTime then = now + event.wait;
    std::optional<Record> after = record;
    const Verdict verdict = apply(after, event.operation, then);
    check_step(record, event.operation, verdict, after, then);
    ++steps;
    enumerate(events, after, then, length - 1, steps);
  }
}

TEST_CASE("the invariants hold in every history of four events") {
  const std::vector<Event> events = alphabet();
  std::size_t steps = 0;
  enumerate(events, std::nullopt, start, 4, steps);
  std::size_t expected = 0;
  for (std::size_t length = 1, count = events.size(); length <= 4; ++length) {
    expected += count;
    count *= events.size();
  }
  CHECK(steps == expected);
}

}  // namespace
}  // namespace holdfast::policy
