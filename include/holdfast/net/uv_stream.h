// UvStream: a TCP or unix connection over libuv.
//
// Contract: that of Stream. Made by UvNetwork::connect() and UvListener only. The libuv handle
// lives in a heap block of its own, which outlives the stream until uv_close's callback. Cost:
// reading is started once and left on (only a full read-ahead stops it), and a send goes straight
// to the kernel: in steady state a message is one read and one write, and nothing is allocated.
#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "holdfast/net/stream.h"
#include "holdfast/runtime/timers.h"

namespace holdfast::net {

class UvNetwork;

class UvStream final : public Stream {
 public:
  /// Not connected yet. `family` is AF_INET, AF_INET6 or AF_UNIX.
  UvStream(UvNetwork& network, int family);
  ~UvStream() override;

  /// Takes ownership of a connected socket.
  static std::unique_ptr<UvStream> accepted(UvNetwork& network, int descriptor,
                                            const Address& peer);

  /// Filled by start_connect(), at once or from the loop.
  struct Connecting {
    runtime::Signal ended;
    int status = 0;  // libuv's: 0 or a negative errno
  };
  /// `connecting` must live until `ended` is given or the stream is destroyed. A negative errno: it
  /// failed at once, and nothing will be given.
  int start_connect(const Address& address, Connecting& connecting);
  /// Sets the options of a connected socket and starts reading.
  void established(const Address& peer);

  using Stream::send;
  bool send(std::span<const std::string_view> pieces) override;
  void finish() override;
  void abort() override;
  bool still_quiet() override;
  std::size_t queued() const override;

 private:
  struct Handle;
  struct QueuedWrite;

  void set_reading(bool reading) override;
  std::size_t try_write(std::span<const std::string_view> pieces);
  void queue(std::span<const std::string_view> pieces, std::size_t skipped);
  void on_read(long count, const char* bytes);
  void on_written(int status);
  void take_last_input();
  int pending_error() const;
  bool is_tcp() const;

  UvNetwork& network_;
  Handle* handle_;
  int descriptor_ = -1;  // of an established connection
  bool finished_ = false;
};

}  // namespace holdfast::net
