#include "holdfast/store/sqlite_store.h"

#include <system_error>
#include <unordered_map>
#include <utility>

#include "holdfast/base/assert.h"

namespace holdfast::store {

using policy::Command;
using policy::Operation;
using policy::Record;
using policy::StoreTime;
using policy::Verdict;

namespace {

constexpr int idle_sweep = 64;  // expired records removed at a time by a writer with nothing to do

std::size_t payload(const Operation& operation) {
  return operation.headers.size() + operation.body.size();
}

StoreError broken() {
  return {StoreError::Kind::unavailable, "the file failed; a restart reads it again"};
}

bool reads_answer(Command command) {
  return command == Command::claim || command == Command::peek || command == Command::inspect;
}

}  // namespace

// Where the writer leaves its answers for the tasks of one loop. put() is the writer's; the rest is
// for the loop's thread.
class LocalStore::Mailbox : public std::enable_shared_from_this<Mailbox> {
 public:
  /// One task that waits. It is forgotten with its frame; an answer that comes later finds nobody.
  class Wait {
   public:
    explicit Wait(Mailbox& mailbox) : mailbox_(mailbox), number_(++mailbox.last_number_) {
      mailbox_.waits_.emplace(number_, this);
    }
    ~Wait() { mailbox_.waits_.erase(number_); }
    Wait(const Wait&) = delete;
    Wait& operator=(const Wait&) = delete;

    std::uint64_t number() const { return number_; }
    runtime::Signal answered;
    std::optional<Answer> answer;

   private:
    Mailbox& mailbox_;
    const std::uint64_t number_;
  };

  explicit Mailbox(runtime::Context& context) : context_(&context) {}

  /// The loop may go: nothing more is posted to it.
  void close() {
    const std::lock_guard lock(mutex_);
    context_ = nullptr;
  }

  void put(std::uint64_t number, Answer answer) {
    const std::lock_guard lock(mutex_);
    if (context_ == nullptr) return;
    answers_.emplace_back(number, std::move(answer));
    if (answers_.size() > 1) return;  // the delivery that is on its way takes this one along
    context_->post([self = shared_from_this()] { self->deliver(); });
  }

 private:
  void deliver() {
    std::vector<std::pair<std::uint64_t, Answer>> answers;
    {
      const std::lock_guard lock(mutex_);
      answers.swap(answers_);
    }
    for (auto& [number, answer] : answers) {
      const auto found = waits_.find(number);  // each time: a task that goes on may end others
      if (found == waits_.end()) continue;
      found->second->answer = std::move(answer);
      found->second->answered.notify();
    }
  }

  std::unordered_map<std::uint64_t, Wait*> waits_;
  std::uint64_t last_number_ = 0;

  std::mutex mutex_;
  runtime::Context* context_;
  std::vector<std::pair<std::uint64_t, Answer>> answers_;
};

class LocalClient final : public Store {
 public:
  LocalClient(LocalStore& store, runtime::Context& context)
      : store_(store),
        context_(context),
        mailbox_(std::make_shared<LocalStore::Mailbox>(context)) {}
  ~LocalClient() override { mailbox_->close(); }

  runtime::Task<Result<Verdict, StoreError>> apply(const Operation& operation) override {
    LocalStore::Mailbox::Wait wait(*mailbox_);
    const auto submitted = store_.submit({operation, mailbox_, wait.number()});
    if (!submitted) co_return unexpected(submitted.error());
    const TimePoint deadline = after(context_.now(), store_.options_.timeout);
    const bool in_time = co_await runtime::wait_for(wait.answered, context_.timers, deadline);
    if (!in_time) co_return unexpected(StoreError{StoreError::Kind::timeout, "the disk is slow"});
    co_return *std::move(wait.answer);
  }

 private:
  LocalStore& store_;
  runtime::Context& context_;
  std::shared_ptr<LocalStore::Mailbox> mailbox_;
};

Result<std::unique_ptr<LocalStore>, std::string> LocalStore::open(const StoreOptions& options,
                                                                  const Clock& clock,
                                                                  Logger& logger) {
  auto records = SqliteRecords::open(options.path, options.sync);
  if (!records) return unexpected(records.error());
  SqliteRecords& file = **records;
  auto begun = file.begin();
  auto crashed = begun ? file.mark_crashed() : Result<int, Failure>(unexpected(begun.error()));
  auto committed = crashed ? file.commit() : Result<void, Failure>(unexpected(crashed.error()));
  if (!committed) {
    return unexpected(options.path + ": the store cannot be written: " + committed.error().text);
  }
  logger.log(LogLevel::info,
             "idempotency keys are kept in a local file: other replicas do not know them",
             {{"store", options.path}, {"unknown_after_crash", *crashed}});
  try {
    return std::unique_ptr<LocalStore>(new LocalStore(options, clock, logger, *std::move(records)));
  } catch (const std::system_error& error) {  // of its thread
    return unexpected(options.path + ": no thread for the store: " + error.code().message());
  }
}

LocalStore::LocalStore(const StoreOptions& options, const Clock& clock, Logger& logger,
                       std::unique_ptr<SqliteRecords> records)
    : options_(options),
      logger_(logger),
      records_(std::move(records)),
      clock_(clock, records_->latest_time()) {
  records_->totals().tell(stats_);
  writer_ = std::thread([this] { run(); });
}

LocalStore::~LocalStore() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_.notify_one();
  writer_.join();
}

std::unique_ptr<Store> LocalStore::open(runtime::Context& context, net::Connector&,
                                        net::Resolver&) {
  return std::make_unique<LocalClient>(*this, context);
}

StoreStats LocalStore::stats() {
  const std::lock_guard lock(mutex_);
  return stats_;
}

Result<void, StoreError> LocalStore::submit(Job job) {
  const std::lock_guard lock(mutex_);
  if (broken_) return unexpected(broken());
  const std::size_t bytes = waiting_bytes_ + payload(job.operation);
  if (waiting_.size() >= max_waiting || bytes > max_waiting_bytes) {
    return unexpected(
        StoreError{StoreError::Kind::unavailable, "too many operations wait for the disk"});
  }
  waiting_bytes_ = bytes;
  waiting_.push_back(std::move(job));
  work_.notify_one();
  return {};
}

void LocalStore::run() {
  std::vector<Job> batch;
  while (take_batch(batch)) {
    process(batch);
    batch.clear();
    tidy_up();
  }
}

/// Waits for work; false when there is none and there will be none.
bool LocalStore::take_batch(std::vector<Job>& batch) {
  std::unique_lock lock(mutex_);
  work_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
  std::size_t bytes = 0;
  while (!waiting_.empty() && batch.size() < max_batch && bytes < max_batch_bytes) {
    bytes += payload(waiting_.front().operation);
    batch.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
  waiting_bytes_ -= bytes;
  return !batch.empty();
}

bool LocalStore::is_idle() {
  const std::lock_guard lock(mutex_);
  return !stopping_ && !broken_ && waiting_.empty();
}

bool LocalStore::is_broken() {
  const std::lock_guard lock(mutex_);
  return broken_;
}

void LocalStore::process(const std::vector<Job>& batch) {
  if (is_broken()) return refuse(batch, broken());
  auto answers = apply_all(batch);
  if (!answers) {
    failed(answers.error());
    return refuse(batch, {StoreError::Kind::refused, answers.error().text});
  }
  succeeded();
  for (std::size_t i = 0; i < batch.size(); ++i) {
    batch[i].mailbox->put(batch[i].number, std::move(answers->at(i)));
  }
}

void LocalStore::refuse(const std::vector<Job>& batch, const StoreError& error) {
  for (const Job& job : batch) job.mailbox->put(job.number, unexpected(error));
}

/// The whole batch in one transaction, or nothing of it.
Result<std::vector<LocalStore::Answer>, LocalStore::Failure> LocalStore::apply_all(
    const std::vector<Job>& batch) {
  const StoreTime now = clock_.now();
  std::vector<Answer> answers;
  if (auto begun = records_->begin(); !begun) return unexpected(begun.error());
  for (const Job& job : batch) {
    auto answer = apply(job.operation, now);
    if (!answer) return unexpected(answer.error());
    answers.push_back(*std::move(answer));
  }
  const int twice_what_it_adds = 2 * static_cast<int>(batch.size());
  const auto removed = records_->remove_expired(now, twice_what_it_adds);
  if (!removed) return unexpected(removed.error());
  if (auto committed = records_->commit(); !committed) return unexpected(committed.error());
  return answers;
}

/// An Answer that is an error has changed nothing; a Failure ends the transaction.
Result<LocalStore::Answer, LocalStore::Failure> LocalStore::apply(const Operation& operation,
                                                                  StoreTime now) {
  auto row = records_->load(operation.id, reads_answer(operation.command));
  if (!row && row.error().kind == Failure::Kind::corrupt) {
    return Answer(unexpected(StoreError{StoreError::Kind::corrupt, row.error().text}));
  }
  if (!row) return unexpected(row.error());
  if (*row && (*row)->record.expires <= now) {
    // Now rather than with the others, which may have to go before this one's successor is written.
    if (auto removed = records_->remove(**row); !removed) return unexpected(removed.error());
    row->reset();
  }
  std::optional<Record> record;
  if (*row) record = (*row)->record;
  Verdict verdict = policy::apply(record, operation, now);
  if (*row && policy::is_settled((*row)->record)) return Answer(std::move(verdict));

  const std::size_t size_before = *row ? policy::footprint((*row)->record) : 0;
  const std::size_t size = record ? policy::footprint(*record) : 0;
  if (size > size_before && may_be_refused(operation.command)) {
    const auto room = make_room(size - size_before, now);
    if (!room) return unexpected(room.error());
    if (!*room) {
      return Answer(
          unexpected(StoreError{StoreError::Kind::full, "the store's max_bytes are used up"}));
    }
  }
  if (auto saved = save(operation.id, *row, record); !saved) return unexpected(saved.error());
  return Answer(std::move(verdict));
}

Result<void, LocalStore::Failure> LocalStore::save(const Digest& id,
                                                   const std::optional<SqliteRecords::Row>& row,
                                                   const std::optional<Record>& record) {
  if (!row && !record) return {};
  if (!row) return records_->insert(id, *record);
  if (!record) return records_->remove(*row);
  if (row->record == *record) return {};
  return records_->update(*row, *record);
}

Result<bool, LocalStore::Failure> LocalStore::make_room(std::size_t growth, StoreTime now) {
  const auto fits = [&] { return records_->totals().bytes + growth <= options_.max_bytes; };
  while (!fits()) {
    const auto removed = records_->remove_expired(now, idle_sweep);
    if (!removed) return unexpected(removed.error());
    if (*removed == 0) return false;
  }
  return true;
}

/// What can wait until the batch has its answers: the log, and what has expired.
void LocalStore::tidy_up() {
  if (is_broken()) return;
  auto copied = records_->checkpoint_if_due();
  // Without space for the copy the log has it still, and tells those that it has no space for.
  if (!copied && copied.error().kind != Failure::Kind::no_space) failed(copied.error());
  while (is_idle() && records_->may_have_expired(clock_.now())) {
    const auto removed = remove_expired(idle_sweep);
    if (!removed) failed(removed.error());
    if (!removed || *removed == 0) return;
    succeeded();
  }
}

Result<int, LocalStore::Failure> LocalStore::remove_expired(int limit) {
  if (auto begun = records_->begin(); !begun) return unexpected(begun.error());
  const auto removed = records_->remove_expired(clock_.now(), limit);
  if (!removed) return unexpected(removed.error());
  if (auto committed = records_->commit(); !committed) return unexpected(committed.error());
  return *removed;
}

void LocalStore::succeeded() {
  const std::lock_guard lock(mutex_);
  records_->totals().tell(stats_);
  if (broken_ || stats_.up) return;
  stats_.up = true;
  logger_.log(LogLevel::info, "the store works again", {{"store", options_.path}});
}

void LocalStore::failed(const Failure& failure) {
  const bool undone = records_->rollback().has_value();
  const std::lock_guard lock(mutex_);
  const bool was_up = std::exchange(stats_.up, false);
  const bool was_broken = broken_;
  if (!undone || failure.kind != Failure::Kind::no_space) broken_ = true;
  if (!was_up && was_broken == broken_) return;  // said already
  logger_.log(LogLevel::error,
              broken_ ? "the store failed and acknowledges nothing more until a restart"
                      : "the store has no space on its disk",
              {{"store", options_.path}, {"error", failure.text}});
}

}  // namespace holdfast::store
