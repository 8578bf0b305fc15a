// Listening sockets, and UvListener, which accepts on one of them for one loop.
//
// Contract: open_listen_sockets() belongs to the process, a UvListener to its loop's thread. A
// connection that the kernel has accepted is served or stays in the kernel's queue: it is never
// taken and dropped. Limits: with no descriptor left, accepting pauses for 100 ms at a time.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "holdfast/base/result.h"
#include "holdfast/net/address.h"
#include "holdfast/net/stream.h"

namespace holdfast::net {

class UvNetwork;

/// Listening sockets for one address, one for each worker, ready for UvListener.
/// TCP: SO_REUSEADDR and SO_REUSEPORT; the first is bound without SO_REUSEPORT, or a taken port
/// would go unnoticed. A port of 0 is chosen once and shared. unix: one socket, whose descriptor
/// each worker duplicates; a stale socket file (nobody answers) is replaced, a living one is an
/// error, and so is a file that is no socket. The file may be used by its owner and its group
/// (0660), from the moment it is there: a folder with the set-group-ID bit says which group. All
/// descriptors are close-on-exec and non-blocking; the caller owns them until a
/// UvListener does.
struct ListenSockets {
  std::vector<int> descriptors;
  Address address;  // with the port that was chosen
  /// Of a unix socket's file, by which it is known again: device, inode and time of change.
  std::array<std::int64_t, 4> file{};
};
/// The error text says what could not be done and why ("127.0.0.1:80: permission denied").
/// REQUIRES: count > 0.
Result<ListenSockets, std::string> open_listen_sockets(const ListenAddress& address, int count);
/// Closes the descriptors that are still in it, and removes a unix socket's file, unless another
/// process has put its own in its place.
void close_listen_sockets(ListenSockets& sockets);

/// Accepts connections on one descriptor.
class UvListener {
 public:
  /// Takes ownership of `descriptor`. `on_accept` gets each connection; called on the loop. It may
  /// pause or destroy the listener. The peer of a unix connection is an Address without a path.
  UvListener(UvNetwork& network, int descriptor,
             std::function<void(std::unique_ptr<Stream>)> on_accept);
  ~UvListener();
  UvListener(const UvListener&) = delete;
  UvListener& operator=(const UvListener&) = delete;

  /// Leaves further connections in the kernel's queue (max_connections) until resume().
  void pause();
  void resume();
  bool paused() const;

  /// Takes whatever the kernel has queued (paused or not), then closes: a connection the kernel has
  /// accepted is served. Nothing comes afterwards.
  void close_after_queue();

 private:
  struct Handle;
  Handle* handle_;
};

}  // namespace holdfast::net
