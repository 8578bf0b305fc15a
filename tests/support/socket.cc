#include "tests/support/socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace holdfast::testing {
namespace {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;

  int family() const { return storage.ss_family; }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

[[noreturn]] void fail(const std::string& what) {
  const Fault fault = errno == ECONNRESET || errno == EPIPE ? Fault::reset : Fault::malformed;
  throw WireError(fault, what + ": " + std::strerror(errno));
}

SocketAddress unix_address(std::string_view path) {
  SocketAddress result;
  auto* address = reinterpret_cast<sockaddr_un*>(&result.storage);
  address->sun_family = AF_UNIX;
  path.copy(address->sun_path, sizeof address->sun_path - 1);
  result.length = sizeof(sockaddr_un);
  return result;
}

SocketAddress ipv6_address(const std::string& host, int port) {
  SocketAddress result;
  auto* address = reinterpret_cast<sockaddr_in6*>(&result.storage);
  address->sin6_family = AF_INET6;
  address->sin6_port = htons(static_cast<std::uint16_t>(port));
  if (inet_pton(AF_INET6, host.c_str(), &address->sin6_addr) != 1) fail("address " + host);
  result.length = sizeof(sockaddr_in6);
  return result;
}

SocketAddress ipv4_address(const std::string& host, int port) {
  SocketAddress result;
  auto* address = reinterpret_cast<sockaddr_in*>(&result.storage);
  address->sin_family = AF_INET;
  address->sin_port = htons(static_cast<std::uint16_t>(port));
  if (inet_pton(AF_INET, host.c_str(), &address->sin_addr) != 1) fail("address " + host);
  result.length = sizeof(sockaddr_in);
  return result;
}

SocketAddress parse(std::string_view text) {
  if (text.starts_with("unix:")) return unix_address(text.substr(5));
  const auto colon = text.rfind(':');
  const int port = std::stoi(std::string(text.substr(colon + 1)));
  const std::string host(text.substr(0, colon));
  if (host.starts_with('[')) return ipv6_address(host.substr(1, host.size() - 2), port);
  return ipv4_address(host, port);
}

Socket open_socket(const SocketAddress& address) {
  Socket result(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!result.is_open()) fail("socket");
  return result;
}

void enable(const Socket& socket, int level, int option) {
  const int on = 1;
  if (setsockopt(socket.descriptor(), level, option, &on, sizeof on) != 0) fail("setsockopt");
}

Socket bind_shared(const SocketAddress& address) {
  Socket result = open_socket(address);
  if (address.family() != AF_UNIX) {
    enable(result, SOL_SOCKET, SO_REUSEADDR);
    enable(result, SOL_SOCKET, SO_REUSEPORT);
  }
  if (::bind(result.descriptor(), address.get(), address.length) != 0) fail("bind");
  return result;
}

std::string with_port(std::string_view text, int port) {
  return std::string(text.substr(0, text.rfind(':') + 1)) + std::to_string(port);
}

int local_port(const Socket& socket) {
  SocketAddress bound;
  bound.length = sizeof bound.storage;
  if (getsockname(socket.descriptor(), bound.get(), &bound.length) != 0) fail("getsockname");
  // The port stands at the same place in both families.
  return ntohs(reinterpret_cast<const sockaddr_in*>(&bound.storage)->sin_port);
}

bool wait_ready(int descriptor, short events, Milliseconds within) {
  pollfd entry{descriptor, events, 0};
  const int ready = ::poll(&entry, 1, static_cast<int>(within.count()));
  if (ready < 0 && errno != EINTR) fail("poll");
  return ready > 0;
}

}  // namespace

std::string_view name(Fault fault) {
  switch (fault) {
    case Fault::none:
      return "none";
    case Fault::end:
      return "end of stream";
    case Fault::reset:
      return "reset";
    case Fault::timeout:
      return "timeout";
    case Fault::malformed:
      return "malformed";
    case Fault::stopped:
      return "stopped";
  }
  return "unknown";
}

Socket::Socket(Socket&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

Socket& Socket::operator=(Socket&& other) noexcept {
  close();
  descriptor_ = std::exchange(other.descriptor_, -1);
  return *this;
}

Socket Socket::connect(std::string_view text, int receive_buffer) {
  const SocketAddress address = parse(text);
  Socket result = open_socket(address);
  if (receive_buffer > 0) {
    setsockopt(result.descriptor_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
  }
  if (::connect(result.descriptor_, address.get(), address.length) != 0) {
    fail("connect to " + std::string(text));
  }
  if (address.family() != AF_UNIX) enable(result, IPPROTO_TCP, TCP_NODELAY);
  return result;
}

void Socket::send(std::string_view bytes, Milliseconds within) {
  const auto deadline = SteadyClock::now() + within;
  while (!bytes.empty()) {
    bytes.remove_prefix(send_some(bytes));
    if (bytes.empty()) return;
    if (SteadyClock::now() >= deadline) throw WireError(Fault::timeout, "send");
    wait_ready(descriptor_, POLLOUT, 50ms);
  }
}

std::size_t Socket::send_some(std::string_view bytes) {
  const ssize_t sent = ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent >= 0) return static_cast<std::size_t>(sent);
  if (errno != EAGAIN && errno != EINTR) fail("send");
  return 0;
}

std::string Socket::receive(std::size_t at_most, Milliseconds within) {
  if (!wait_ready(descriptor_, POLLIN, within)) throw WireError(Fault::timeout, "receive");
  std::string bytes(at_most, '\0');
  const ssize_t received = ::recv(descriptor_, bytes.data(), bytes.size(), 0);
  if (received < 0) fail("receive");
  bytes.resize(static_cast<std::size_t>(received));
  return bytes;
}

void Socket::shutdown_write() {
  ::shutdown(descriptor_, SHUT_WR);
}

void Socket::shutdown_both() {
  ::shutdown(descriptor_, SHUT_RDWR);
}

void Socket::reset() {
  const linger abort{1, 0};
  setsockopt(descriptor_, SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
  close();
}

void Socket::close() {
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = -1;
}

ListeningSocket::ListeningSocket(std::string_view address, int backlog)
    : address_(address), backlog_(backlog) {
  if (!address.starts_with("unix:")) {
    reservation_ = bind_shared(parse(address));
    address_ = with_port(address, local_port(reservation_));
  }
  open_listener();
}

ListeningSocket::~ListeningSocket() {
  if (address_.starts_with("unix:")) ::unlink(address_.c_str() + 5);
}

void ListeningSocket::open_listener() {
  listener_ = bind_shared(parse(address_));
  if (::listen(listener_.descriptor(), backlog_) != 0) fail("listen");
}

std::optional<Socket> ListeningSocket::accept(Milliseconds within) {
  if (!listener_.is_open()) {
    std::this_thread::sleep_for(within);
    return std::nullopt;
  }
  if (!wait_ready(listener_.descriptor(), POLLIN, within)) return std::nullopt;
  Socket accepted(::accept4(listener_.descriptor(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!accepted.is_open()) return std::nullopt;
  if (!address_.starts_with("unix:")) enable(accepted, IPPROTO_TCP, TCP_NODELAY);
  return accepted;
}

void ListeningSocket::refuse() {
  listener_.close();
  if (address_.starts_with("unix:")) ::unlink(address_.c_str() + 5);
}

void ListeningSocket::listen_again() {
  open_listener();
}

BlackHole::BlackHole() : listener_("127.0.0.1:0", 0) {
  const SocketAddress address = parse(listener_.address());
  for (auto& filler : fillers_) {
    filler = open_socket(address);
    fcntl(filler->descriptor(), F_SETFL, O_NONBLOCK);
    if (::connect(filler->descriptor(), address.get(), address.length) != 0 &&
        errno != EINPROGRESS) {
      fail("fill the backlog");
    }
  }
}

int free_port() {
  // Below net.ipv4.ip_local_port_range; suites that run at the same time start at different places.
  constexpr int first = 12000, count = 20000;
  static std::atomic<int> next{static_cast<int>(::getpid()) * 61};
  for (int tries = 0; tries < count; ++tries) {
    const int port = first + (next++ % count);
    try {
      const SocketAddress address = parse("127.0.0.1:" + std::to_string(port));
      const Socket probe = open_socket(address);
      if (::bind(probe.descriptor(), address.get(), address.length) == 0) return port;
    } catch (const WireError&) {
    }
  }
  throw WireError(Fault::malformed, "no free port");
}

bool has_ipv6() {
  try {
    bind_shared(parse("[::1]:0"));
    return true;
  } catch (const WireError&) {
    return false;
  }
}

}  // namespace holdfast::testing
