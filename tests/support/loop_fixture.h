// LoopFixture: an event loop with a network, and plain blocking sockets as the other end, for tests
// of what waits. Everything runs on one thread: what a plain socket sends is small enough for the
// kernel.
#pragma once

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "holdfast/net/uv_network.h"
#include "holdfast/net/uv_stream.h"
#include "holdfast/runtime/event_loop.h"
#include "holdfast/runtime/task.h"

namespace holdfast::test {

/// A path for a unix socket that no other run of the tests uses at the same time.
inline std::string socket_path(std::string_view name) {
  return "/tmp/holdfast_" + std::string(name) + "_" + std::to_string(::getpid());
}

/// A socket of the test's own. It blocks, for at most five seconds.
class PlainSocket {
 public:
  explicit PlainSocket(int descriptor = -1) : descriptor_(descriptor) {
    const timeval limit{5, 0};
    if (descriptor_ >= 0) {
      ::setsockopt(descriptor_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
      ::setsockopt(descriptor_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    }
  }
  PlainSocket(PlainSocket&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  PlainSocket& operator=(PlainSocket&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~PlainSocket() { close(); }

  static PlainSocket connected_to(const net::Address& address) {
    PlainSocket socket(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(::connect(socket.descriptor_, address.get(), address.size()) == 0);
    return socket;
  }

  bool is_open() const { return descriptor_ >= 0; }
  int get() const { return descriptor_; }
  int release() { return std::exchange(descriptor_, -1); }
  void close() {
    if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
  }
  void reset() {
    const linger at_once{1, 0};
    ::setsockopt(descriptor_, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    close();
  }
  void finish() { ::shutdown(descriptor_, SHUT_WR); }

  void send(std::string_view bytes) {
    REQUIRE(::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
            static_cast<ssize_t>(bytes.size()));
  }
  /// What one read gives; "" at the end. `error` is the errno, or 0.
  std::string receive(int& error, std::size_t at_most = 1 << 16) {
    std::string bytes(at_most, '\0');
    const ssize_t count = ::recv(descriptor_, bytes.data(), bytes.size(), 0);
    error = count < 0 ? errno : 0;
    bytes.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
    return bytes;
  }
  /// Everything up to the end, which must come.
  std::string receive_all() {
    std::string all;
    for (;;) {
      int error = 0;
      const std::string bytes = receive(error);
      REQUIRE(error == 0);
      if (bytes.empty()) return all;
      all += bytes;
    }
  }
  /// True if there is something to read (or the end) without waiting.
  bool readable() const {
    pollfd poll{descriptor_, POLLIN, 0};
    return ::poll(&poll, 1, 0) == 1;
  }

 private:
  int descriptor_;
};

class LoopFixture {
 public:
  LoopFixture() { std::signal(SIGPIPE, SIG_IGN); }

  runtime::EventLoop loop;
  net::UvNetwork network{loop};

  TimePoint in(Duration duration) { return after(loop.context().now(), duration); }

  /// Runs the loop until the task has ended; ten seconds are a failure.
  template <class T>
  void run(runtime::Task<T>& task) {
    runtime::Task<void> watchdog = sleep(in(std::chrono::seconds(10)));
    runtime::Task<void> stopper = stop_after(task, watchdog);
    stopper.start();
    if (!stopper.done()) loop.run();
    REQUIRE(task.done());
  }

  /// Lets the loop go round until `condition` holds; ten seconds are a failure.
  template <class Condition>
  void run_until(Condition condition) {
    const TimePoint deadline = in(std::chrono::seconds(10));
    while (!condition()) {
      REQUIRE(loop.context().now() < deadline);
      turn();
    }
  }

  /// A turn of the loop, or a millisecond of it.
  void turn() {
    runtime::Task<void> pause = sleep(in(std::chrono::milliseconds(1)));
    run_unwatched(pause);
  }

 private:
  runtime::Task<void> sleep(TimePoint until) {
    co_await runtime::sleep_until(loop.context().timers, until);
  }
  template <class T>
  runtime::Task<void> stop_after(runtime::Task<T>& task, runtime::Task<void>& watchdog) {
    co_await runtime::first_of(task, watchdog);
    loop.stop();
  }
  runtime::Task<void> stop_when_done(runtime::Task<void>& task) {
    co_await task;
    loop.stop();
  }
  void run_unwatched(runtime::Task<void>& task) {
    runtime::Task<void> stopper = stop_when_done(task);
    stopper.start();
    loop.run();
  }
};

/// A stream over a socket, and the plain other end of it.
struct ConnectedPair {
  std::unique_ptr<net::UvStream> stream;
  PlainSocket peer;
};

/// `listen` is as in a configuration: "127.0.0.1:0", "[::1]:0", "unix:/path".
inline ConnectedPair connect_pair(net::UvNetwork& network, std::string_view listen) {
  const auto where = net::ListenAddress::parse(listen);
  REQUIRE(where);
  auto sockets = net::open_listen_sockets(*where, 1);
  REQUIRE(sockets);
  PlainSocket peer = PlainSocket::connected_to(sockets->address);
  const int accepted = ::accept4(sockets->descriptors[0], nullptr, nullptr, SOCK_CLOEXEC);
  REQUIRE(accepted >= 0);
  net::close_listen_sockets(*sockets);
  return {net::UvStream::accepted(network, accepted, sockets->address), std::move(peer)};
}

}  // namespace holdfast::test
