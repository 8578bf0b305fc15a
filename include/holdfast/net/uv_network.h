// UvNetwork: connects over libuv and look-ups by a NameService, for one loop; see uv_listener.h for
// the other way in.
//
// Contract: lives on its loop's thread and is destroyed there before the loop, after every stream
// and listener made with it. Handles live in heap blocks that are freed in uv_close's callback,
// never in a coroutine's frame; so destroying a stream or a waiting task at any moment is safe.
// Memory: one read buffer of 64 KiB for the loop; a stream owns memory only for bytes that nobody
// has consumed or the kernel has not taken.
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

#include "holdfast/base/result.h"
#include "holdfast/net/name_service.h"
#include "holdfast/net/network.h"
#include "holdfast/net/uv_listener.h"
#include "holdfast/runtime/event_loop.h"

namespace holdfast::net {

class UvNetwork final : public Connector, public Resolver {
 public:
  /// Loops share one NameService, so that a name is asked about once for all of them.
  explicit UvNetwork(runtime::EventLoop& loop,
                     std::shared_ptr<NameService> names = std::make_shared<NameService>());
  ~UvNetwork() override;

  /// Fails with connection_limit_reached where it is this process that has no descriptor or memory
  /// left.
  runtime::Task<Result<std::unique_ptr<Stream>>> connect(const Address& address,
                                                         TimePoint deadline) override;
  runtime::Task<Result<std::vector<Address>>> resolve(std::string_view host, std::uint16_t port,
                                                      TimePoint deadline) override;

  /// For names that clients choose (NameService::Wish::of_client): fails with
  /// connection_limit_reached, a local error, where too many of these are being looked up.
  Resolver& clients_names() { return clients_names_; }

  runtime::EventLoop& loop() { return loop_; }

 private:
  friend class UvStream;
  static constexpr std::size_t read_buffer_bytes = 64 * 1024;

  class ClientsNames final : public Resolver {
   public:
    explicit ClientsNames(UvNetwork& network) : network_(network) {}
    runtime::Task<Result<std::vector<Address>>> resolve(std::string_view host, std::uint16_t port,
                                                        TimePoint deadline) override;

   private:
    UvNetwork& network_;
  };

  runtime::Task<Result<std::vector<Address>>> look_up(std::string_view host, std::uint16_t port,
                                                      TimePoint deadline, NameService::Wish wish);

  runtime::EventLoop& loop_;
  std::shared_ptr<NameService> names_;
  ClientsNames clients_names_{*this};
  std::unique_ptr<char[]> read_buffer_;  // what every stream of the loop reads into
};

/// Live libuv handles of streams and listeners on this thread. Zero after a drain.
std::size_t live_handles();

/// Stands in whatever holds such a handle, to be counted.
class LiveHandle {
 public:
  LiveHandle();
  ~LiveHandle();
  LiveHandle(const LiveHandle&) = delete;
  LiveHandle& operator=(const LiveHandle&) = delete;
};

}  // namespace holdfast::net
