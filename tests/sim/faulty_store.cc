#include "tests/sim/faulty_store.h"

#include <unistd.h>

#include <optional>
#include <utility>

namespace holdfast::sim {
namespace {

using store::StoreError;
using Answer = Result<policy::Verdict, StoreError>;

/// Nothing is logged: a store says at its beginning only that it forgets.
Logger& silent_logger() {
  static LogSink sink(STDERR_FILENO);
  static Logger logger(sink, LogLevel::error, LogFormat::text);
  return logger;
}

}  // namespace

/// A worker's way to the records.
class FaultyStore::Link final : public store::Store {
 public:
  Link(FaultyStore& owner, std::size_t replica) : owner_(owner), replica_(replica) {}

  runtime::Task<Answer> apply(const policy::Operation& operation) override {
    FaultyStore& owner = owner_;
    if (!owner.is_out()) owner.end_outage();  // after a pause, before its own moment runs
    if (owner.is_cut(replica_))
      co_return unexpected(StoreError{StoreError::Kind::unavailable, "cut"});
    const Fate fate = owner.draw_fate();
    if (fate.refused) co_return unexpected(StoreError{StoreError::Kind::refused, "as drawn"});
    if (fate.effect == Duration::zero() && fate.answer == Duration::zero()) {
      co_return owner.records_.apply(operation);
    }
    const auto answer = std::make_shared<std::optional<Answer>>();
    owner.world_.schedule(fate.effect, [&owner, replica = replica_, answer, operation] {
      *answer = owner.is_cut(replica) ? unexpected(StoreError{StoreError::Kind::unavailable, "cut"})
                                      : owner.records_.apply(operation);
    });
    const TimePoint wake = after(owner.world_.now(), std::min(fate.answer, store_timeout));
    co_await runtime::sleep_until(owner.world_.context().timers, wake);
    const bool in_time = fate.answer <= store_timeout && answer->has_value();
    if (!in_time) co_return unexpected(StoreError{StoreError::Kind::timeout, "no answer in time"});
    co_return std::move(**answer);
  }

 private:
  FaultyStore& owner_;
  const std::size_t replica_;
};

FaultyStore::FaultyStore(test::World& world, const Scenario& scenario, Ledger& ledger)
    : world_(world),
      scenario_(scenario),
      ledger_(ledger),
      chance_(scenario.seed ^ 0x5eed0002),
      records_(scenario.store_bytes, world.context().clock, silent_logger()),
      cut_until_(scenario.replicas, TimePoint::min()) {}

std::unique_ptr<store::Store> FaultyStore::open(std::size_t replica) {
  return std::make_unique<Link>(*this, replica);
}

FaultyStore::Fate FaultyStore::draw_fate() {
  Fate fate;
  if (calm_) return fate;
  const StoreFaults& faults = scenario_.store;
  if (chance_.percent(faults.slow_percent)) {
    fate.effect = chance_.between(0ms, 25ms);
    fate.answer = fate.effect + chance_.between(1us, 25ms);
  }
  if (chance_.percent(faults.late_percent)) {
    fate.effect = chance_.between(0us, latest);
    fate.answer = 2 * store_timeout;
  } else if (chance_.percent(faults.lost_percent)) {
    fate.answer = 2 * store_timeout;
  }
  fate.refused = chance_.percent(faults.refused_percent);
  return fate;
}

void FaultyStore::cut_for(Duration duration) {
  out_until_ = std::max(out_until_, after(world_.now(), duration));
  if (!outage_) ledger_.add({.kind = testing::Event::Kind::outage_begins});
  outage_ = true;
  world_.schedule(duration, [this] {
    if (!is_out()) end_outage();
  });
}

void FaultyStore::cut_one_for(std::size_t replica, Duration duration) {
  ledger_.note("the store is cut off from replica " + std::to_string(replica));
  cut_until_[replica] = std::max(cut_until_[replica], after(world_.now(), duration));
}

void FaultyStore::end_outage() {
  if (outage_) ledger_.add({.kind = testing::Event::Kind::outage_ends});
  outage_ = false;
}

void FaultyStore::calm() {
  calm_ = true;
  out_until_ = TimePoint::min();
  cut_until_.assign(cut_until_.size(), TimePoint::min());
  end_outage();
}

}  // namespace holdfast::sim
