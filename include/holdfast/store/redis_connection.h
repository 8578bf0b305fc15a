// RedisConnection: one connection to a Redis, shared by everybody on a loop. Commands are sent as
// they come, without waiting for each other; the replies, which come in the same order, go to who
// asked.
//
// Invariant: a reply never answers another command than its own. So whoever gives up waiting leaves
// his place in the line (his reply is read and dropped), and a command that is not answered in time
// ends the connection.
//
// Contract: single-threaded. It ends by close(), a time-out, the peer, or bytes that are no reply;
// then every command in flight fails (it may have been carried out), as do later ones, and `ended`
// is given. Commands of one turn of the loop go out in one write. The destructor closes; it and
// close() may run on the stack of whoever awaits call().
// Limits: max_in_flight commands, max_unsent bytes that the kernel has not taken; beyond them a
// command fails at once. Replies are bounded by RedisReader.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "holdfast/base/result.h"
#include "holdfast/net/stream.h"
#include "holdfast/runtime/context.h"
#include "holdfast/runtime/task.h"
#include "holdfast/runtime/timers.h"
#include "holdfast/store/redis_codec.h"
#include "holdfast/store/store.h"

namespace holdfast::store {

class RedisConnection {
 public:
  static constexpr std::size_t max_in_flight = 16'384;
  static constexpr std::size_t max_unsent = 64u << 20;

  /// `ended` outlives it.
  RedisConnection(runtime::Context& context, std::unique_ptr<net::Stream> stream,
                  runtime::DeferredSignal& ended);
  ~RedisConnection();
  RedisConnection(const RedisConnection&) = delete;
  RedisConnection& operator=(const RedisConnection&) = delete;

  /// Sends a command when the task is started, and waits for its reply (which may be an error of
  /// Redis). `words` need not outlive the start.
  runtime::Task<Result<RedisReply, StoreError>> call(std::span<const std::string_view> words,
                                                     TimePoint deadline);

  bool usable() const { return !failure_; }
  /// Why it ended. REQUIRES: !usable().
  const StoreError& failure() const { return *failure_; }
  void close(StoreError reason);

 private:
  class Place;

  runtime::Task<void> read();
  runtime::Task<void> write();
  bool take_replies();
  void fail(StoreError reason);

  runtime::Context& context_;
  runtime::DeferredSignal& ended_;
  std::unique_ptr<net::Stream> stream_;
  RedisReader reader_;
  std::string unsent_;
  std::string sending_;
  runtime::DeferredSignal something_to_send_;
  std::deque<Place*> in_flight_;  // nullptr: nobody waits for this reply any more
  std::uint64_t replies_ = 0;     // taken so far: the number of the first in flight
  std::optional<StoreError> failure_;
  runtime::Task<void> reading_;
  runtime::Task<void> writing_;
};

}  // namespace holdfast::store
