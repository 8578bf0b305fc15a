#include "holdfast/proxy/downstream.h"

#include <algorithm>

#include "holdfast/base/assert.h"
#include "holdfast/base/uuid.h"
#include "holdfast/http/problem.h"
#include "holdfast/policy/timeout.h"

namespace holdfast::proxy {
namespace {

/// What is left of a body that nobody wanted is read up to here, to keep the connection.
constexpr std::uint64_t unwanted_body_limit = 64 * 1024;
/// How long, and how much, a closed connection is listened to so that its last answer arrives.
constexpr Duration linger_time = std::chrono::seconds(2);
constexpr std::uint64_t linger_bytes = 1024 * 1024;
/// How long a client may take nothing of one of our own answers.
constexpr Duration own_answer_patience = std::chrono::seconds(30);

constexpr std::size_t own_answer_slice = 64 * 1024;

http::UnderscorePolicy underscore_policy(UnderscoreHeaders choice) {
  switch (choice) {
    case UnderscoreHeaders::drop:
      return http::UnderscorePolicy::drop;
    case UnderscoreHeaders::reject:
      return http::UnderscorePolicy::reject;
    case UnderscoreHeaders::pass:
      return http::UnderscorePolicy::pass;
  }
  return http::UnderscorePolicy::drop;
}

/// Tells the handler of a refused request when its answer has ended, however it ended.
class RefusalReport {
 public:
  RefusalReport(Handler& handler, Transaction& transaction, const http::RequestError& error,
                std::string_view request_id)
      : handler_(handler), transaction_(transaction), error_(error), request_id_(request_id) {}
  RefusalReport(const RefusalReport&) = delete;
  RefusalReport& operator=(const RefusalReport&) = delete;
  ~RefusalReport() { handler_.refused(transaction_, error_, request_id_); }

 private:
  Handler& handler_;
  Transaction& transaction_;
  const http::RequestError& error_;
  const std::string_view request_id_;
};

}  // namespace

DownstreamOptions downstream_options(const ServerConfig& server) {
  DownstreamOptions options;
  options.limits.max_target_bytes = server.max_target_bytes;
  options.limits.max_header_bytes = server.max_header_bytes;
  options.limits.max_headers = server.max_headers;
  options.limits.max_body_bytes = server.max_body_bytes;
  options.limits.underscore_headers = underscore_policy(server.underscore_headers);
  options.header_timeout = server.header_timeout;
  options.idle_timeout = server.idle_timeout;
  options.min_body_rate = server.min_body_rate;
  options.server_name = server.name;
  return options;
}

runtime::Task<bool> drained(net::Stream& stream, std::optional<Duration> idle, TimePoint end,
                            const runtime::Context& context) {
  std::size_t queued = stream.queued();
  while (stream.sending() && !stream.failure()) {
    const TimePoint deadline = std::min(end, policy::deadline_after(context.now(), idle));
    const bool in_time = co_await stream.until_sent(deadline);
    if (in_time) continue;
    // Slow is not silent: as long as the peer takes something it has its time anew.
    if (stream.queued() >= queued || context.now() >= end) co_return false;
    queued = stream.queued();
  }
  co_return !stream.failure();
}

// ----------------------------------------------------------------------------------------
// Transaction

const http::RequestHead& Transaction::request() const {
  return connection_.parser_.head();
}
RequestBody& Transaction::body() {
  return connection_.body_;
}
net::Stream& Transaction::stream() {
  return *connection_.stream_;
}
const std::string& Transaction::listener() const {
  return connection_.listener_;
}
const std::string& Transaction::client() const {
  return connection_.client_;
}

std::string& Transaction::head_buffer() {
  connection_.head_buffer_.clear();
  return connection_.head_buffer_;
}

void Transaction::reset(TimePoint now, WallTime wall_now) {
  started_ = now;
  started_wall_ = wall_now;
  status_ = 0;
  mode_ = BodyMode::none;
  bytes_out_ = 0;
  informing_attempt_ = 0;
  head_pending_ = answered_ = finished_ = must_close_ = cut_ = false;
}

bool Transaction::body_is_worth_reading() {
  RequestBody& request_body = body();
  if (request_body.complete()) return true;
  if (request_body.continue_pending()) return false;
  const http::Framing& framing = request().framing;
  return framing.kind != http::Framing::Kind::length ||
         framing.length - request_body.received() <= unwanted_body_limit;
}

bool Transaction::closes() {
  if (!must_close_) {
    // In a drain, too, a request that was read already is in flight and is answered.
    const bool is_last = (connection_.handler_.draining() && !connection_.has_next()) ||
                         (stream().ended() && stream().input().empty());
    must_close_ =
        !connection_.head_read_ || !request().keep_alive || is_last || !body_is_worth_reading();
  }
  return must_close_;
}

void Transaction::begin(int status, BodyMode mode) {
  HOLDFAST_ASSERT(!answered_ && !head_pending_);
  status_ = status;
  mode_ = mode;
  head_pending_ = true;
  if (mode == BodyMode::until_close) must_close_ = true;
}

void Transaction::write(Pieces pieces, bool last, const TrailerPass& trailers) {
  HOLDFAST_ASSERT(!finished_ && (head_pending_ || answered_));
  const std::string_view head = head_pending_ ? connection_.head_buffer_ : std::string_view{};
  head_pending_ = false;
  answered_ = true;
  finished_ = last;
  bytes_out_ += write_body(stream(), head, mode_, pieces, last, trailers);
}

void Transaction::cut() {
  cut_ = true;
  must_close_ = true;
  stream().abort();
}

runtime::Task<bool> Transaction::flush(std::optional<Duration> idle) {
  const bool sent = co_await drained(stream(), idle, never, connection_.context_);
  co_return sent;
}

runtime::Task<void> Transaction::respond(const OwnResponse& response) {
  const bool close = closes();
  const bool bodiless = request().method == http::Method::head;
  if (stream().sending()) {  // a 100 (Continue) that the kernel has not taken yet goes first
    const bool ready = co_await flush(own_answer_patience);
    if (!ready) {
      cut();
      co_return;
    }
  }
  append_own_head(head_buffer(), response, connection_.handler_.options().server_name, close,
                  connection_.context_.clock.wall_now());
  const bool has_body = !bodiless && response.status != 204 && response.status != 304;
  begin(response.status, has_body ? BodyMode::length : BodyMode::none);
  // In slices, so that a client that reads slowly is not given a copy of the whole.
  std::string_view rest = has_body ? response.body : std::string_view{};
  do {
    const std::string_view slice = rest.substr(0, own_answer_slice);
    rest.remove_prefix(slice.size());
    write(Pieces(&slice, 1), rest.empty());
    if (!stream().sending()) continue;
    const bool sent = co_await flush(own_answer_patience);
    if (!sent) {
      cut();
      co_return;
    }
  } while (!rest.empty());
}

void Transaction::inform(const http::ResponseHead& response, int attempt) {
  if (answered_ || request().minor_version == 0 || stream().sending()) return;
  if (informing_attempt_ != 0 && attempt != informing_attempt_) return;
  informing_attempt_ = attempt;
  append_informational_head(head_buffer(), response);
  stream().send(connection_.head_buffer_);
}

// -------------------------------------------------------------------------------
// DownstreamConnection

DownstreamConnection::DownstreamConnection(std::unique_ptr<net::Stream> stream,
                                           const std::string& listener, Handler& handler,
                                           runtime::Context& context)
    : stream_(std::move(stream)),
      listener_(listener),
      handler_(handler),
      context_(context),
      client_(stream_->peer().is_unix() ? "unix" : stream_->peer().ip()),
      parser_(handler.options().limits),
      body_(*stream_, parser_, context),
      transaction_(*this) {}

DownstreamConnection::~DownstreamConnection() {
  const bool whole = transaction_.finished() && !stream_->sending();
  if (transaction_.answered() && !whole) stream_->abort();
}

/// Serves until the connection has ended, or the client is known to be gone.
runtime::Task<void> DownstreamConnection::run() {
  runtime::Task<void> serving = serve();
  runtime::Task<void> client_gone = watch_client();
  co_await runtime::first_of(serving, client_gone);
}

runtime::Task<void> DownstreamConnection::serve() {
  for (;;) {
    const bool has_request = co_await read_head();
    if (!has_request) break;
    if (refusal_) {
      co_await refuse(*refusal_);
    } else {
      body_.begin(handler_.options().min_body_rate);
      body_.take_arrived();
      co_await handler_.handle(transaction_);
    }
    if (stream_->failure() || transaction_.was_cut()) co_return;
    if (transaction_.closes() || !transaction_.finished()) break;
    if (!body_.complete()) {
      const bool at_next = co_await finish_body();
      if (!at_next) break;
    }
    body_.release();
    if (handler_.draining() && !has_next()) break;
    parser_.begin();
  }
  if (transaction_.answered()) co_await linger();
}

/// True if a byte of the next request was read. REQUIRES: a request is being answered.
bool DownstreamConnection::has_next() {
  const bool empty_lines = stream_->input().find_first_not_of("\r\n") == std::string_view::npos;
  return body_.complete() && !empty_lines;
}

void Handler::handshake_failed(const std::string&, const Error&) {}

/// True if there is a request to answer: a head, or a refusal. False if the connection has ended.
runtime::Task<bool> DownstreamConnection::read_head() {
  // A reload replaces the options while this waits: they are asked for anew each time.
  head_read_ = false;
  TimePoint now = context_.now();
  const std::optional<Duration> patience =
      handler_.draining() ? linger_time : handler_.options().idle_timeout;
  TimePoint deadline = policy::deadline_after(now, patience);
  bool begun = false;
  for (;;) {
    if (stream_->input().empty()) {
      if (!stream_->open_for_input()) co_return false;
      idle_ = !begun;
      const bool in_time = co_await stream_->until_input(deadline);
      if (!in_time && !begun) co_return false;
      if (!in_time) {
        refusal_ =
            http::RequestError{http::Problem::request_timeout, "the head did not arrive in time"};
        co_return true;
      }
      continue;
    }
    if (!begun) set_limits();
    Result<http::ParseStep, http::RequestError> step = parser_.parse(stream_->input());
    if (parser_.started() && !begun) {
      begun = true;
      idle_ = false;
      now = context_.now();
      deadline = policy::deadline_after(now, handler_.options().header_timeout);
      transaction_.reset(now, context_.clock.wall_now());
    }
    if (!step) {
      if (!begun) transaction_.reset(now, context_.clock.wall_now());
      refusal_ = std::move(step.error());
      co_return true;
    }
    stream_->consume(step->consumed);
    if (step->event == http::ParseEvent::head) {
      head_read_ = true;
      co_return true;
    }
  }
}

void DownstreamConnection::set_limits() {
  http::ParserLimits limits = handler_.options().limits;
  limits.tunnels = handler_.takes_tunnels(listener_);
  parser_.set_limits(limits);
}

runtime::Task<void> DownstreamConnection::watch_client() {
  while (!stream_->failure()) {
    co_await stream_->until_failed(never);
  }
}

runtime::Task<void> DownstreamConnection::refuse(const http::RequestError& error) {
  idle_ = false;
  transaction_.close_after();
  parser_.give_up();
  const Uuid7 id(context_.clock.wall_now(), context_.rng);
  const RefusalReport report(handler_, transaction_, error, id.text());
  std::string body;
  const int status = http::status_of(error.problem);
  http::append_problem_json(body, http::name(error.problem), http::title(error.problem), status,
                            error.detail, id.text());
  OwnResponse response;
  response.status = status;
  response.content_type = "application/problem+json";
  response.body = body;
  response.proxy_status = "error=http_request_error";
  if (error.problem == http::Problem::method_not_allowed)
    response.allow = "GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH";
  co_await transaction_.respond(response);
}

/// Reads what is left of a body that nobody wanted, so that the next request can be found (RFC 9112
/// §9.3).
runtime::Task<bool> DownstreamConnection::finish_body() {
  const std::uint64_t limit = body_.received() + unwanted_body_limit;
  body_.keep_up_to(0);
  while (!body_.complete()) {
    Result<Pieces, BodyFailure> pieces = co_await body_.pull(linger_time);
    if (!pieces || body_.received() > limit) co_return false;
  }
  co_return true;
}

runtime::Task<void> DownstreamConnection::linger() {
  const bool sent = co_await transaction_.flush(own_answer_patience);
  if (!sent) co_return;
  stream_->finish();
  const TimePoint deadline = context_.now() + linger_time;
  std::uint64_t dropped = 0;
  for (;;) {
    dropped += stream_->input().size();
    stream_->consume(stream_->input().size());
    if (!stream_->open_for_input() || dropped > linger_bytes) co_return;
    const bool in_time = co_await stream_->until_input(deadline);
    if (!in_time) co_return;
  }
}

}  // namespace holdfast::proxy
