// Execution: one keyed request being run at most once. It claims the key, sends the request, keeps
// the lease, records what came of it, and tells whoever waits. It belongs to its worker's
// Executions, not to the client it began for: when that client leaves, or has been told to come
// back, the execution goes on, detached, up to max_execution.
//
//   claim      the key is ours, or somebody has used it: then the store's verdict is the outcome
//   execute    attempts (proxy/attempts.h) with a Keeper's rules
//   record     completed, gone, unknown or released: acknowledged by the store, or failed, before
//              the client gets a byte of the answer
//
// Invariants (idempotency §1, §7): nothing is sent before the claim was acknowledged, nor after it
// has aged past half its lease without a renewal; a key is released only if nothing was sent or the
// upstream refused; an answer that the store did not take is never released, it is told again.
//
// Contract: single-threaded, a worker's. An Exchange holds at most one Execution and gives it back
// by leave(); an Execution ends by itself and is freed when it has ended and was left.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "holdfast/http/request_copy.h"
#include "holdfast/policy/idempotency.h"
#include "holdfast/proxy/attempts.h"
#include "holdfast/proxy/key_board.h"
#include "holdfast/runtime/scope.h"
#include "holdfast/store/store.h"

namespace holdfast::proxy {

class Executions;

/// What a keyed request is, when its body is complete.
struct KeyedRequest {
  Digest id{};
  Digest fingerprint{};
  bool generated = false;  // the key is ours: auto_ttl
  bool no_room = false;    // too many executions go on without their clients: no claim is made
  bool peek_only = false;  // no claim may be made: why, in `refusal`
  std::optional<Error> refusal;
  std::optional<Duration> retry_after;  // of the refusal
};

class Execution final : private Keeper {
 public:
  /// How it ended, for the client it began for.
  enum class Outcome : std::uint8_t {
    running,
    verdict,       // the key is not ours: verdict()
    store_failed,  // store_error(): nothing was sent
    answered,      // response(): head in attempts().outcome(), body in body()
    streaming,     // the head is there, and body() so far; the client reads the rest itself
    not_sent,      // attempts().outcome().error; the key is free again
    unknown,       // sent, and no answer that can be trusted; reason()
    truncated,     // the answer broke off; the record is gone
    shutdown       // sent, and the process ends: unknown
  };

  Execution(Executions& executions, Generation& generation, const RouteState& route,
            const Outgoing& outgoing, const KeyedRequest& keyed, std::string body,
            std::optional<Duration> client_deadline, TimePoint started);
  ~Execution() override;

  Outcome outcome() const { return outcome_; }
  const policy::Verdict& verdict() const { return verdict_; }
  const store::StoreError& store_error() const { return *store_error_; }
  Attempts& attempts() { return *attempts_; }
  const Attempts& attempts() const { return *attempts_; }
  bool has_attempts() const { return attempts_.has_value(); }
  const std::string& body() const { return answer_body_; }
  /// True if body() is all of it.
  bool body_complete() const { return answer_complete_; }
  /// The request's body, for who asks again or goes on without the key. REQUIRES: nothing was sent.
  std::string take_request_body() { return body_.take(); }
  /// Of unknown and shutdown.
  std::string_view reason() const { return reason_; }
  /// Of not_sent.
  const Error& refusal() const;
  std::optional<Duration> retry_after() const;
  /// The answer is with the client or will be, but the store has not taken it.
  bool unrecorded() const { return unrecorded_; }
  /// The upstream refused, and the key is free again.
  bool released() const { return released_; }
  bool claimed() const { return claimed_; }

  /// When the client shall be told that the request is still being executed; `never` until it is
  /// sent.
  TimePoint pending_at();
  /// Given from the loop whenever something of the above has changed.
  runtime::Signal& changed() { return changed_.signal(); }

 private:
  friend class Executions;

  runtime::Task<void> run();
  runtime::Task<void> claim();
  runtime::Task<void> peek();
  runtime::Task<void> execute();
  runtime::Task<void> take_answer();
  runtime::Task<void> record_answer();
  runtime::Task<void> commit_later();
  runtime::Task<void> keep_lease();
  runtime::Task<Result<bool, store::StoreError>> renew();
  runtime::Task<void> release(std::string_view reason);
  runtime::Task<void> mark_unknown(std::string_view reason);
  runtime::Task<void> bury(std::string_view reason);
  runtime::Task<void> revoke();
  /// Instead of run(), when the process ends.
  runtime::Task<void> abandon();
  runtime::Task<void> give_up_key();

  runtime::Task<Result<void, Error>> may_send() override;
  void sent() override;

  policy::Operation operation(policy::Command command) const;
  policy::Operation completion(policy::Command command) const;
  policy::Operation tombstone(std::string_view reason) const;
  std::shared_ptr<const SharedAnswer> shared_answer() const;
  /// Earlier than this: it was claimed of an owner whose outcome nobody knows.
  bool may_have_run() const { return attempt_ > 1; }
  void settle(Outcome outcome);
  void let_go();
  void tell(KeyEvent::Kind kind, std::string_view reason = {}) const;
  Services& services() const;
  TimePoint now() const;

  Executions& executions_;
  Generation& generation_;
  const RouteState& route_;
  const RoutePin route_pin_;
  const policy::IdempotencyOptions& options_;
  const http::RequestCopy head_;
  const std::string request_id_;
  const std::string client_ip_;
  const std::string client_certificate_;
  Outgoing outgoing_;
  const KeyedRequest keyed_;
  RequestBody body_;
  const std::optional<Duration> client_deadline_;
  const TimePoint started_;
  const std::string token_;
  const std::string short_id_;

  std::optional<Attempts> attempts_;
  Outcome outcome_ = Outcome::running;
  policy::Verdict verdict_;
  std::optional<store::StoreError> store_error_;
  std::string answer_headers_;  // http/stored_head.h
  std::string answer_body_;
  std::string_view reason_;
  std::optional<Error> refusal_;           // where it is not the attempts'
  std::optional<policy::Operation> owed_;  // what the store is told until it listens
  TimePoint claimed_at_{};
  std::uint32_t attempt_ = 1;
  bool claimed_ = false;
  bool released_ = false;
  bool announced_ = false;  // to the board, that this gives the key back
  bool answer_complete_ = false;
  bool fenced_ = false;
  bool yields_ = false;  // the key is being given up: no renewal may follow that
  bool unrecorded_ = false;
  bool client_present_ = true;
  bool ended_ = false;
  runtime::DeferredSignal changed_;
  runtime::Scope::Entry* entry_ = nullptr;
};

/// All executions of one worker.
class Executions {
 public:
  /// `replica` is unique to this worker of this process: the beginning of every token.
  Executions(Services& services, store::Store& store, KeyBoard& board, std::string replica);
  Executions(const Executions&) = delete;
  Executions& operator=(const Executions&) = delete;
  /// Cancels what still runs: the records stay as they are.
  ~Executions();

  /// Starts one for the client of `outgoing`.
  Execution& begin(Generation& generation, const RouteState& route, const Outgoing& outgoing,
                   const KeyedRequest& keyed, std::string body,
                   std::optional<Duration> client_deadline, TimePoint started);
  /// The client has its answer, or has gone. Not from within the execution.
  void leave(Execution& execution);

  /// From now on nothing is claimed.
  void drain() { draining_ = true; }
  bool draining() const { return draining_; }
  /// False while too many go on without their clients.
  bool has_room() const {
    return board_.detached.load(std::memory_order_relaxed) < KeyBoard::max_detached;
  }
  /// Ends all: what was sent becomes unknown (reason "shutdown"), what was not is released.
  void shut_down();
  /// Those that have not ended.
  std::size_t running() const { return running_; }
  /// Called on the loop whenever the last one that ran has ended.
  void on_idle(std::function<void()> function) { on_idle_ = std::move(function); }

  /// Asks the store, and tells the Observer how that went.
  runtime::Task<Result<policy::Verdict, store::StoreError>> ask(const policy::Operation& operation);
  KeyBoard& board() { return board_; }

 private:
  friend class Execution;
  std::string new_token();
  void ended(Execution& execution);
  void count_detached(int change);
  void sweep();

  /// Sweeps at the loop's next turn.
  class Sweeper final : private runtime::Timer {
   public:
    explicit Sweeper(Executions& executions) : executions_(executions) {}
    void soon() {
      runtime::Context& context = executions_.services_.context;
      if (!armed()) context.timers.arm(*this, context.now());
    }

   private:
    void fire() override { executions_.sweep(); }
    Executions& executions_;
  };

  Services& services_;
  store::Store& store_;
  KeyBoard& board_;
  const std::string replica_;
  std::uint64_t next_token_ = 0;
  bool draining_ = false;
  std::size_t running_ = 0;
  std::function<void()> on_idle_;
  std::list<std::unique_ptr<Execution>> all_;
  Sweeper sweeper_;
  runtime::Scope scope_;
};

}  // namespace holdfast::proxy
