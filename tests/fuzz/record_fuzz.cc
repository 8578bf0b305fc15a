// Records in the SQLite file: what was put in comes out, whatever its fields hold.
#include <unistd.h>

#include <memory>
#include <string>

#include "holdfast/store/sqlite_records.h"
#include "tests/fuzz/fuzz.h"

namespace holdfast::fuzz {
namespace {

/// One file for the whole run, in memory where the machine has such a folder, gone at the end.
struct File {
  File() : path("/dev/shm/holdfast-fuzz-" + std::to_string(getpid()) + ".db") {
    auto opened = store::SqliteRecords::open(path, store::Sync::normal);
    promise(opened.has_value(), "the file can be made");
    records = std::move(*opened);
  }
  ~File() {
    records.reset();
    for (const char* end : {"", "-wal", "-shm"}) unlink((path + end).c_str());
  }

  const std::string path;
  std::unique_ptr<store::SqliteRecords> records;
};

policy::Record record_of(Input& input) {
  policy::Record record;
  record.state = static_cast<policy::RecordState>(input.byte() % 5);
  record.attempt = 1u + input.byte();
  record.status = 200 + input.byte();
  for (std::uint8_t& byte : record.fingerprint) byte = input.byte();
  record.since = policy::StoreTime(policy::Milliseconds(input.byte() * 1000));
  record.expires = record.since + std::chrono::hours(input.byte());
  record.token = input.line();
  record.reason = input.line();
  // Only what is settled has an answer.
  if (policy::is_settled(record)) record.headers = input.line();
  if (record.state == policy::RecordState::completed) record.body = input.rest();
  return record;
}

}  // namespace
}  // namespace holdfast::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace holdfast;
  using namespace holdfast::fuzz;
  static const File file;
  store::SqliteRecords& records = *file.records;
  Input input(data, size);
  const policy::Record record = record_of(input);
  const Digest id{input.byte()};

  promise(records.begin().has_value(), "a transaction begins");
  promise(records.insert(id, record).has_value(), "a record is put in");
  const auto loaded = records.load(id, true);
  promise(loaded.has_value() && loaded->has_value(), "it is found");
  promise((*loaded)->record == record, "it is as it was");
  promise(records.remove(**loaded).has_value(), "it can be taken out");
  promise(records.rollback().has_value(), "a transaction is given up");
  return 0;
}
