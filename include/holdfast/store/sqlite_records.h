// SqliteRecords: idempotency records in one SQLite file: rows and transactions, no decisions.
//
// Contract
// - One connection, for one thread, in WAL mode. The file is locked as long as it is open, so that
//   no second connection, here or in another process, can be; the lock goes with the process.
// - Answers (headers, body) are in a table of their own: what is looked at often stays small.
// - Writing REQUIRES an open transaction. After a Failure of a transaction call rollback(); nothing
//   of it remains. Without commit() nothing is kept.
// - Sync::normal keeps what was committed through the death of the process, Sync::full through a
//   power cut.
// - The file is made readable for its owner only: it holds answers.
// - Records and answers have checksums: one that is not as it was written is corrupt. A file whose
//   structure is damaged is not opened.
// - A commit fails if the file or its log is no longer at its path, or was cut short by somebody:
//   what it wrote would be gone with the process.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "holdfast/base/digest.h"
#include "holdfast/base/result.h"
#include "holdfast/policy/idempotency.h"
#include "holdfast/store/record_totals.h"
#include "holdfast/store/store.h"

namespace holdfast::store {

class SqliteRecords {
 public:
  struct Failure {
    enum class Kind : std::uint8_t {
      corrupt,   // what was read is no record
      no_space,  // the disk is full; the file is as it was
      broken     // an input or output error: what is on the disk is not known
    };
    Kind kind = Kind::broken;
    std::string text;
  };
  struct Row {
    std::int64_t number = 0;
    Digest id{};
    policy::Record record;
  };

  /// Opens the file, or makes it. The error names the file and says what is wrong with it.
  static Result<std::unique_ptr<SqliteRecords>, std::string> open(const std::string& path,
                                                                  Sync sync);
  ~SqliteRecords();
  SqliteRecords(const SqliteRecords&) = delete;
  SqliteRecords& operator=(const SqliteRecords&) = delete;

  Result<void, Failure> begin();
  Result<void, Failure> commit();
  /// Nothing happens without an open transaction.
  Result<void, Failure> rollback();

  /// `with_answer`: the headers and the body of a settled record as well.
  Result<std::optional<Row>, Failure> load(const Digest& id, bool with_answer);
  Result<void, Failure> insert(const Digest& id, const policy::Record& record);
  /// REQUIRES: `row` as it was loaded, not settled. If `record` is, its answer is written.
  Result<void, Failure> update(const Row& row, const policy::Record& record);
  Result<void, Failure> remove(const Row& row);
  /// False: nothing has expired. It asks no file.
  bool may_have_expired(policy::StoreTime now) const;
  /// Removes at most `limit`, those that expired first; how many there were.
  Result<int, Failure> remove_expired(policy::StoreTime now, int limit);
  /// Every record whose owner died with the process that had the file before; how many.
  Result<int, Failure> mark_crashed();

  /// Copies what was committed from the log into the database if the log has become long.
  Result<void, Failure> checkpoint_if_due();

  /// Of all records, those of the open transaction included.
  const RecordTotals& totals() const;
  /// The latest time that a record tells: the file's clock was there already.
  policy::StoreTime latest_time() const;

 private:
  struct Impl;
  explicit SqliteRecords(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace holdfast::store
