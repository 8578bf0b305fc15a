#include "holdfast/store/sqlite_records.h"

#include <doctest/doctest.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

#include "tests/support/faulty_disk.h"
#include "tests/support/store_folder.h"

namespace holdfast::store {
namespace {

using policy::Milliseconds;
using policy::Record;
using policy::RecordState;
using policy::StoreTime;
using Failure = SqliteRecords::Failure;

Digest id_of(int number) {
  return Digester().field(std::to_string(number)).finish();
}

Record make_record(RecordState state) {
  Record record;
  record.state = state;
  record.token = std::string("to\0ken", 6);
  record.fingerprint = id_of(-1);
  record.attempt = 4'000'000'000;
  record.lease_until = StoreTime(Milliseconds(1'000));
  record.since = StoreTime(Milliseconds(500));
  record.expires = StoreTime(Milliseconds(9'000'000'000'000));
  if (policy::is_settled(record)) {
    record.status = 201;
    record.headers = "A: b\r\n";
  }
  if (state == RecordState::completed) record.body = std::string("\0\xff\r\n", 4);
  if (state == RecordState::gone || state == RecordState::unknown) record.reason = "truncated";
  return record;
}

constexpr RecordState all_states[] = {RecordState::inflight, RecordState::completed,
                                      RecordState::gone, RecordState::unknown,
                                      RecordState::revoked};

std::unique_ptr<SqliteRecords> opened(const std::string& path, Sync sync = Sync::normal) {
  auto records = SqliteRecords::open(path, sync);
  INFO((records ? "" : records.error()));
  REQUIRE(records);
  return *std::move(records);
}

std::string error_of_opening(const std::string& path) {
  const auto records = SqliteRecords::open(path, Sync::normal);
  REQUIRE_FALSE(records);
  return records.error();
}

void write_file(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

/// As another program would, while the store has it not.
void run_sql(const std::string& path, const std::string& sql) {
  sqlite3* connection = nullptr;
  REQUIRE(sqlite3_open(path.c_str(), &connection) == SQLITE_OK);
  CHECK(sqlite3_exec(connection, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK);
  sqlite3_close(connection);
}

void in_transaction(SqliteRecords& records, const std::function<void()>& write) {
  REQUIRE(records.begin());
  write();
  REQUIRE(records.commit());
}

Record load(SqliteRecords& records, const Digest& id) {
  const auto row = records.load(id, true);
  REQUIRE(row);
  REQUIRE(row->has_value());
  return (*row)->record;
}

bool exists(SqliteRecords& records, const Digest& id) {
  const auto row = records.load(id, false);
  REQUIRE(row);
  return row->has_value();
}

TEST_CASE("a record comes back as it was kept, also after a restart") {
  for (const Sync sync : {Sync::normal, Sync::full}) {
    const test::StoreFolder folder;
    {
      const auto records = opened(folder.file(), sync);
      in_transaction(*records, [&] {
        for (const RecordState state : all_states) {
          REQUIRE(records->insert(id_of(static_cast<int>(state)), make_record(state)));
        }
      });
    }
    const auto records = opened(folder.file(), sync);
    for (const RecordState state : all_states) {
      CHECK(load(*records, id_of(static_cast<int>(state))) == make_record(state));
    }
    CHECK_FALSE(exists(*records, id_of(99)));
    CHECK(records->latest_time() == StoreTime(Milliseconds(500)));
  }
}

TEST_CASE("every change is counted, and so it is after a restart") {
  const test::StoreFolder folder;
  std::uint64_t bytes = 0;
  {
    const auto records = opened(folder.file());
    in_transaction(*records, [&] {
      for (int number = 0; number < 3; ++number) {
        REQUIRE(records->insert(id_of(number), make_record(RecordState::inflight)));
      }
    });
    in_transaction(*records, [&] {
      const auto row = records->load(id_of(0), false);
      REQUIRE(records->update(**row, make_record(RecordState::completed)));
      const auto other = records->load(id_of(1), false);
      REQUIRE(records->remove(**other));
    });
    bytes = records->totals().bytes;
    CHECK(bytes == policy::footprint(make_record(RecordState::inflight)) +
                       policy::footprint(make_record(RecordState::completed)));
  }
  const auto records = opened(folder.file());
  CHECK(records->totals().bytes == bytes);
  StoreStats stats;
  records->totals().tell(stats);
  CHECK(stats.inflight == 1);
  CHECK(stats.completed == 1);
  CHECK(load(*records, id_of(0)) == make_record(RecordState::completed));
}

TEST_CASE("what is rolled back has not been") {
  const test::StoreFolder folder;
  const auto records = opened(folder.file());
  in_transaction(*records,
                 [&] { REQUIRE(records->insert(id_of(0), make_record(RecordState::inflight))); });
  const std::uint64_t bytes = records->totals().bytes;
  REQUIRE(records->begin());
  REQUIRE(records->insert(id_of(1), make_record(RecordState::gone)));
  REQUIRE(records->rollback());
  CHECK(records->rollback());  // without a transaction: nothing
  CHECK(records->totals().bytes == bytes);
  CHECK_FALSE(exists(*records, id_of(1)));
  CHECK(exists(*records, id_of(0)));
}

TEST_CASE("those that expired first are removed first, with their answers") {
  const test::StoreFolder folder;
  {
    const auto records = opened(folder.file());
    in_transaction(*records, [&] {
      for (const int number : {3, 1, 4, 0, 2}) {
        Record record = make_record(RecordState::completed);
        record.expires = StoreTime(Milliseconds(100 + number));
        REQUIRE(records->insert(id_of(number), record));
      }
    });
    in_transaction(*records, [&] {
      CHECK(records->may_have_expired(StoreTime(Milliseconds(99))));  // not known yet
      CHECK(*records->remove_expired(StoreTime(Milliseconds(99)), 9) == 0);
      CHECK_FALSE(records->may_have_expired(StoreTime(Milliseconds(99))));
      CHECK(*records->remove_expired(StoreTime(Milliseconds(103)), 3) == 3);
      for (const int number : {0, 1, 2}) CHECK_FALSE(exists(*records, id_of(number)));
      CHECK(*records->remove_expired(StoreTime(Milliseconds(103)), 3) == 1);
      CHECK(exists(*records, id_of(4)));
    });
  }
  run_sql(folder.file(),
          "CREATE TABLE one (c CHECK (c = 1)); "
          "INSERT INTO one SELECT count(*) FROM answers;");
}

TEST_CASE("what expires next is known after the first look, and never too late") {
  const test::StoreFolder folder;
  const auto records = opened(folder.file());
  const auto at = [](int time) { return StoreTime(Milliseconds(time)); };
  const auto insert = [&](int number, int expires) {
    Record record = make_record(RecordState::unknown);
    record.expires = at(expires);
    REQUIRE(records->insert(id_of(number), record));
  };
  in_transaction(*records, [&] {
    CHECK(*records->remove_expired(at(1), 9) == 0);
    CHECK_FALSE(records->may_have_expired(at(1'000'000)));  // there is nothing
    insert(0, 100);
    insert(1, 50);
    insert(2, 70);
    CHECK_FALSE(records->may_have_expired(at(49)));
    CHECK(records->may_have_expired(at(50)));
    CHECK(*records->remove_expired(at(60), 9) == 1);
    CHECK_FALSE(records->may_have_expired(at(69)));
  });
  REQUIRE(records->begin());
  CHECK(*records->remove_expired(at(80), 9) == 1);
  REQUIRE(records->rollback());
  in_transaction(*records, [&] { CHECK(*records->remove_expired(at(80), 9) == 1); });
}

TEST_CASE("what was in flight when its process died is unknown") {
  const test::StoreFolder folder;
  const auto records = opened(folder.file());
  in_transaction(*records, [&] {
    for (const RecordState state : all_states) {
      REQUIRE(records->insert(id_of(static_cast<int>(state)), make_record(state)));
    }
  });
  in_transaction(*records, [&] { CHECK(*records->mark_crashed() == 1); });
  for (const RecordState state : all_states) {
    Record expected = make_record(state);
    policy::owner_died(expected);
    CHECK(load(*records, id_of(static_cast<int>(state))) == expected);
  }
}

TEST_CASE("a file that cannot be the store is refused, and the text says why") {
  const test::StoreFolder folder;
  const std::string file = folder.file();
  SUBCASE("a text") {
    write_file(file, std::string(5000, 'x'));
    CHECK(error_of_opening(file) == file + ": not a database");
  }
  SUBCASE("a short text") {
    write_file(file, "hello");
    CHECK(error_of_opening(file) == file + ": not a database");
  }
  SUBCASE("another program's database") {
    run_sql(file, "CREATE TABLE t (c)");
    CHECK(error_of_opening(file) == file + ": another program's database");
  }
  SUBCASE("a later version") {
    opened(file);
    run_sql(file, "PRAGMA user_version = 3");
    CHECK(error_of_opening(file).find("another version of holdfast (schema 3") !=
          std::string::npos);
  }
  SUBCASE("no such folder") {
    CHECK(error_of_opening(folder.path() + "/none/x.db").find("No such file") != std::string::npos);
  }
  SUBCASE("a folder") {
    CHECK(error_of_opening(folder.path()).find("cannot be opened") != std::string::npos);
  }
  SUBCASE("a disk that is full") {
    test::FaultyDisk disk;
    disk.write_error = SQLITE_FULL;
    CHECK(error_of_opening(file).find("full") != std::string::npos);
  }
}

TEST_CASE("a file has one holder at a time") {
  const test::StoreFolder folder;
  auto records = opened(folder.file());
  const std::string text = folder.file() + ": the store is held by another process";
  CHECK(error_of_opening(folder.file()) == text);
  const pid_t child = ::fork();
  if (child == 0) {
    const auto second = SqliteRecords::open(folder.file(), Sync::normal);
    ::_exit(!second && second.error() == text ? 0 : 1);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  records.reset();
  CHECK(opened(folder.file()));
}

TEST_CASE("what a crash leaves beside the file does not matter") {
  const test::StoreFolder folder;
  {
    const auto records = opened(folder.file());
    in_transaction(
        *records, [&] { REQUIRE(records->insert(id_of(0), make_record(RecordState::completed))); });
  }
  for (const std::string suffix : {"-shm", "-wal", "-journal"}) {
    CAPTURE(suffix);
    write_file(folder.file() + suffix, std::string(10'000, '\x5a'));
    const auto records = opened(folder.file());
    CHECK(load(*records, id_of(0)) == make_record(RecordState::completed));
  }
}

TEST_CASE("only its owner reads the file and its log") {
  const test::StoreFolder folder;
  const auto records = opened(folder.file());
  in_transaction(*records,
                 [&] { REQUIRE(records->insert(id_of(0), make_record(RecordState::completed))); });
  for (const std::string suffix : {"", "-wal"}) {
    struct stat status {};
    REQUIRE(::stat((folder.file() + suffix).c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == 0600);
  }
}

/// The pages as they lie on the disk.
std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST_CASE("whatever bit the disk turns over, no record and no answer is another than it was") {
  const test::StoreFolder folder;
  const Record record = make_record(RecordState::completed);
  {
    const auto records = opened(folder.file());
    in_transaction(*records, [&] { REQUIRE(records->insert(id_of(0), record)); });
  }
  const std::string sound = read_file(folder.file());
  int refused = 0;
  int corrupt = 0;
  for (std::size_t at = 0; at < sound.size(); at += sound[at] == 0 ? 97 : 1) {
    CAPTURE(at);
    std::string damaged = sound;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    write_file(folder.file(), damaged);
    const auto records = SqliteRecords::open(folder.file(), Sync::normal);
    if (!records) {
      ++refused;
      continue;
    }
    const auto row = (*records)->load(id_of(0), true);
    if (!row) {
      ++corrupt;
      continue;
    }
    REQUIRE(*row);  // one that is not found would be run again
    CHECK((*row)->record == record);
  }
  CHECK(refused > 100);
  CHECK(corrupt > 50);
}

TEST_CASE("what is written into a file that is no longer there is not committed") {
  const test::StoreFolder folder;
  const auto records = opened(folder.file());
  int next = 0;
  const auto commit_one = [&] {
    REQUIRE(records->begin());
    REQUIRE(records->insert(id_of(next++), make_record(RecordState::completed)));
    return records->commit();
  };
  REQUIRE(commit_one());
  SUBCASE("removed") {
    std::filesystem::remove(folder.file());
  }
  SUBCASE("its log removed") {
    std::filesystem::remove(folder.file() + "-wal");
  }
  SUBCASE("replaced") {
    write_file(folder.file() + ".new", read_file(folder.file()));
    std::filesystem::rename(folder.file() + ".new", folder.file());
  }
  SUBCASE("cut short") {
    std::filesystem::resize_file(folder.file(), 0);
  }
  SUBCASE("with its folder") {
    std::filesystem::remove_all(folder.path());
  }
  const auto committed = commit_one();
  REQUIRE_FALSE(committed);
  CHECK(committed.error().kind == Failure::Kind::broken);
  CHECK(committed.error().text.find("removed, replaced or cut short") != std::string::npos);
  CHECK(records->rollback());
}

TEST_CASE("a record that cannot be read is corrupt, not absent; the others are read") {
  for (const std::string change : {"state = 5", "state = -1", "fingerprint = x'00'", "attempt = -1",
                                   "attempt = 1 << 32", "status = 1 << 31"}) {
    CAPTURE(change);
    const test::StoreFolder folder;
    {
      const auto records = opened(folder.file());
      in_transaction(*records, [&] {
        REQUIRE(records->insert(id_of(0), make_record(RecordState::inflight)));
        REQUIRE(records->insert(id_of(1), make_record(RecordState::inflight)));
      });
    }
    run_sql(folder.file(), "UPDATE records SET " + change + " WHERE number = 1");
    const auto records = opened(folder.file());
    const auto row = records->load(id_of(0), true);
    REQUIRE_FALSE(row);
    CHECK(row.error().kind == Failure::Kind::corrupt);
    CHECK(load(*records, id_of(1)) == make_record(RecordState::inflight));
    in_transaction(*records, [&] { CHECK(records->mark_crashed()); });
    CHECK(load(*records, id_of(1)).state == RecordState::unknown);
    in_transaction(*records, [&] {
      CHECK(*records->remove_expired(StoreTime::max(), 9) == 2);
      CHECK(records->totals().bytes == 0);
    });
  }
}

TEST_CASE("a record without its answer is corrupt for whoever wants that") {
  const test::StoreFolder folder;
  {
    const auto records = opened(folder.file());
    in_transaction(
        *records, [&] { REQUIRE(records->insert(id_of(0), make_record(RecordState::completed))); });
  }
  run_sql(folder.file(), "DELETE FROM answers");
  const auto records = opened(folder.file());
  CHECK(records->load(id_of(0), false));
  const auto row = records->load(id_of(0), true);
  REQUIRE_FALSE(row);
  CHECK(row.error().kind == Failure::Kind::corrupt);
}

TEST_CASE("a commit that fails leaves nothing, and says whether more may be tried") {
  struct Case {
    int error;
    bool of_sync;
    Failure::Kind kind;
  };
  for (const Case& each : {Case{SQLITE_FULL, false, Failure::Kind::no_space},
                           Case{SQLITE_IOERR_WRITE, false, Failure::Kind::broken},
                           Case{SQLITE_IOERR_FSYNC, true, Failure::Kind::broken}}) {
    CAPTURE(each.error);
    const test::StoreFolder folder;
    test::FaultyDisk disk;
    const auto records = opened(folder.file(), Sync::full);
    (each.of_sync ? disk.sync_error : disk.write_error) = each.error;
    REQUIRE(records->begin());
    REQUIRE(records->insert(id_of(0), make_record(RecordState::inflight)));
    const auto committed = records->commit();
    REQUIRE_FALSE(committed);
    CHECK(committed.error().kind == each.kind);
    CHECK(records->rollback());
    CHECK(records->totals().bytes == 0);
    disk.write_error = SQLITE_OK;
    disk.sync_error = SQLITE_OK;
    if (each.kind != Failure::Kind::no_space) continue;
    CHECK_FALSE(exists(*records, id_of(0)));
    in_transaction(*records,
                   [&] { REQUIRE(records->insert(id_of(0), make_record(RecordState::inflight))); });
  }
}

TEST_CASE("the log stays short") {
  const test::StoreFolder folder;
  const auto records = opened(folder.file());
  Record record = make_record(RecordState::completed);
  record.body.assign(100'000, 'x');
  for (int number = 0; number < 100; ++number) {
    in_transaction(*records, [&] { REQUIRE(records->insert(id_of(number), record)); });
    REQUIRE(records->checkpoint_if_due());
  }
  CHECK(std::filesystem::file_size(folder.file() + "-wal") < 2'000'000);
  CHECK(std::filesystem::file_size(folder.file()) > 8'000'000);
}

}  // namespace
}  // namespace holdfast::store
