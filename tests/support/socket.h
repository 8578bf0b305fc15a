// Blocking sockets for tests: connect, listen, send, receive, half-close, reset.
//
// Contract: addresses are written as in the configuration: "127.0.0.1:80", "[::1]:80",
// "unix:/run/x.sock". Every wait has a deadline; what goes wrong is a WireError with its Fault.
// Ownership: a Socket owns its descriptor.
#pragma once

#include <atomic>
#include <cstddef>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include "tests/support/eventually.h"

namespace holdfast::testing {

/// How a conversation ended other than by bytes.
enum class Fault { none, end, reset, timeout, malformed, stopped };

std::string_view name(Fault fault);

class WireError : public std::runtime_error {
 public:
  WireError(Fault fault, const std::string& what)
      : std::runtime_error(std::string(name(fault)) + ": " + what), fault_(fault) {}
  Fault fault() const { return fault_; }

 private:
  Fault fault_;
};

class Socket {
 public:
  Socket() = default;
  explicit Socket(int descriptor) : descriptor_(descriptor) {}
  ~Socket() { close(); }
  Socket(Socket&& other) noexcept;
  Socket& operator=(Socket&& other) noexcept;

  /// `receive_buffer` > 0 sets SO_RCVBUF before the connection is made, for slow readers.
  static Socket connect(std::string_view address, int receive_buffer = 0);

  bool is_open() const { return descriptor_ >= 0; }
  int descriptor() const { return descriptor_; }

  void send(std::string_view bytes, Milliseconds within = patience);
  /// Sends what fits now; returns how much that was.
  std::size_t send_some(std::string_view bytes);
  /// Bytes that came, "" at the end of the stream.
  std::string receive(std::size_t at_most, Milliseconds within = patience);
  void shutdown_write();
  /// Wakes whoever is blocked on this socket, without giving up the descriptor.
  void shutdown_both();
  /// Closes with a RST.
  void reset();
  void close();

 private:
  int descriptor_ = -1;
};

/// A listening socket on a port of the kernel's choice (port 0), or on a path.
/// While it refuses, the port stays reserved, so that nobody else can come to listen there.
class ListeningSocket {
 public:
  explicit ListeningSocket(std::string_view address, int backlog = 512);
  ~ListeningSocket();
  ListeningSocket(const ListeningSocket&) = delete;
  ListeningSocket& operator=(const ListeningSocket&) = delete;

  /// As a connection would name it: with the port that was given.
  const std::string& address() const { return address_; }
  /// The next connection, or nullopt when none came within a short time.
  std::optional<Socket> accept(Milliseconds within);
  void refuse();
  void listen_again();

 private:
  void open_listener();

  std::string address_;
  int backlog_;
  Socket reservation_;
  Socket listener_;
};

/// An address whose SYNs are dropped: connections to it are neither accepted nor refused.
class BlackHole {
 public:
  BlackHole();
  const std::string& address() const { return listener_.address(); }

 private:
  ListeningSocket listener_;
  std::optional<Socket> fillers_[4];
};

/// A TCP port of 127.0.0.1 that is free now, outside the range of outgoing connections.
int free_port();

/// True if this machine has ::1.
bool has_ipv6();

}  // namespace holdfast::testing
