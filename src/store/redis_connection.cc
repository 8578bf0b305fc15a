#include "holdfast/store/redis_connection.h"

#include <utility>

#include "holdfast/base/assert.h"

namespace holdfast::store {
namespace {

using Outcome = Result<RedisReply, StoreError>;

StoreError unavailable(std::string detail) {
  return {StoreError::Kind::unavailable, std::move(detail)};
}

}  // namespace

/// The place in the line of one command that is waited for.
class RedisConnection::Place {
 public:
  explicit Place(RedisConnection& connection)
      : connection_(&connection),
        number_(connection.replies_ + connection.in_flight_.size()),
        answered_(connection.context_.timers) {
    connection.in_flight_.push_back(this);
  }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  ~Place() { leave(); }

  void answer(Outcome outcome) {
    outcome_ = std::move(outcome);
    answered_.notify(connection_->context_.now());
    connection_ = nullptr;
  }
  /// The reply will be dropped.
  void leave() {
    if (connection_ == nullptr) return;
    connection_->in_flight_[number_ - connection_->replies_] = nullptr;
    connection_ = nullptr;
  }

  bool answered() const { return outcome_.has_value(); }
  Outcome take() { return std::move(*outcome_); }
  runtime::Signal& signal() { return answered_.signal(); }

 private:
  RedisConnection* connection_;  // nullptr: not in the line
  std::uint64_t number_;
  runtime::DeferredSignal answered_;
  std::optional<Outcome> outcome_;
};

RedisConnection::RedisConnection(runtime::Context& context, std::unique_ptr<net::Stream> stream,
                                 runtime::DeferredSignal& ended)
    : context_(context),
      ended_(ended),
      stream_(std::move(stream)),
      something_to_send_(context.timers),
      reading_(read()),
      writing_(write()) {
  reading_.start();
  writing_.start();
}

RedisConnection::~RedisConnection() {
  close(unavailable("the connection to Redis was closed"));
}

void RedisConnection::close(StoreError reason) {
  fail(std::move(reason));
  reading_.reset();
  writing_.reset();
  stream_.reset();
}

void RedisConnection::fail(StoreError reason) {
  if (failure_) return;
  failure_ = std::move(reason);
  for (Place* place : in_flight_) {
    if (place != nullptr) place->answer(unexpected(*failure_));
  }
  in_flight_.clear();
  unsent_.clear();
  ended_.notify(context_.now());
}

// Once answered, the connection may be gone: from there on only the place is looked at.
runtime::Task<Outcome> RedisConnection::call(std::span<const std::string_view> words,
                                             TimePoint deadline) {
  if (failure_) co_return unexpected(*failure_);
  if (in_flight_.size() >= max_in_flight || unsent_.size() + stream_->queued() >= max_unsent) {
    co_return unexpected(unavailable("too many commands wait for Redis"));
  }
  append_command(unsent_, words);
  something_to_send_.notify(context_.now());
  Place place(*this);
  while (!place.answered()) {
    const bool in_time = co_await runtime::wait_for(place.signal(), context_.timers, deadline);
    if (in_time || place.answered()) continue;
    place.leave();
    close(unavailable("Redis did not answer in time"));
    co_return unexpected(StoreError{StoreError::Kind::timeout, "Redis did not answer in time"});
  }
  co_return place.take();
}

runtime::Task<void> RedisConnection::write() {
  for (;;) {
    while (unsent_.empty()) {
      co_await runtime::wait_for(something_to_send_.signal(), context_.timers, never);
    }
    sending_.swap(unsent_);
    const bool sent = stream_->send(sending_);
    sending_.clear();
    if (!sent) co_await stream_->until_sent(never);
  }
}

runtime::Task<void> RedisConnection::read() {
  for (;;) {
    while (stream_->input().empty() && stream_->open_for_input()) {
      co_await stream_->until_input(never);
    }
    if (stream_->input().empty()) break;
    if (!take_replies()) co_return;
  }
  const std::optional<Error>& why = stream_->failure();
  fail(unavailable("the connection to Redis was lost" + (why ? ": " + why->detail : "")));
}

bool RedisConnection::take_replies() {
  const std::string_view bytes = stream_->input();
  reader_.feed(bytes);
  stream_->consume(bytes.size());
  for (;;) {
    Result<std::optional<RedisReply>, std::string> next = reader_.next();
    if (!next) {
      fail(unavailable(next.error()));
      return false;
    }
    if (!*next) return true;
    if (in_flight_.empty()) {
      fail(unavailable("Redis answered what it was not asked"));
      return false;
    }
    Place* place = in_flight_.front();
    in_flight_.pop_front();
    ++replies_;
    if (place != nullptr) place->answer(std::move(**next));
  }
}

}  // namespace holdfast::store
