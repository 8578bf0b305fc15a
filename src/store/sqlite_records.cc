#include "holdfast/store/sqlite_records.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <string_view>
#include <utility>
#include <vector>

#include "holdfast/base/assert.h"
#include "holdfast/store/file_place.h"
#include "holdfast/store/record_checksum.h"

namespace holdfast::store {
namespace {

using Failure = SqliteRecords::Failure;
using policy::Milliseconds;
using policy::Record;
using policy::RecordState;
using policy::StoreTime;

// A longer log makes every commit faster but the copying of it, which one commit waits for, slower.
constexpr int checkpoint_pages = 250;

constexpr std::int64_t schema_version = 2;
constexpr std::int64_t application_id = 0x686f6c64;  // "hold"

constexpr const char* schema = R"(
  CREATE TABLE records (
    number INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    state INTEGER NOT NULL,
    token BLOB NOT NULL,
    fingerprint BLOB NOT NULL,
    attempt INTEGER NOT NULL,
    lease_until INTEGER NOT NULL,
    since INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    status INTEGER NOT NULL,
    reason BLOB NOT NULL,
    size INTEGER NOT NULL,
    checksum BLOB NOT NULL
  ) STRICT;
  CREATE INDEX records_by_expiry ON records (expires);
  CREATE TABLE answers (
    record INTEGER PRIMARY KEY,
    headers BLOB NOT NULL,
    body BLOB NOT NULL,
    checksum BLOB NOT NULL
  ) STRICT;
  PRAGMA application_id = 1752132708;
  PRAGMA user_version = 2;
)";
static_assert(application_id == 1752132708 && schema_version == 2);

std::int64_t to_number(StoreTime time) {
  return time.time_since_epoch().count();
}

StoreTime to_time(std::int64_t number) {
  return StoreTime(Milliseconds(number));
}

Failure failure(sqlite3* connection, int code) {
  Failure result;
  switch (code & 0xff) {
    case SQLITE_FULL:
      result.kind = Failure::Kind::no_space;
      break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      result.kind = Failure::Kind::corrupt;
      break;
    default:
      result.kind = Failure::Kind::broken;
  }
  int error = sqlite3_system_errno(connection);
  if (error == 0 && (code & 0xff) == SQLITE_IOERR) error = errno;  // not kept of a commit
  // A write that the quota refused has changed nothing, like one that the disk had no room for.
  if (code == SQLITE_IOERR_WRITE && error == EDQUOT) result.kind = Failure::Kind::no_space;
  result.text = sqlite3_errmsg(connection);
  if (error != 0) result.text += std::string(" (") + std::strerror(error) + ")";
  return result;
}

/// A prepared statement. Bind, run or step, read; it is made ready for the next use by reset().
class Statement {
 public:
  Statement(sqlite3* connection, const char* sql) : connection_(connection) {
    code_ =
        sqlite3_prepare_v3(connection, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement_, nullptr);
  }
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  Statement& bind(std::int64_t value) {
    code_ = code_ != SQLITE_OK ? code_ : sqlite3_bind_int64(statement_, ++bound_, value);
    return *this;
  }
  /// The bytes must stay until reset().
  Statement& bind(std::string_view bytes) {
    if (code_ != SQLITE_OK) return *this;
    ++bound_;
    code_ = bytes.empty() ? sqlite3_bind_zeroblob(statement_, bound_, 0)
                          : sqlite3_bind_blob64(statement_, bound_, bytes.data(), bytes.size(),
                                                SQLITE_STATIC);
    return *this;
  }
  Statement& bind_copy(const Checksum& checksum) {
    code_ = code_ != SQLITE_OK ? code_
                               : sqlite3_bind_blob64(statement_, ++bound_, checksum.data(),
                                                     checksum.size(), SQLITE_TRANSIENT);
    return *this;
  }

  /// True: there is a row.
  Result<bool, Failure> step() {
    errno = 0;
    if (code_ == SQLITE_OK) code_ = sqlite3_step(statement_);
    const int code = std::exchange(code_, SQLITE_OK);
    if (code == SQLITE_ROW || code == SQLITE_DONE) return code == SQLITE_ROW;
    Failure failed = failure(connection_, code);
    reset();
    return unexpected(std::move(failed));
  }
  /// For what has no rows.
  Result<void, Failure> run() {
    const auto stepped = step();
    reset();
    if (!stepped) return unexpected(stepped.error());
    return {};
  }
  void reset() {
    bound_ = 0;
    if (statement_ != nullptr) sqlite3_reset(statement_);
  }

  bool is_null(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }
  std::int64_t number(int column) const { return sqlite3_column_int64(statement_, column); }
  std::string_view bytes(int column) const {
    const auto* data = static_cast<const char*>(sqlite3_column_blob(statement_, column));
    return {data, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
  }

 private:
  sqlite3* connection_;
  sqlite3_stmt* statement_ = nullptr;
  int code_ = SQLITE_OK;
  int bound_ = 0;
};

/// Resets a statement at the end of a scope that reads its rows.
class Reading {
 public:
  explicit Reading(Statement& statement) : statement_(statement) {}
  ~Reading() { statement_.reset(); }
  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;

 private:
  Statement& statement_;
};

Result<void, Failure> execute(sqlite3* connection, const char* sql) {
  const int code = sqlite3_exec(connection, sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return unexpected(failure(connection, code));
  return {};
}

template <class Integer>
bool is_within(std::int64_t value) {
  return value >= std::numeric_limits<Integer>::min() &&
         value <= std::numeric_limits<Integer>::max();
}

bool is_state(std::int64_t value) {
  return value >= 0 && value <= static_cast<std::int64_t>(RecordState::revoked);
}

/// What a row counts as. One that cannot be read counts as unknown, which is how it must be
/// treated.
struct Share {
  Share(std::int64_t a_state, std::int64_t a_size)
      : state(is_state(a_state) ? static_cast<RecordState>(a_state) : RecordState::unknown),
        size(static_cast<std::uint64_t>(std::max<std::int64_t>(a_size, 0))) {}
  RecordState state;
  std::uint64_t size;
};

struct Connection {
  ~Connection() { sqlite3_close(handle); }
  sqlite3* handle = nullptr;
};

}  // namespace

struct SqliteRecords::Impl {
  Impl(const std::string& path, std::unique_ptr<Connection> opened)
      : connection(std::move(opened)),
        database(path),
        log(path + "-wal"),
        begin(connection->handle, "BEGIN IMMEDIATE"),
        commit(connection->handle, "COMMIT"),
        rollback(connection->handle, "ROLLBACK"),
        load(connection->handle,
             "SELECT number, state, token, fingerprint, attempt, lease_until, since, expires, "
             "status, reason, size, checksum FROM records WHERE id = ?"),
        load_answer(connection->handle,
                    "SELECT headers, body, checksum FROM answers WHERE record = ?"),
        insert(connection->handle,
               "INSERT INTO records (state, token, fingerprint, attempt, lease_until, since, "
               "expires, status, reason, size, checksum, id) "
               "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"),
        insert_answer(connection->handle,
                      "INSERT INTO answers (record, headers, body, checksum) VALUES (?, ?, ?, ?)"),
        update(connection->handle,
               "UPDATE records SET state = ?, token = ?, fingerprint = ?, attempt = ?, "
               "lease_until = ?, since = ?, expires = ?, status = ?, reason = ?, size = ?, "
               "checksum = ? WHERE number = ?"),
        remove(connection->handle, "DELETE FROM records WHERE number = ? RETURNING state, size"),
        remove_answer(connection->handle, "DELETE FROM answers WHERE record = ?"),
        expired(connection->handle,
                "SELECT number FROM records WHERE expires <= ? ORDER BY expires LIMIT ?"),
        in_flight(connection->handle, "SELECT id FROM records WHERE state = ?") {
    sqlite3_wal_hook(connection->handle, &Impl::on_commit, this);
  }

  static int on_commit(void* self, sqlite3*, const char*, int pages) {
    static_cast<Impl*>(self)->log_pages = pages;
    return SQLITE_OK;
  }

  Result<void, Failure> read_totals();
  Result<Row, Failure> read_row(const Digest& id);
  Result<void, Failure> read_answer(Row& row);
  static void bind_record(Statement& statement, const Digest& id, const Record& record);
  Result<void, Failure> write_answer(std::int64_t number, const Digest& id, const Record& record);
  Result<void, Failure> remove_row(std::int64_t number);

  std::unique_ptr<Connection> connection;
  FilePlace database;
  FilePlace log;
  Statement begin;
  Statement commit;
  Statement rollback;
  Statement load;
  Statement load_answer;
  Statement insert;
  Statement insert_answer;
  Statement update;
  Statement remove;
  Statement remove_answer;
  Statement expired;
  Statement in_flight;

  bool in_transaction = false;
  RecordTotals totals;
  RecordTotals totals_before;  // the transaction
  StoreTime latest{};
  // Nothing expires before it; it may be too early and never too late. Nearly every question for
  // what has expired is answered by it.
  StoreTime next_expiry = StoreTime::min();
  int log_pages = 0;
};

namespace {

/// The value of a PRAGMA or of any question with one number for an answer.
Result<std::int64_t, Failure> ask(sqlite3* connection, const char* sql) {
  Statement statement(connection, sql);
  const auto row = statement.step();
  if (!row) return unexpected(row.error());
  return *row ? statement.number(0) : 0;
}

std::string describe(const std::string& path, sqlite3* connection, int code) {
  switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return path + ": the store is held by another process";
    case SQLITE_NOTADB:
      return path + ": not a database";
    default:
      return path + ": the store cannot be opened: " + failure(connection, code).text;
  }
}

/// Makes an empty file that only its owner can read; SQLite gives its log the same mode. A file
/// that is there already is not opened: to close it again would drop this process's locks on it.
void make_private(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file >= 0) ::close(file);
}

/// Locks the file for as long as it is open, and chooses how it is written.
Result<void, std::string> prepare(const std::string& path, sqlite3* connection, Sync sync) {
  // EXCLUSIVE before the first access: then the log's index is in memory, and there is no -shm
  // file.
  const std::string pragmas =
      std::string("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;") +
      "PRAGMA wal_autocheckpoint = 0; PRAGMA temp_store = MEMORY; PRAGMA synchronous = " +
      (sync == Sync::full ? "FULL;" : "NORMAL;") + "BEGIN EXCLUSIVE; COMMIT;";
  const int code = sqlite3_exec(connection, pragmas.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return unexpected(describe(path, connection, code));
  return {};
}

Result<void, std::string> check_schema(const std::string& path, sqlite3* connection) {
  const auto version = ask(connection, "PRAGMA user_version");
  const auto application = ask(connection, "PRAGMA application_id");
  const auto tables = ask(connection, "SELECT count(*) FROM sqlite_schema");
  for (const auto* answer : {&version, &application, &tables}) {
    if (!*answer) return unexpected(path + ": the store cannot be read: " + answer->error().text);
  }
  if (*tables == 0 && *version == 0) {
    const auto made = execute(connection, (std::string("BEGIN;") + schema + "COMMIT;").c_str());
    if (!made) return unexpected(path + ": the store cannot be written: " + made.error().text);
    return {};
  }
  if (*application != application_id) return unexpected(path + ": another program's database");
  if (*version != schema_version) {
    return unexpected(path + ": written by another version of holdfast (schema " +
                      std::to_string(*version) + ", this one knows " +
                      std::to_string(schema_version) + ")");
  }
  return {};
}

/// A damaged tree or index could hide a record, and a key that is hidden would be run again.
Result<void, std::string> check_structure(const std::string& path, sqlite3* connection) {
  Statement statement(connection, "PRAGMA integrity_check(1)");
  const auto row = statement.step();
  if (!row) return unexpected(path + ": the store cannot be read: " + row.error().text);
  const std::string_view verdict = *row ? statement.bytes(0) : std::string_view();
  if (verdict == "ok") return {};
  return unexpected(
      path + ": the store is damaged, and keys in it may not be found: " + std::string(verdict));
}

}  // namespace

Result<std::unique_ptr<SqliteRecords>, std::string> SqliteRecords::open(const std::string& path,
                                                                        Sync sync) {
  make_private(path);
  auto connection = std::make_unique<Connection>();
  constexpr int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  const int code = sqlite3_open_v2(path.c_str(), &connection->handle, flags, nullptr);
  if (code != SQLITE_OK) return unexpected(describe(path, connection->handle, code));
  sqlite3_extended_result_codes(connection->handle, 1);
  if (auto prepared = prepare(path, connection->handle, sync); !prepared) {
    return unexpected(prepared.error());
  }
  if (auto checked = check_schema(path, connection->handle); !checked) {
    return unexpected(checked.error());
  }
  if (auto sound = check_structure(path, connection->handle); !sound) {
    return unexpected(sound.error());
  }
  auto impl = std::make_unique<Impl>(path, std::move(connection));
  if (auto read = impl->read_totals(); !read) {
    return unexpected(path + ": the store cannot be read: " + read.error().text);
  }
  return std::unique_ptr<SqliteRecords>(new SqliteRecords(std::move(impl)));
}

SqliteRecords::SqliteRecords(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SqliteRecords::~SqliteRecords() = default;

Result<void, Failure> SqliteRecords::begin() {
  HOLDFAST_ASSERT(!impl_->in_transaction);
  auto begun = impl_->begin.run();
  impl_->in_transaction = begun.has_value();
  impl_->totals_before = impl_->totals;
  return begun;
}

Result<void, Failure> SqliteRecords::commit() {
  if (auto committed = impl_->commit.run(); !committed) return committed;
  impl_->in_transaction = false;
  for (FilePlace* place : {&impl_->database, &impl_->log}) {
    if (place->is_as_it_was()) continue;
    return unexpected(
        Failure{Failure::Kind::broken, place->path() + " was removed, replaced or cut short"});
  }
  return {};
}

Result<void, Failure> SqliteRecords::rollback() {
  if (!std::exchange(impl_->in_transaction, false)) return {};
  impl_->totals = impl_->totals_before;
  impl_->next_expiry = StoreTime::min();  // what was removed is there again
  const bool undone_already = sqlite3_get_autocommit(impl_->connection->handle) != 0;
  if (undone_already) return {};  // SQLite does so itself after some errors
  return impl_->rollback.run();
}

Result<std::optional<SqliteRecords::Row>, Failure> SqliteRecords::load(const Digest& id,
                                                                       bool with_answer) {
  const Reading reading(impl_->load);
  const auto found = impl_->load.bind(bytes_of(id)).step();
  if (!found) return unexpected(found.error());
  if (!*found) return std::optional<Row>();
  auto row = impl_->read_row(id);
  if (!row) return unexpected(row.error());
  if (with_answer && policy::is_settled(row->record)) {
    const auto read = impl_->read_answer(*row);
    if (!read) return unexpected(read.error());
  }
  return std::optional<Row>(*std::move(row));
}

Result<void, Failure> SqliteRecords::insert(const Digest& id, const Record& record) {
  Impl::bind_record(impl_->insert, id, record);
  if (auto inserted = impl_->insert.bind(bytes_of(id)).run(); !inserted) return inserted;
  impl_->totals.add(record.state, policy::footprint(record));
  impl_->next_expiry = std::min(impl_->next_expiry, record.expires);
  return impl_->write_answer(sqlite3_last_insert_rowid(impl_->connection->handle), id, record);
}

Result<void, Failure> SqliteRecords::update(const Row& row, const Record& record) {
  HOLDFAST_ASSERT(!policy::is_settled(row.record));
  Impl::bind_record(impl_->update, row.id, record);
  if (auto updated = impl_->update.bind(row.number).run(); !updated) return updated;
  impl_->totals.remove(row.record.state, policy::footprint(row.record));
  impl_->totals.add(record.state, policy::footprint(record));
  impl_->next_expiry = std::min(impl_->next_expiry, record.expires);
  return impl_->write_answer(row.number, row.id, record);
}

Result<void, Failure> SqliteRecords::remove(const Row& row) {
  return impl_->remove_row(row.number);
}

bool SqliteRecords::may_have_expired(StoreTime now) const {
  return now >= impl_->next_expiry;
}

Result<int, Failure> SqliteRecords::remove_expired(StoreTime now, int limit) {
  if (!may_have_expired(now)) return 0;
  std::vector<std::int64_t> numbers;
  {
    const Reading reading(impl_->expired);
    impl_->expired.bind(to_number(now)).bind(limit);
    for (;;) {
      const auto row = impl_->expired.step();
      if (!row) return unexpected(row.error());
      if (!*row) break;
      numbers.push_back(impl_->expired.number(0));
    }
  }
  for (const std::int64_t number : numbers) {
    if (auto removed = impl_->remove_row(number); !removed) return unexpected(removed.error());
  }
  const auto next = ask(impl_->connection->handle,
                        "SELECT coalesce(min(expires), 9223372036854775807) FROM records");
  if (!next) return unexpected(next.error());
  impl_->next_expiry = to_time(*next);
  return static_cast<int>(numbers.size());
}

Result<int, Failure> SqliteRecords::mark_crashed() {
  std::vector<Digest> ids;
  {
    const Reading reading(impl_->in_flight);
    impl_->in_flight.bind(static_cast<std::int64_t>(RecordState::inflight));
    for (;;) {
      const auto row = impl_->in_flight.step();
      if (!row) return unexpected(row.error());
      if (!*row) break;
      const std::string_view bytes = impl_->in_flight.bytes(0);
      std::copy_n(bytes.begin(), std::min(bytes.size(), Digest().size()),
                  ids.emplace_back().begin());
    }
  }
  for (const Digest& id : ids) {
    const auto row = load(id, false);
    // What cannot be read stays so until it expires: nobody gets its key.
    if (!row && row.error().kind == Failure::Kind::corrupt) continue;
    if (!row) return unexpected(row.error());
    if (!*row) continue;
    Record record = (*row)->record;
    policy::owner_died(record);
    if (auto updated = update(**row, record); !updated) return unexpected(updated.error());
  }
  return static_cast<int>(ids.size());
}

Result<void, Failure> SqliteRecords::checkpoint_if_due() {
  if (impl_->log_pages < checkpoint_pages) return {};
  sqlite3* const connection = impl_->connection->handle;
  const int code =
      sqlite3_wal_checkpoint_v2(connection, nullptr, SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
  if (code != SQLITE_OK) return unexpected(failure(connection, code));
  impl_->log_pages = 0;
  return {};
}

const RecordTotals& SqliteRecords::totals() const {
  return impl_->totals;
}

StoreTime SqliteRecords::latest_time() const {
  return impl_->latest;
}

Result<void, Failure> SqliteRecords::Impl::read_totals() {
  Statement statement(connection->handle, "SELECT state, size, since FROM records");
  for (;;) {
    const auto row = statement.step();
    if (!row) return unexpected(row.error());
    if (!*row) return {};
    const Share share(statement.number(0), statement.number(1));
    totals.add(share.state, share.size);
    latest = std::max(latest, to_time(statement.number(2)));
  }
}

Result<SqliteRecords::Row, Failure> SqliteRecords::Impl::read_row(const Digest& id) {
  Row row;
  row.id = id;
  const std::int64_t state = load.number(1);
  const std::string_view fingerprint = load.bytes(3);
  const std::int64_t attempt = load.number(4);
  const std::int64_t status = load.number(8);
  if (!is_state(state) || fingerprint.size() != row.record.fingerprint.size() ||
      !is_within<std::uint32_t>(attempt) || !is_within<int>(status)) {
    return unexpected(Failure{Failure::Kind::corrupt, "a record cannot be read"});
  }
  row.number = load.number(0);
  row.record.state = static_cast<RecordState>(state);
  row.record.token = load.bytes(2);
  std::copy_n(fingerprint.begin(), fingerprint.size(), row.record.fingerprint.begin());
  row.record.attempt = static_cast<std::uint32_t>(attempt);
  row.record.lease_until = to_time(load.number(5));
  row.record.since = to_time(load.number(6));
  row.record.expires = to_time(load.number(7));
  row.record.status = static_cast<int>(status);
  row.record.reason = load.bytes(9);
  if (load.bytes(11) != text_of(checksum_of_record(id, row.record, load.number(10)))) {
    return unexpected(Failure{Failure::Kind::corrupt, "a record is not as it was written"});
  }
  return row;
}

Result<void, Failure> SqliteRecords::Impl::read_answer(Row& row) {
  const Reading reading(load_answer);
  const auto found = load_answer.bind(row.number).step();
  if (!found) return unexpected(found.error());
  if (!*found) return unexpected(Failure{Failure::Kind::corrupt, "a record has lost its answer"});
  row.record.headers = load_answer.bytes(0);
  row.record.body = load_answer.bytes(1);
  if (load_answer.bytes(2) != text_of(checksum_of_answer(row.id, row.record))) {
    return unexpected(Failure{Failure::Kind::corrupt, "an answer is not as it was written"});
  }
  return {};
}

void SqliteRecords::Impl::bind_record(Statement& statement, const Digest& id,
                                      const Record& record) {
  const auto size = static_cast<std::int64_t>(policy::footprint(record));
  statement.bind(static_cast<std::int64_t>(record.state))
      .bind(record.token)
      .bind(bytes_of(record.fingerprint))
      .bind(record.attempt)
      .bind(to_number(record.lease_until))
      .bind(to_number(record.since))
      .bind(to_number(record.expires))
      .bind(record.status)
      .bind(record.reason)
      .bind(size)
      .bind_copy(checksum_of_record(id, record, size));
}

Result<void, Failure> SqliteRecords::Impl::write_answer(std::int64_t number, const Digest& id,
                                                        const Record& record) {
  if (!policy::is_settled(record)) return {};
  insert_answer.bind(number).bind(record.headers).bind(record.body);
  return insert_answer.bind_copy(checksum_of_answer(id, record)).run();
}

Result<void, Failure> SqliteRecords::Impl::remove_row(std::int64_t number) {
  {
    const Reading reading(remove);
    const auto found = remove.bind(number).step();
    if (!found) return unexpected(found.error());
    HOLDFAST_ASSERT(*found);
    const Share share(remove.number(0), remove.number(1));
    totals.remove(share.state, share.size);
  }
  return remove_answer.bind(number).run();
}

}  // namespace holdfast::store
