// DownstreamConnection: one client connection, from its first byte to its close. It reads requests
// one after the other, hands each to a Handler as a Transaction, and keeps the order of pipelined
// ones simply by not looking at the next before the last is answered.
//
// Contract: single-threaded. run() ends when the connection has ended; the object must outlive it.
// To cancel is to destroy run()'s task. The Handler is the only thing that knows what a request is
// for: the proxy has one, the admin listener another.
//
// How each end is handled:
//   FIN between requests, idle_timeout      closed without a word; in a drain a connection that is
//                                           new gets a moment for a first request
//   header_timeout                          408, closed
//   a request that cannot be read           its problem, Connection: close, lingering close: what
//                                           the client still sends is read and dropped for a
//                                           moment, so that a reset does not take the answer away
//                                           (RFC 9112 §9.6)
//   the stream fails while a request is     its handler is cancelled: the work for a client that is
//   being handled                           gone ends. A FIN alone is no failure: it may be a
//                                           half-close
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "holdfast/http/parser.h"
#include "holdfast/net/stream.h"
#include "holdfast/proxy/config.h"
#include "holdfast/proxy/heads.h"
#include "holdfast/proxy/request_body.h"
#include "holdfast/runtime/context.h"
#include "holdfast/runtime/task.h"

namespace holdfast::proxy {

/// What a connection needs to know of the server it belongs to. May change between requests.
struct DownstreamOptions {
  http::ParserLimits limits;
  std::optional<Duration> header_timeout = std::chrono::seconds(10);
  std::optional<Duration> idle_timeout = std::chrono::seconds(75);
  std::optional<std::uint64_t> min_body_rate = 240;
  std::string server_name = "holdfast";
};

DownstreamOptions downstream_options(const ServerConfig& server);

/// Waits until everything is with the kernel; false if the stream failed, if its peer took nothing
/// for `idle`, or at `end`.
runtime::Task<bool> drained(net::Stream& stream, std::optional<Duration> idle, TimePoint end,
                            const runtime::Context& context);

class DownstreamConnection;

/// One request and its answer. Lives as long as the connection is on it.
class Transaction {
 public:
  explicit Transaction(DownstreamConnection& connection) : connection_(connection) {}

  const http::RequestHead& request() const;
  RequestBody& body();
  net::Stream& stream();
  const std::string& listener() const;
  /// The peer's address as text, "unix" for a unix socket.
  const std::string& client() const;
  TimePoint started() const { return started_; }
  WallTime started_wall() const { return started_wall_; }

  // -- the answer. A head is composed into head_buffer(), then begin() and write() send it.
  /// Empty, with its capacity kept from request to request.
  std::string& head_buffer();
  /// True once a byte of the final answer was handed to the stream.
  bool answered() const { return answered_; }
  /// The status of the answer; 0 before it.
  int status() const { return status_; }
  std::uint64_t bytes_out() const { return bytes_out_; }

  /// True if the connection will be closed after this answer (the client's wish, its HTTP/1.0, a
  /// drain with no further request read, a body that is not worth reading to its end). Asked before
  /// the head is composed.
  bool closes();
  /// From now on closes() is true.
  void close_after() { must_close_ = true; }

  /// The head in head_buffer() is the answer's, with this status; it goes out with the first
  /// write().
  void begin(int status, BodyMode mode);
  /// Hands pieces of the body to the stream, framed; `last` ends the body. What the kernel does not
  /// take is queued: look at stream().sending() and wait before the next write.
  void write(Pieces pieces, bool last, const TrailerPass& trailers = {});
  /// The answer cannot be completed: the client must see that (reset, no clean end).
  void cut();
  bool was_cut() const { return cut_; }
  /// True if the answer was written to its end.
  bool finished() const { return finished_; }

  /// Waits until everything is with the kernel; false if the client is gone or took nothing for
  /// `idle`.
  runtime::Task<bool> flush(std::optional<Duration> idle);

  /// A whole answer of holdfast's own. Ends with the answer sent, or the client gone.
  runtime::Task<void> respond(const OwnResponse& response);

  /// Passes on an informational response of that attempt (counted from 1). Only the first attempt
  /// that has any is heard, so their bound is one parser's. Nothing for HTTP/1.0, or once the
  /// answer has begun.
  void inform(const http::ResponseHead& response, int attempt);

 private:
  friend class DownstreamConnection;
  void reset(TimePoint now, WallTime wall_now);
  bool body_is_worth_reading();

  DownstreamConnection& connection_;
  TimePoint started_{};
  WallTime started_wall_{};
  int status_ = 0;
  BodyMode mode_ = BodyMode::none;
  std::uint64_t bytes_out_ = 0;
  int informing_attempt_ = 0;  // whose informational responses are passed on; 0: nobody's yet
  bool head_pending_ = false;
  bool answered_ = false;
  bool finished_ = false;
  bool must_close_ = false;
  bool cut_ = false;
};

class Handler {
 public:
  virtual ~Handler() = default;
  /// Answers one request. Cancelled (destroyed) if the client goes away.
  virtual runtime::Task<void> handle(Transaction& transaction) = 0;
  /// A request that could not be read. The connection has answered it with `error` by itself,
  /// unless the client was gone before. transaction.request() is what there is of it
  /// (RequestParser::head).
  virtual void refused(Transaction& transaction, const http::RequestError& error,
                       std::string_view request_id) = 0;
  /// A connection over TLS that ends before its first request, and why: what its client says is no
  /// TLS, or none that is let in, or too slow.
  virtual void handshake_failed(const std::string& listener, const Error& error);
  /// Options for the next request.
  virtual const DownstreamOptions& options() const = 0;
  /// True if CONNECT is a request at that listener.
  virtual bool takes_tunnels(std::string_view) const { return false; }
  /// True while the process drains: answers carry Connection: close.
  virtual bool draining() const = 0;
};

class DownstreamConnection {
 public:
  /// `listener` outlives this, and may get another name between two requests.
  DownstreamConnection(std::unique_ptr<net::Stream> stream, const std::string& listener,
                       Handler& handler, runtime::Context& context);
  DownstreamConnection(std::unique_ptr<net::Stream> stream, std::string&& listener,
                       Handler& handler, runtime::Context& context) = delete;
  DownstreamConnection(const DownstreamConnection&) = delete;
  DownstreamConnection& operator=(const DownstreamConnection&) = delete;
  /// In the middle of an answer (the end of a drain) the close is a reset.
  ~DownstreamConnection();

  runtime::Task<void> run();

  /// True between requests, with nothing of the next one there: closing now loses nothing.
  bool idle() const { return idle_; }

 private:
  friend class Transaction;

  bool has_next();
  void set_limits();
  runtime::Task<void> serve();
  runtime::Task<void> watch_client();
  runtime::Task<bool> read_head();
  runtime::Task<void> refuse(const http::RequestError& error);
  runtime::Task<bool> finish_body();
  runtime::Task<void> linger();

  std::unique_ptr<net::Stream> stream_;
  const std::string& listener_;
  Handler& handler_;
  runtime::Context& context_;
  std::string client_;
  http::RequestParser parser_;
  RequestBody body_;
  Transaction transaction_;
  std::string head_buffer_;
  bool head_read_ = false;
  bool idle_ = true;
  std::optional<http::RequestError> refusal_;
};

}  // namespace holdfast::proxy
