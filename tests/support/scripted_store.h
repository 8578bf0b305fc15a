// ScriptedStore: a store in virtual time whose answers a test may dictate, one by one: late, lost,
// an error, never. What nobody dictates policy::apply decides, as in every store.
//
// Contract: single-threaded, on the loop of its world. Every operation that was asked is kept, in
// order. A scripted answer is for one operation of its command; `down` is for all, until it is
// taken back.
#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "holdfast/store/store.h"
#include "tests/support/fake_network.h"

namespace holdfast::test {

/// What becomes of one operation.
struct StoreAnswer {
  /// Whether, and when, the store does what it is asked: as soon as that comes, or, even if nobody
  /// waits any more, when it answers.
  enum class Effect : std::uint8_t { none, first, last } effect = Effect::first;
  Duration delay{};
  bool never = false;  // no answer
  std::optional<store::StoreError::Kind> error = std::nullopt;
};

class ScriptedStore final : public store::Store {
 public:
  using Kind = store::StoreError::Kind;
  using Effect = StoreAnswer::Effect;

  explicit ScriptedStore(World& world) : world_(world) {}

  // -- answers
  static StoreAnswer late(Duration delay) { return {.delay = delay}; }
  static StoreAnswer slow(Duration delay) { return {.effect = Effect::last, .delay = delay}; }
  static StoreAnswer fails(Kind kind, Duration delay = {}) {
    return {.effect = Effect::none, .delay = delay, .error = kind};
  }
  /// The store does it, and nobody hears of that.
  static StoreAnswer lost(Duration delay = {}) { return {.delay = delay, .error = Kind::timeout}; }
  static StoreAnswer silent() { return {.never = true}; }

  /// The next operation of this command; several are taken in order.
  void script(policy::Command command, StoreAnswer answer) { script_[command].push_back(answer); }
  /// What becomes of every operation that has no answer of its own.
  StoreAnswer otherwise;
  void goes_down(Kind kind = Kind::unavailable) { otherwise = fails(kind); }
  void comes_up() {
    otherwise = {};
    script_.clear();
  }

  // -- what others do: an operator, a worker of another process
  policy::Verdict apply_now(const policy::Operation& operation) {
    return policy::apply(records_[operation.id], operation, store_now());
  }
  /// The record is another claim's from now on.
  void fence(const Digest& id) { records_[id]->token = "another"; }

  // -- what is there
  std::optional<policy::Record> record(const Digest& id) {
    std::optional<policy::Record>& kept = records_[id];
    if (kept && kept->expires <= store_now()) kept.reset();
    return kept;
  }
  /// Its state in a word: "absent", or as policy::name; "expired" where a lease has run out.
  std::string state(const Digest& id) {
    const std::optional<policy::Record> found = record(id);
    if (!found) return "absent";
    const bool over = found->lease_until <= store_now();
    if (found->state == policy::RecordState::inflight && over) return "expired";
    return std::string(policy::name(found->state));
  }
  std::vector<policy::Operation> asked;
  /// How often this was asked.
  std::ptrdiff_t count(policy::Command command) const {
    return std::ranges::count(asked, command, &policy::Operation::command);
  }

  runtime::Task<Result<policy::Verdict, store::StoreError>> apply(
      const policy::Operation& operation) override {
    asked.push_back(operation);
    const StoreAnswer answer = next(operation.command);
    const auto verdict = std::make_shared<std::optional<policy::Verdict>>();
    const auto carry_out = [this, verdict, operation] {
      if (!*verdict) *verdict = apply_now(operation);
    };
    if (answer.effect == Effect::first) carry_out();
    if (answer.effect == Effect::last) world_.schedule(answer.delay, carry_out);
    const TimePoint at = answer.never ? never : after(world_.now(), answer.delay);
    runtime::Signal nothing;
    if (at > world_.now()) co_await runtime::wait_for(nothing, world_.context().timers, at);
    if (answer.error) co_return unexpected(store::StoreError{*answer.error, "as scripted"});
    carry_out();
    co_return **verdict;
  }

 private:
  StoreAnswer next(policy::Command command) {
    std::deque<StoreAnswer>& answers = script_[command];
    if (answers.empty()) return otherwise;
    const StoreAnswer answer = answers.front();
    answers.pop_front();
    return answer;
  }
  policy::StoreTime store_now() const {
    return policy::StoreTime(
        std::chrono::floor<policy::Milliseconds>(world_.now().time_since_epoch()));
  }

  World& world_;
  std::map<policy::Command, std::deque<StoreAnswer>> script_;
  std::map<Digest, std::optional<policy::Record>> records_;
};

}  // namespace holdfast::test
