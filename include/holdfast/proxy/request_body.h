// RequestBody: the body of the request a client is sending, pulled by whoever passes it on.
//
// What was received is kept up to a limit, so that an attempt can be repeated: an attempt first
// sends kept(), then pulls the rest. Nothing is read from the client unless somebody pulls, so a
// slow upstream slows the client down (the stream's read-ahead aside).
//
// Contract: single-threaded. pull() gives views that are valid until the next suspension. The clock
// of min_body_rate runs only while pull() waits for the client: a body that stands still because
// the upstream does is not the client's fault. Limits: `max_body_bytes` is the parser's; kept bytes
// are at most keep_limit and one read.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "holdfast/base/result.h"
#include "holdfast/http/parser.h"
#include "holdfast/net/stream.h"
#include "holdfast/proxy/body_writer.h"
#include "holdfast/runtime/context.h"
#include "holdfast/runtime/task.h"

namespace holdfast::proxy {

/// Why a body will not be completed.
struct BodyFailure {
  bool client_gone = false;  // the stream failed: there is nobody to answer
  http::RequestError error;
};

class RequestBody {
 public:
  RequestBody(net::Stream& stream, http::RequestParser& parser, runtime::Context& context)
      : stream_(&stream), parser_(&parser), context_(&context) {}
  /// A body that is complete already: of a request that outlives its client. Without trailers.
  explicit RequestBody(std::string whole)
      : keep_limit_(whole.size()),
        kept_(std::move(whole)),
        received_(kept_.size()),
        complete_(true) {}

  /// For a new request whose head the parser has just reported.
  void begin(std::optional<std::uint64_t> min_rate);
  /// How much of the body is kept for another attempt. Before the first pull().
  void keep_up_to(std::uint64_t limit) { keep_limit_ = limit; }
  /// Takes in what has arrived already, without waiting. A small body is complete after it.
  void take_arrived();
  /// What take_arrived() found wrong already: the request is refused before anything of it goes on.
  const std::optional<BodyFailure>& early_failure() const { return early_failure_; }
  /// Gives the memory of kept bytes back, when the request has been answered.
  void release();

  /// True when the last byte (and trailer) has been received.
  bool complete() const { return complete_; }
  std::uint64_t received() const { return received_; }
  /// The bytes received so far, from the first; all of them as long as can_repeat().
  std::string_view kept() const { return kept_; }
  /// True if what was received can be sent (again) from its first byte.
  bool can_repeat() const { return !dropped_; }
  /// Moves the whole body out, and back in: for a copy that is sent on the client's behalf.
  /// REQUIRES: complete() and can_repeat().
  std::string take();
  void give_back(std::string whole) { kept_ = std::move(whole); }

  /// An attempt has sent the first `position` bytes. Past the keep limit they are forgotten.
  void note_sent(std::uint64_t position);

  /// The next bytes; empty only when complete() has become true. `idle` bounds one silence.
  /// REQUIRES: !complete().
  runtime::Task<Result<Pieces, BodyFailure>> pull(std::optional<Duration> idle);

  const http::Fields& trailers() const;
  /// True if the client waits for 100 (Continue) and it has not been sent: it may never send the
  /// body.
  bool continue_pending() const { return continue_pending_; }

 private:
  enum class Progress : std::uint8_t { more, pieces, done };
  Result<Progress, BodyFailure> parse_input();
  TimePoint rate_deadline(TimePoint now) const;

  // nullptr for a body that was complete from the start.
  net::Stream* stream_ = nullptr;
  http::RequestParser* parser_ = nullptr;
  runtime::Context* context_ = nullptr;

  std::optional<std::uint64_t> min_rate_;
  std::uint64_t keep_limit_ = 0;
  std::string kept_;
  std::uint64_t received_ = 0;
  Duration waited_{};
  bool complete_ = false;
  bool dropped_ = false;
  bool continue_pending_ = false;
  std::optional<BodyFailure> early_failure_;
};

}  // namespace holdfast::proxy
