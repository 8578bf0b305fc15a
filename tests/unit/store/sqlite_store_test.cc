#include "holdfast/store/sqlite_store.h"

#include <doctest/doctest.h>
#include <sqlite3.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/support/capture_file.h"
#include "tests/support/faulty_disk.h"
#include "tests/support/manual_clock.h"
#include "tests/support/store_conformance.h"
#include "tests/support/store_folder.h"

namespace holdfast::store {
namespace {

using test::Command;
using test::digest_of;
using test::fresh_id;
using test::long_time;
using test::make_operation;
using test::Operation;
using test::StoreDriver;
using test::StoreResult;
using test::StoreSubject;
using test::Verdict;
using ErrorKind = StoreError::Kind;

struct LocalFixture {
  LocalFixture() { options.timeout = std::chrono::seconds(10); }

  void open() {
    auto opened = LocalStore::open(options, clock, logger);
    INFO((opened ? "" : opened.error()));
    REQUIRE(opened);
    store = *std::move(opened);
  }
  void reopen() {
    store.reset();
    open();
  }
  StoreSubject subject() {
    if (!store) open();
    return {loop, *store, [this](policy::Milliseconds time) { clock.advance(time); }};
  }
  StoreResult apply(const Operation& operation) {
    StoreSubject own = subject();
    return StoreDriver(own).apply(operation);
  }
  Verdict verdict(const Operation& operation) {
    StoreSubject own = subject();
    return StoreDriver(own).verdict(operation);
  }
  ErrorKind error(const Operation& operation) {
    const StoreResult result = apply(operation);
    REQUIRE_FALSE(result);
    return result.error().kind;
  }

  test::StoreFolder folder;
  test::FaultyDisk disk;
  test::ManualClock clock;
  testing::CaptureFile log;
  LogSink sink{log.fd()};
  Logger logger{sink, LogLevel::error, LogFormat::text};
  StoreOptions options{.path = folder.file()};
  test::LoopFixture loop;
  std::unique_ptr<LocalStore> store;
};

TEST_CASE("the local store decides as the policy does") {
  LocalFixture fixture;
  StoreSubject subject = fixture.subject();
  SUBCASE("every transition") {
    test::check_every_transition(subject);
  }
  SUBCASE("payloads") {
    test::check_payloads(subject);
  }
  SUBCASE("random sequences") {
    test::check_random_sequences(subject);
  }
  SUBCASE("time") {
    test::check_time(subject);
  }
  SUBCASE("simultaneous claims") {
    test::check_simultaneous_claims(subject);
  }
  SUBCASE("cancelled waits") {
    test::check_cancelled_waits(subject);
  }
  SUBCASE("two loops") {
    test::check_two_loops(subject);
  }
  SUBCASE("closing") {
    test::check_closing_with_operations_on_the_way(subject);
  }
}

TEST_CASE("a full local store takes no new claim, and all else goes on") {
  LocalFixture fixture;
  fixture.options.max_bytes = test::bounded_bytes;
  StoreSubject subject = fixture.subject();
  test::check_full_store(subject);
}

TEST_CASE("a restart forgets nothing; what was in flight is unknown") {
  LocalFixture fixture;
  std::vector<Digest> ids;
  const std::vector<std::pair<Command, Verdict::Kind>> settings{
      {Command::renew, Verdict::Kind::unknown},
      {Command::complete, Verdict::Kind::completed},
      {Command::tombstone, Verdict::Kind::gone},
      {Command::mark_unknown, Verdict::Kind::unknown},
      {Command::release, Verdict::Kind::absent}};
  for (const auto& [command, after] : settings) {
    ids.push_back(fresh_id());
    fixture.verdict(make_operation(Command::claim, ids.back()));
    fixture.verdict(make_operation(command, ids.back()));
  }
  fixture.reopen();
  for (std::size_t i = 0; i < settings.size(); ++i) {
    CAPTURE(i);
    const Verdict verdict = fixture.verdict(make_operation(Command::peek, ids[i]));
    CHECK(verdict.kind == settings[i].second);
    if (settings[i].first == Command::renew) CHECK(verdict.reason == policy::crash);
    if (settings[i].first == Command::mark_unknown) CHECK(verdict.reason == "reset");
    if (settings[i].first == Command::complete) CHECK(verdict.body == "body of own");
  }
  // The owner's own delayed claim does not bring back what it released.
  CHECK(fixture.verdict(make_operation(Command::claim, ids.back())).kind == Verdict::Kind::revoked);
  // An owner that was thought dead (its answer comes late) heals the record.
  CHECK(fixture.verdict(make_operation(Command::complete, ids.front())).kind == Verdict::Kind::ok);
}

TEST_CASE("a wall clock that was set back only lengthens what is kept") {
  LocalFixture fixture;
  const Digest id = fresh_id();
  fixture.verdict(make_operation(Command::claim, id));
  fixture.verdict(make_operation(Command::complete, id));
  fixture.clock.set_wall(fixture.clock.wall_now() - std::chrono::hours(1000));
  fixture.reopen();
  const Operation peek = make_operation(Command::peek, id);
  CHECK(fixture.verdict(peek).age == policy::Milliseconds(0));
  fixture.clock.advance(2 * long_time - policy::Milliseconds(1));
  CHECK(fixture.verdict(peek).kind == Verdict::Kind::completed);
  fixture.clock.advance(policy::Milliseconds(1));
  CHECK(fixture.verdict(peek).kind == Verdict::Kind::absent);
}

TEST_CASE("time that passes while the store is closed counts") {
  LocalFixture fixture;
  const Operation claim = make_operation(Command::claim, fresh_id());
  fixture.verdict(claim);
  fixture.store.reset();
  fixture.clock.advance(claim.ttl);
  CHECK(fixture.verdict(make_operation(Command::peek, claim.id)).kind == Verdict::Kind::absent);
}

TEST_CASE("what has expired goes while the writer is idle") {
  LocalFixture fixture;
  for (int i = 0; i < 300; ++i) {
    const Digest id = fresh_id();
    fixture.verdict(make_operation(Command::claim, id));
    fixture.verdict(make_operation(Command::complete, id));
  }
  CHECK(fixture.store->stats().completed == 300);
  fixture.clock.advance(2 * long_time);
  CHECK(fixture.verdict(make_operation(Command::peek, fresh_id())).kind == Verdict::Kind::absent);
  fixture.loop.run_until([&] { return fixture.store->stats().completed == 0; });
  CHECK(fixture.store->stats().bytes == 0);
}

TEST_CASE("a disk that is full refuses what would change the file, until it has space again") {
  LocalFixture fixture;
  const Digest id = fresh_id();
  fixture.verdict(make_operation(Command::claim, id));
  fixture.verdict(make_operation(Command::complete, id));
  const std::uint64_t bytes = fixture.store->stats().bytes;
  const Operation claim = make_operation(Command::claim, fresh_id());

  fixture.disk.write_error = SQLITE_FULL;
  for (int i = 0; i < 3; ++i) CHECK(fixture.error(claim) == ErrorKind::refused);
  CHECK_FALSE(fixture.store->stats().up);
  CHECK(fixture.store->stats().bytes == bytes);
  // A replay needs no space.
  CHECK(fixture.verdict(make_operation(Command::claim, id, "foreign")).kind ==
        Verdict::Kind::completed);

  fixture.disk.write_error = SQLITE_OK;
  CHECK(fixture.verdict(claim).kind == Verdict::Kind::acquired);
  CHECK(fixture.store->stats().up);
}

TEST_CASE("after any other failure nothing is acknowledged until a restart") {
  struct Case {
    Sync sync;
    int write_error;
    int sync_error;
  };
  for (const Case& each : {Case{Sync::normal, SQLITE_IOERR_WRITE, SQLITE_OK},
                           Case{Sync::full, SQLITE_IOERR_WRITE, SQLITE_OK},
                           Case{Sync::full, SQLITE_OK, SQLITE_IOERR_FSYNC}}) {
    CAPTURE(each.write_error);
    LocalFixture fixture;
    fixture.options.sync = each.sync;
    const Operation kept = make_operation(Command::claim, fresh_id());
    fixture.verdict(kept);
    fixture.disk.write_error = each.write_error;
    fixture.disk.sync_error = each.sync_error;
    const Operation refused = make_operation(Command::claim, fresh_id());
    CHECK(fixture.error(refused) == ErrorKind::refused);
    CHECK_FALSE(fixture.store->stats().up);
    fixture.disk.write_error = SQLITE_OK;
    fixture.disk.sync_error = SQLITE_OK;
    CHECK(fixture.error(refused) == ErrorKind::unavailable);
    CHECK(fixture.error(make_operation(Command::peek, kept.id)) == ErrorKind::unavailable);
    fixture.reopen();
    CHECK(fixture.store->stats().up);
    CHECK(fixture.verdict(make_operation(Command::peek, kept.id)).reason == policy::crash);
  }
}

TEST_CASE("a log that cannot be copied into the database safely ends the acknowledgements") {
  LocalFixture fixture;
  fixture.open();
  fixture.disk.sync_error = SQLITE_IOERR_FSYNC;  // in normal mode only the copying waits for it
  Operation complete = make_operation(Command::complete, fresh_id());
  complete.body.assign(2u << 20, 'x');
  CHECK(fixture.verdict(complete).kind == Verdict::Kind::reasserted);
  fixture.loop.run_until([&] { return !fixture.store->stats().up; });
  CHECK(fixture.error(complete) == ErrorKind::unavailable);
}

TEST_CASE("a record that cannot be read is corrupt, and its key is nobody's") {
  LocalFixture fixture;
  const Operation claim = make_operation(Command::claim, fresh_id());
  const Operation other = make_operation(Command::claim, fresh_id());
  fixture.verdict(claim);
  fixture.verdict(other);
  fixture.store.reset();
  sqlite3* connection = nullptr;
  REQUIRE(sqlite3_open(fixture.options.path.c_str(), &connection) == SQLITE_OK);
  CHECK(sqlite3_exec(connection, "UPDATE records SET state = 9 WHERE number = 1", nullptr, nullptr,
                     nullptr) == SQLITE_OK);
  sqlite3_close(connection);

  for (const Command command : {Command::claim, Command::peek, Command::renew, Command::complete,
                                Command::tombstone, Command::release, Command::mark_unknown}) {
    CHECK(fixture.error(make_operation(command, claim.id)) == ErrorKind::corrupt);
  }
  CHECK(fixture.verdict(make_operation(Command::peek, other.id)).kind == Verdict::Kind::unknown);
  CHECK(fixture.store->stats().up);
}

TEST_CASE("a disk that hangs is an error in time, and the operation may still be made") {
  LocalFixture fixture;
  fixture.open();
  fixture.options.timeout = std::chrono::milliseconds(20);
  fixture.reopen();
  const Operation claim = make_operation(Command::claim, fresh_id());
  fixture.disk.hold();
  CHECK(fixture.error(claim) == ErrorKind::timeout);
  fixture.disk.release();
  fixture.options.timeout = std::chrono::seconds(10);
  fixture.reopen();
  CHECK(fixture.verdict(make_operation(Command::peek, claim.id)).kind == Verdict::Kind::unknown);
}

TEST_CASE("what would wait behind too much fails at once") {
  LocalFixture fixture;
  StoreSubject subject = fixture.subject();
  StoreDriver driver(subject);
  fixture.disk.hold();
  std::vector<StoreResult> results;
  runtime::Scope scope;
  const Operation first = make_operation(Command::claim, fresh_id());
  scope.spawn(test::claim_for(driver.store(), first, results));
  fixture.disk.wait_for_held_write();

  SUBCASE("too many operations") {
    const Operation peek = make_operation(Command::peek, fresh_id());
    for (std::size_t i = 0; i <= LocalStore::max_waiting; ++i) {
      scope.spawn(test::claim_for(driver.store(), peek, results));
    }
  }
  SUBCASE("too many bytes") {
    Operation complete = make_operation(Command::complete, fresh_id());
    complete.headers.clear();
    complete.body.assign(LocalStore::max_waiting_bytes / 4, 'x');
    for (int i = 0; i < 5; ++i) scope.spawn(test::claim_for(driver.store(), complete, results));
  }
  REQUIRE(results.size() == 1);
  REQUIRE_FALSE(results[0]);
  CHECK(results[0].error().kind == ErrorKind::unavailable);
  fixture.disk.release();
  fixture.loop.run_until([&] { return scope.empty(); });
  for (std::size_t i = 1; i < results.size(); ++i) REQUIRE(results[i]);
}

TEST_CASE("what waits for the disk together is written together") {
  LocalFixture fixture;
  fixture.options.sync = Sync::full;
  StoreSubject subject = fixture.subject();
  StoreDriver driver(subject);
  fixture.disk.hold();
  std::vector<Operation> claims;
  for (int i = 0; i < 65; ++i) claims.push_back(make_operation(Command::claim, fresh_id()));
  std::vector<StoreResult> results;
  runtime::Scope scope;
  scope.spawn(test::claim_for(driver.store(), claims.back(), results));
  fixture.disk.wait_for_held_write();
  claims.pop_back();
  for (const Operation& claim : claims) {
    scope.spawn(test::claim_for(driver.store(), claim, results));
  }
  fixture.disk.syncs = 0;
  fixture.disk.release();
  fixture.loop.run_until([&] { return scope.empty(); });
  CHECK(fixture.disk.syncs >= 1);
  CHECK(fixture.disk.syncs <= 6);  // of two transactions and the start of the log, not of 65
}

TEST_CASE("a second holder of the file is told so") {
  LocalFixture fixture;
  fixture.open();
  const auto second = LocalStore::open(fixture.options, fixture.clock, fixture.logger);
  REQUIRE_FALSE(second);
  CHECK(second.error() == fixture.options.path + ": the store is held by another process");
}

}  // namespace
}  // namespace holdfast::store
