// Stream: a byte stream both ways: a TCP or unix connection, TLS over one, or a simulated one.
//
// Reading is pulled: the stream reads ahead into its own buffer, up to read_ahead_limit bytes, and
// then takes no more from the peer until some were consumed (back-pressure).
//   while (stream.input().empty() && stream.open_for_input()) {
//     const bool in_time = co_await stream.until_input(deadline);
//     …
//   }
// Writing: send() hands over what the kernel takes at once; the rest is copied and queued, and
// until_sent() waits for it. One send at a time: what is queued is at most what one send was given.
//
// Contract
// - Single-threaded: everything happens on the thread of its loop.
// - input() is valid until the next suspension; so are bytes that were consumed since the last one.
// - At most one task waits in until_input(), one in until_sent(), one in until_failed(). Who waits
//   for what has happened already does not wait.
// - The peer's FIN ends the input and nothing else: a half-closed peer may still be answered.
// - A failure (a reset, an error of a write) ends both directions. It is told to the tasks in
//   until_input() and until_sent(), and then to the one in until_failed(); from the loop, never
//   from within send(). What the peer sent before it is in input() first: an early
//   answer to a request that could not be sent whole is not lost.
// - A peer is watched by reading from it: while the read-ahead is full, and after its FIN, its
//   reset is noticed by the next write or read only.
// - The destructor closes. It may run while one of this stream's signals is being given, never
//   while a task waits for another of them.
// - A stream may carry another one (TLS over TCP), which is then told instead of any task: see
//   carry().
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "holdfast/base/error.h"
#include "holdfast/net/address.h"
#include "holdfast/runtime/timers.h"

namespace holdfast::net {

struct ClientIdentity;

class Stream {
 public:
  explicit Stream(runtime::Timers& timers) : timers_(timers) {}
  virtual ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  static constexpr std::size_t read_ahead_limit = 64 * 1024;

  // -- input
  std::string_view input() const { return input_; }
  /// REQUIRES: count <= input().size().
  void consume(std::size_t count);
  /// False once the peer's FIN or a failure was seen: what is in input() is all that will come.
  bool open_for_input() const { return !ended_ && !failure_; }
  /// True after FIN (with or without unread input).
  bool ended() const { return ended_; }
  const std::optional<Error>& failure() const { return failure_; }
  /// Completes when bytes came, the input ended, or the stream failed (true), or at the deadline
  /// (false).
  runtime::Wait until_input(TimePoint deadline);

  /// Asks the kernel: false if the peer has closed or sent something that has not been delivered
  /// yet. For an idle connection about to carry what must not be repeated; costs a system call.
  virtual bool still_quiet() { return open_for_input() && input().empty(); }

  // -- output
  /// Sends the pieces in order. True if the kernel has taken all of it; else until_sent() tells how
  /// it went on. After a failure nothing is sent and the answer is true: look at failure().
  /// REQUIRES: !sending(), and no finish() before.
  virtual bool send(std::span<const std::string_view> pieces) = 0;
  bool send(std::string_view bytes) { return send(std::span(&bytes, 1)); }
  /// True while queued bytes wait for the kernel.
  bool sending() const { return sending_; }
  /// Bytes that still wait for the kernel: what tells a slow peer from a silent one.
  virtual std::size_t queued() const { return sending_ ? 1 : 0; }
  /// Completes when nothing is queued any more, or the stream failed (true), or at the deadline
  /// (false).
  runtime::Wait until_sent(TimePoint deadline);
  /// Bytes that were handed to the kernel or queued for it. 0: the peer has seen nothing.
  std::uint64_t bytes_sent() const { return bytes_sent_; }
  /// Sends FIN after what is queued. The input goes on.
  virtual void finish() = 0;
  /// Makes the close a reset, so that a peer cannot take what it has for a whole message.
  virtual void abort() = 0;

  /// Completes when the stream has failed (true), after those who read or write it have heard of
  /// it, or at the deadline.
  runtime::Wait until_failed(TimePoint deadline);

  /// The other end, as accepted or connected.
  const Address& peer() const { return peer_; }
  /// What a client over TLS has told of itself; nullptr where it has connected without.
  virtual const ClientIdentity* client_identity() const { return nullptr; }

  /// What a stream carries in place of tasks that wait: another stream, which reads from it and
  /// sends through it. It is told from the loop, without a task between, because what it tells in
  /// turn may destroy it, and with it this stream.
  class Carried {
   public:
    /// Bytes came, the input ended, or the stream failed.
    virtual void on_input() = 0;
    /// Nothing is queued any more.
    virtual void on_sent() = 0;

   protected:
    ~Carried() = default;
  };
  /// REQUIRES: no task waits, now or later. `carried` outlives the stream or is destroyed with it.
  void carry(Carried& carried) { carried_ = &carried; }

 protected:
  // For implementations, called from a loop's callback as the last thing done there: each may
  // destroy the stream. After a failure they do nothing.
  void deliver(std::string_view bytes);
  void deliver_end();
  void deliver_failure(Error error);
  void deliver_sent();
  /// Adds to the input without waking anybody, for bytes that are read just before a failure is
  /// told.
  void keep(std::string_view bytes);

  /// Starts or stops taking bytes from the peer. Must not deliver from within.
  virtual void set_reading(bool reading) = 0;

  bool sending_ = false;
  std::uint64_t bytes_sent_ = 0;
  Address peer_;

 private:
  bool tell(runtime::Signal& signal);
  void give(runtime::Signal& signal);
  void stop_reading_at_limit();
  void release_consumed();

  runtime::Timers& timers_;
  std::string kept_;        // bytes that outlive the callback they came in
  std::string_view input_;  // the end of kept_, or of the bytes being delivered
  bool reading_ = true;
  bool ended_ = false;
  std::optional<Error> failure_;
  Carried* carried_ = nullptr;
  bool* destroyed_ = nullptr;  // set while a signal is being given
  runtime::Signal input_signal_;
  runtime::Signal sent_signal_;
  runtime::Signal failed_signal_;
};

}  // namespace holdfast::net
