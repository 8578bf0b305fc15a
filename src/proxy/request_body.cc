#include "holdfast/proxy/request_body.h"

#include <algorithm>

#include "holdfast/base/assert.h"
#include "holdfast/policy/timeout.h"

namespace holdfast::proxy {
namespace {

/// min_body_rate holds after this much waiting (contract §2).
constexpr Duration rate_grace = std::chrono::seconds(5);
/// Capacity of the kept bytes that a connection may hold on to between requests.
constexpr std::size_t idle_capacity = 4096;

}  // namespace

void RequestBody::begin(std::optional<std::uint64_t> min_rate) {
  min_rate_ = min_rate;
  keep_limit_ = 0;
  kept_.clear();
  received_ = 0;
  waited_ = Duration::zero();
  complete_ = false;
  dropped_ = false;
  continue_pending_ = parser_->head().expect_continue;
  early_failure_.reset();
}

void RequestBody::release() {
  if (kept_.capacity() > idle_capacity) kept_ = std::string();
}

Result<RequestBody::Progress, BodyFailure> RequestBody::parse_input() {
  Result<http::ParseStep, http::RequestError> step = parser_->parse(stream_->input());
  if (!step) return unexpected(BodyFailure{false, std::move(step.error())});
  stream_->consume(step->consumed);
  std::uint64_t arrived = 0;
  for (const std::string_view piece : parser_->body()) arrived += piece.size();
  received_ += arrived;
  if (step->consumed > 0) continue_pending_ = false;
  complete_ = step->event == http::ParseEvent::complete;
  if (complete_) return Progress::done;
  return arrived > 0 ? Progress::pieces : Progress::more;
}

void RequestBody::take_arrived() {
  while (!complete_ && kept_.size() < net::Stream::read_ahead_limit) {
    Result<Progress, BodyFailure> progress = parse_input();
    if (!progress) {
      early_failure_ = std::move(progress.error());
      return;
    }
    for (const std::string_view piece : parser_->body()) kept_.append(piece);
    if (*progress == Progress::more) return;
  }
}

std::string RequestBody::take() {
  HOLDFAST_ASSERT(complete_ && !dropped_);
  return std::move(kept_);
}

const http::Fields& RequestBody::trailers() const {
  static const http::Fields none;
  return parser_ != nullptr ? parser_->trailers() : none;
}

void RequestBody::note_sent(std::uint64_t position) {
  if (position <= keep_limit_ || dropped_) return;
  dropped_ = true;
  kept_.clear();
}

runtime::Task<Result<Pieces, BodyFailure>> RequestBody::pull(std::optional<Duration> idle) {
  HOLDFAST_ASSERT(!complete_);
  if (early_failure_) co_return unexpected(*early_failure_);
  for (;;) {
    Result<Progress, BodyFailure> progress = parse_input();
    if (!progress) co_return unexpected(std::move(progress.error()));
    if (*progress != Progress::more) {
      if (!dropped_ && received_ <= keep_limit_) {
        for (const std::string_view piece : parser_->body()) kept_.append(piece);
      } else if (!dropped_ && received_ > keep_limit_) {
        dropped_ = true;
        kept_.clear();
      }
      co_return Pieces(parser_->body());
    }
    if (stream_->failure()) co_return unexpected(BodyFailure{true, {}});
    if (stream_->ended()) {
      co_return unexpected(BodyFailure{
          false,
          {http::Problem::bad_request, "the connection ended before the body was complete"}});
    }
    const TimePoint before = context_->now();
    const TimePoint deadline =
        std::min(rate_deadline(before), policy::deadline_after(before, idle));
    // A 103 that the kernel has not taken yet goes first.
    if (continue_pending_ && stream_->sending()) co_await stream_->until_sent(deadline);
    if (continue_pending_ && !stream_->sending()) {
      continue_pending_ = false;
      stream_->send("HTTP/1.1 100 Continue\r\n\r\n");
    }
    const bool in_time = co_await stream_->until_input(deadline);
    waited_ += context_->now() - before;
    if (!in_time) {
      co_return unexpected(BodyFailure{
          false, {http::Problem::request_timeout, "the body came too slowly, or not at all"}});
    }
  }
}

/// When the client, silent from now on, falls behind grace + received / rate of waiting.
TimePoint RequestBody::rate_deadline(TimePoint now) const {
  if (!min_rate_) return never;
  const double earned = static_cast<double>(received_) / static_cast<double>(*min_rate_);
  const Duration allowed = rate_grace + std::chrono::duration_cast<Duration>(
                                            std::chrono::duration<double>(std::min(earned, 1e8)));
  return after(now, std::max(allowed - waited_, Duration::zero()));
}

}  // namespace holdfast::proxy
