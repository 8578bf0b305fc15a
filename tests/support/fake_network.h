// A network, a clock and a loop that live in memory, for tests of what waits: one thread, virtual
// time, and nothing happens but in settle() and pass(). The code under test holds FakeStreams; a
// test holds the other ends, Peers, and decides what arrives there, in which cut, and when.
//
// Contract
// - World: everything that is due runs in settle(), in the order of its time, then of its being
//   asked for. pass() moves the time on, stopping at each moment at which something is due.
// - What a Peer does reaches the stream from the loop, as a kernel's events do, never from within
//   the call: a peer may answer from on_change, and settle() carries it over.
// - Bytes are shown to the stream in a buffer that is overwritten when the call returns.
// - What was sent to a stream that takes no more, or that has ended, stays with its peer.
// - Peers outlive their streams as long as somebody holds them.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "holdfast/base/clock.h"
#include "holdfast/base/rng.h"
#include "holdfast/net/network.h"
#include "holdfast/net/stream.h"
#include "holdfast/runtime/context.h"

namespace holdfast::test {

/// Time that stands still until it is set.
class VirtualClock final : public Clock {
 public:
  TimePoint now() const override { return now_; }
  WallTime wall_now() const override;
  void set(TimePoint now) { now_ = now; }
  /// Somebody sets the wall clock: it is off by so much more from now on.
  void jump_wall(Duration by) { wall_offset_ += by; }

 private:
  TimePoint now_{std::chrono::hours(1)};
  Duration wall_offset_{};
};

class VirtualTimers final : public runtime::Timers {
 private:
  void wake_at(TimePoint) override {}
};

class World {
 public:
  explicit World(std::uint64_t seed = 1);
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  TimePoint now() const { return clock_.now(); }
  runtime::Context& context() { return context_; }
  Rng& rng() { return rng_; }

  /// Runs `action` from the loop, `delay` from now; of equal times, the one asked for first.
  void schedule(Duration delay, std::function<void()> action);
  /// Runs all that is due now.
  void settle();
  /// Lets the time pass.
  void pass(Duration duration);
  void jump_wall(Duration by) { clock_.jump_wall(by); }
  /// Time passes and nothing runs: what became due meanwhile runs late, as after a SIGSTOP.
  void stand_still(Duration duration) { clock_.set(after(now(), duration)); }
  /// Called whenever all that was due at a moment has run.
  std::function<void()> on_rest;
  /// Moves the time to the next thing that is due, and runs it. False: nothing will ever happen.
  bool step();

 private:
  /// When something is due next, or `never`.
  TimePoint next() const;

  VirtualClock clock_;
  VirtualTimers timers_;
  Rng rng_;
  std::multimap<TimePoint, std::function<void()>> actions_;
  runtime::Context context_;
};

class FakeStream;

/// The far end of a FakeStream.
class Peer : public std::enable_shared_from_this<Peer> {
 public:
  explicit Peer(World& world) : world_(world) {}

  // -- what it does
  void send(std::string_view bytes);
  /// In pieces of `size` bytes, each an arrival of its own.
  void send_in_pieces(std::string_view bytes, std::size_t size);
  /// FIN: it sends no more.
  void finish();
  /// RST. A stream that does not read learns of it when it next sends or reads.
  void reset();
  /// What it sends from now on arrives so much later.
  void set_latency(Duration latency) { latency_ = latency; }
  /// Takes at most so many more bytes; what it does not take waits at the sender.
  void take_at_most(std::uint64_t bytes);
  void take_everything() { take_at_most(unlimited); }

  // -- what it sees
  /// All bytes since the beginning.
  const std::string& received() const { return received_; }
  /// The bytes since the last take().
  std::string take();
  /// The other end has sent FIN, or closed.
  bool ended() const { return ended_; }
  /// The other end has closed without a reset.
  bool closed() const { return closed_ && !was_reset_; }
  /// The other end has closed with a reset.
  bool was_reset() const { return was_reset_; }
  bool open() const { return !closed_; }
  /// How often the other end has sent.
  std::size_t sends() const { return sends_; }
  /// What was sent to the stream and has not been taken by it.
  std::size_t unread() const;
  /// Where it was connected to, as in "10.0.0.1:80"; "" at the far end of a client.
  std::string address;
  /// Called from the loop after something has come, or the other end has ended or closed.
  std::function<void()> on_change;

  static constexpr std::uint64_t unlimited = ~std::uint64_t{0};

 private:
  friend class FakeStream;
  struct Arrival {
    enum class Kind : std::uint8_t { bytes, end, reset } kind;
    std::string bytes;
    TimePoint due{};
  };

  void arrive(Arrival::Kind kind, std::string_view bytes);
  void deliver_due();
  bool has_due() const { return !arrivals_.empty() && arrivals_.front().due <= world_.now(); }
  void tell_change();
  // The stream's side.
  std::uint64_t take_from(std::string_view bytes);
  void stream_closed(bool aborted);

  World& world_;
  FakeStream* stream_ = nullptr;
  Duration latency_{};
  std::deque<Arrival> arrivals_;  // on the way, or come and not taken
  std::string received_;
  std::size_t taken_ = 0;
  std::size_t sends_ = 0;
  std::uint64_t window_ = unlimited;
  bool ended_ = false;
  bool closed_ = false;
  bool was_reset_ = false;
};

/// The end that the code under test holds.
class FakeStream final : public net::Stream {
 public:
  FakeStream(World& world, std::shared_ptr<Peer> peer, const net::Address& address);
  ~FakeStream() override;

  using Stream::send;
  bool send(std::span<const std::string_view> pieces) override;
  void finish() override;
  void abort() override { aborted_ = true; }
  bool still_quiet() override;
  std::size_t queued() const override { return queued_.size(); }

 private:
  friend class Peer;
  void set_reading(bool reading) override;
  void drain();
  void drained();
  void deliver_reset();

  World& world_;
  std::shared_ptr<Peer> remote_;
  std::string queued_;
  bool reading_now_ = true;
  bool finished_ = false;
  bool aborted_ = false;
};

/// A stream and its peer; the stream's peer() is `address`.
struct FakePair {
  std::unique_ptr<net::Stream> stream;
  std::shared_ptr<Peer> peer;
};
FakePair make_pair(World& world, std::string_view address = "192.0.2.7");

/// What becomes of one connect.
struct ConnectOutcome {
  enum class Kind : std::uint8_t { accept, fail, silence } kind = Kind::accept;
  Duration delay{};
  ErrorType error = ErrorType::connection_refused;
};

/// What becomes of one look-up: addresses, or the error if there are none.
struct LookUpOutcome {
  std::vector<net::Address> addresses;
  Duration delay{};
  ErrorType error = ErrorType::dns_error;
};

/// Connects and look-ups by script: the outcomes of an address or a name are taken in order, then
/// connects are as `on_connect` decides (accepted without one) and look-ups as `on_look_up` does
/// (they fail without one). Everything asked is kept.
class FakeNetwork final : public net::Connector, public net::Resolver {
 public:
  explicit FakeNetwork(World& world) : world_(world) {}

  /// `address` as in "10.0.0.1:80".
  void script(std::string_view address, ConnectOutcome outcome);
  void script_name(std::string_view host, LookUpOutcome outcome);
  /// What becomes of a connect that has no script; given the address.
  std::function<ConnectOutcome(const std::string&)> on_connect;
  /// What becomes of a look-up that has no script; given the name.
  std::function<LookUpOutcome(const std::string&)> on_look_up;
  /// Called from the loop when a connection has been made.
  std::function<void(Peer&)> on_accept;

  std::vector<std::string> connects;            // every address asked for
  std::vector<std::string> look_ups;            // every name asked for
  std::vector<std::shared_ptr<Peer>> accepted;  // the far ends, in order

  runtime::Task<Result<std::unique_ptr<net::Stream>>> connect(const net::Address& address,
                                                              TimePoint deadline) override;
  runtime::Task<Result<std::vector<net::Address>>> resolve(std::string_view host,
                                                           std::uint16_t port,
                                                           TimePoint deadline) override;

 private:
  World& world_;
  std::map<std::string, std::deque<ConnectOutcome>, std::less<>> connect_script_;
  std::map<std::string, std::deque<LookUpOutcome>, std::less<>> look_up_script_;
};

}  // namespace holdfast::test
