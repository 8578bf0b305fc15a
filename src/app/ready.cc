#include "holdfast/app/ready.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string_view>
#include <system_error>

#include <fmt/format.h>

#include "holdfast/base/clock.h"
#include "holdfast/policy/timeout.h"

namespace holdfast::app {
namespace {

constexpr std::string_view request =
    "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
constexpr std::string_view ready_line_end = " 200 ";
constexpr std::size_t status_line_prefix = std::string_view("HTTP/1.1").size();

class Socket {
 public:
  explicit Socket(int family)
      : fd_(socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {}
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int fd() const { return fd_; }

  /// Waits until the socket is ready for `events`; false at the deadline.
  bool wait(short events, TimePoint deadline) const {
    while (true) {
      const Duration left = policy::time_left(deadline, SystemClock().now());
      if (left == Duration::zero()) return false;
      pollfd entry{fd_, events, 0};
      const auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(left).count();
      const int count = poll(&entry, 1, static_cast<int>(milliseconds));
      if (count > 0) return true;
      if (count < 0 && errno != EINTR) return false;
    }
  }

 private:
  int fd_;
};

std::string message_of(int error) {
  return std::generic_category().message(error);
}

Result<void, std::string> connect_to(const Socket& socket, const net::Address& address,
                                     TimePoint deadline) {
  if (connect(socket.fd(), address.get(), address.size()) == 0) return {};
  if (errno != EINPROGRESS) return unexpected(message_of(errno));
  if (!socket.wait(POLLOUT, deadline)) return unexpected(std::string("no connection in time"));
  int error = 0;
  socklen_t size = sizeof(error);
  getsockopt(socket.fd(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) return unexpected(message_of(error));
  return {};
}

/// The answer up to the end of its status line.
Result<std::string, std::string> read_status_line(const Socket& socket, TimePoint deadline) {
  constexpr std::size_t max_bytes = 4096;
  std::string answer;
  std::array<char, 512> buffer;
  while (answer.find("\r\n") == std::string::npos && answer.size() < max_bytes) {
    if (!socket.wait(POLLIN, deadline)) return unexpected(std::string("no answer in time"));
    const ssize_t count = recv(socket.fd(), buffer.data(), buffer.size(), 0);
    if (count < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (count < 0) return unexpected(message_of(errno));
    if (count == 0) return unexpected(std::string("the connection was closed without an answer"));
    answer.append(buffer.data(), static_cast<std::size_t>(count));
  }
  return answer.substr(0, answer.find("\r\n"));
}

}  // namespace

Result<void, std::string> ask_ready(const net::Address& admin, Duration timeout) {
  const TimePoint deadline = after(SystemClock().now(), timeout);
  const Socket socket(admin.family());
  if (socket.fd() < 0) return unexpected(message_of(errno));
  if (auto connected = connect_to(socket, admin, deadline); !connected) return connected;
  // So few bytes fit into the empty buffer of a new connection.
  if (send(socket.fd(), request.data(), request.size(), MSG_NOSIGNAL) < 0) {
    return unexpected(message_of(errno));
  }
  const auto line = read_status_line(socket, deadline);
  if (!line) return unexpected(line.error());
  const std::string_view rest =
      std::string_view(*line).substr(std::min(status_line_prefix, line->size()));
  if (line->starts_with("HTTP/1.") && rest.starts_with(ready_line_end)) return {};
  return unexpected(fmt::format("it answered {}", *line));
}

}  // namespace holdfast::app
