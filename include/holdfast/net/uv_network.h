// UvNetwork: streams, connects, look-ups and listeners over libuv, for one loop.
//
// Contract: lives on its loop's thread and is destroyed there before the loop, after every stream and
// listener made with it. Handles live in heap blocks that are freed in uv_close's callback, never in a
// coroutine's frame; so destroying a stream or a waiting task at any moment is safe.
// Memory: one read buffer of 64 KiB for the loop; a stream owns memory only for bytes that nobody has
// consumed or the kernel has not taken.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "holdfast/base/result.h"
#include "holdfast/net/network.h"
#include "holdfast/runtime/event_loop.h"

namespace holdfast::net {

/// Listening sockets for one address, one for each worker, ready for UvListener.
/// TCP: SO_REUSEADDR and SO_REUSEPORT; the first is bound once without SO_REUSEPORT, or a taken port would
/// go unnoticed. A port of 0 is chosen once and shared. unix: one socket, whose descriptor each worker
/// duplicates; a stale socket file (nobody answers) is replaced, a living one is an error.
/// All descriptors are close-on-exec and non-blocking; the caller owns them.
struct ListenSockets {
  std::vector<int> descriptors;
  Address address;  // with the port that was chosen
};
/// The error text says what could not be done and why ("127.0.0.1:80: permission denied").
Result<ListenSockets, std::string> open_listen_sockets(const ListenAddress& address, int count);
/// Closes them, and removes a unix socket's file.
void close_listen_sockets(ListenSockets& sockets);

class UvNetwork final : public Connector, public Resolver {
 public:
  explicit UvNetwork(runtime::EventLoop& loop);
  ~UvNetwork() override;

  runtime::Task<Result<std::unique_ptr<Stream>>> connect(const Address& address,
                                                         TimePoint deadline) override;
  runtime::Task<Result<std::vector<Address>>> resolve(std::string_view host, std::uint16_t port,
                                                      TimePoint deadline) override;

  runtime::EventLoop& loop() { return loop_; }

 private:
  friend class UvStream;
  friend class UvListener;
  runtime::EventLoop& loop_;
  std::unique_ptr<char[]> read_buffer_;
};

/// Accepts connections on one descriptor.
class UvListener {
 public:
  /// Takes ownership of `descriptor`. `on_accept` gets each connection; called on the loop.
  UvListener(UvNetwork& network, int descriptor,
             std::function<void(std::unique_ptr<Stream>)> on_accept);
  ~UvListener();
  UvListener(const UvListener&) = delete;
  UvListener& operator=(const UvListener&) = delete;

  /// Leaves further connections in the kernel's queue (max_connections). At most one that had been
  /// taken already is kept until resume().
  void pause();
  void resume();
  bool paused() const;

  /// Takes whatever the kernel has queued, then closes: a connection the kernel has accepted is served.
  void close_after_queue();

 private:
  struct Handle;
  Handle* handle_;
};

/// Live libuv handles of streams and listeners on this thread. Zero after a drain.
std::size_t live_handles();

}  // namespace holdfast::net
