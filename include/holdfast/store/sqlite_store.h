// LocalStore: idempotency records in a file of this machine (store/sqlite_records.h), written by
// one thread of its own.
//
// Contract
// - Group commit: the writer takes what has come in during the last commit as one transaction, and
//   answers when that is committed. An answer is never ahead of the disk.
// - A transaction that fails is an error (`refused`) to everybody in it, and leaves nothing. After
//   one that failed for another reason than a full disk nobody knows what the file holds: nothing
//   more is acknowledged until a restart has read it again (`unavailable`; stats().up is false).
// - An operation that is not answered within `timeout` ends with that error; it may still be
//   applied afterwards. So it is with one whose task is cancelled.
// - The file is of one process at a time; open() says so to a second. What was in flight when the
//   process before died is unknown ("crash").
// - Expired records go before a claim or a completion is refused for want of room, with each
//   transaction at least as many as it can add, and the rest when the writer has nothing to do.
// Limits: max_bytes of footprints; max_batch operations or max_batch_bytes in a transaction;
// max_waiting operations or max_waiting_bytes before the writer, then `unavailable`.
// Ownership: `clock` and `logger` outlive the store; a Store opened of it goes before it.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "holdfast/base/clock.h"
#include "holdfast/base/log.h"
#include "holdfast/store/sqlite_records.h"
#include "holdfast/store/store.h"
#include "holdfast/store/store_clock.h"

namespace holdfast::store {

class LocalStore final : public StoreBackend {
 public:
  static Result<std::unique_ptr<LocalStore>, std::string> open(const StoreOptions& options,
                                                               const Clock& clock, Logger& logger);
  /// Applies what was handed over, then closes the file.
  ~LocalStore() override;

  std::unique_ptr<Store> open(runtime::Context& context, net::Connector& connector,
                              net::Resolver& resolver) override;
  StoreStats stats() override;

  static constexpr std::size_t max_batch = 128;
  static constexpr std::size_t max_batch_bytes = 4u << 20;
  static constexpr std::size_t max_waiting = 16'384;
  static constexpr std::size_t max_waiting_bytes = 64u << 20;

 private:
  friend class LocalClient;
  class Mailbox;
  using Answer = Result<policy::Verdict, StoreError>;
  using Failure = SqliteRecords::Failure;
  struct Job {
    policy::Operation operation;
    std::shared_ptr<Mailbox> mailbox;  // shared: its loop may be gone before the answer comes
    std::uint64_t number = 0;
  };

  LocalStore(const StoreOptions& options, const Clock& clock, Logger& logger,
             std::unique_ptr<SqliteRecords> records);

  /// From any thread: hands an operation to the writer, or says why not.
  Result<void, StoreError> submit(Job job);

  // The writer's.
  void run();
  bool take_batch(std::vector<Job>& batch);
  bool is_idle();
  bool is_broken();
  void process(const std::vector<Job>& batch);
  static void refuse(const std::vector<Job>& batch, const StoreError& error);
  Result<std::vector<Answer>, Failure> apply_all(const std::vector<Job>& batch);
  Result<Answer, Failure> apply(const policy::Operation& operation, policy::StoreTime now);
  Result<void, Failure> save(const Digest& id, const std::optional<SqliteRecords::Row>& row,
                             const std::optional<policy::Record>& record);
  Result<bool, Failure> make_room(std::size_t growth, policy::StoreTime now);
  Result<int, Failure> remove_expired(int limit);
  void tidy_up();
  void succeeded();
  void failed(const Failure& failure);

  const StoreOptions options_;
  Logger& logger_;
  std::unique_ptr<SqliteRecords> records_;
  StoreClock clock_;

  std::mutex mutex_;  // of what follows
  std::condition_variable work_;
  std::deque<Job> waiting_;
  std::size_t waiting_bytes_ = 0;
  bool stopping_ = false;
  bool broken_ = false;  // until a restart
  StoreStats stats_;

  std::thread writer_;
};

}  // namespace holdfast::store
