#include "holdfast/app/admin_client.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <system_error>

#include <fmt/format.h>

#include "holdfast/base/clock.h"
#include "holdfast/policy/timeout.h"

namespace holdfast::app {
namespace {

constexpr std::size_t max_answer = 64 * 1024;
constexpr std::string_view line_end = "\r\n";
constexpr std::string_view head_end = "\r\n\r\n";

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

/// All that comes until the other side closes.
Result<std::string, std::string> read_all(const Socket& socket, TimePoint deadline) {
  std::string answer;
  std::array<char, 4096> buffer;
  while (true) {
    if (!socket.wait(POLLIN, deadline)) return unexpected(std::string("no answer in time"));
    const ssize_t count = recv(socket.fd(), buffer.data(), buffer.size(), 0);
    if (count < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (count < 0) return unexpected(message_of(errno));
    if (count == 0) return answer;
    answer.append(buffer.data(), static_cast<std::size_t>(count));
    if (answer.size() > max_answer) return unexpected(std::string("the answer is too long"));
  }
}

int status_of(std::string_view status_line) {
  constexpr std::size_t digits = 3;
  const std::size_t space = status_line.find(' ');
  if (!status_line.starts_with("HTTP/1.") || space == std::string_view::npos) return 0;
  const std::string_view text = status_line.substr(space + 1, digits);
  int status = 0;
  std::from_chars(text.data(), text.data() + text.size(), status);
  return status;
}

/// The answer is delimited by its connection's end: the request says `Connection: close`.
Result<AdminAnswer, std::string> parse_answer(const std::string& text) {
  const std::size_t end = text.find(line_end);
  if (end == std::string::npos) {
    return unexpected(std::string("the connection was closed without an answer"));
  }
  AdminAnswer answer;
  answer.status_line = text.substr(0, end);
  answer.status = status_of(answer.status_line);
  const std::size_t head = text.find(head_end);
  if (head != std::string::npos) answer.body = text.substr(head + head_end.size());
  return answer;
}

Result<AdminAnswer, std::string> ask(const net::Address& admin, const std::string& request,
                                     Duration timeout) {
  const TimePoint deadline = after(SystemClock().now(), timeout);
  const Socket socket(admin.family());
  if (socket.fd() < 0) return unexpected(message_of(errno));
  const auto connected = connect_to(socket, admin, deadline);
  if (!connected) return unexpected(connected.error());
  // So few bytes fit into the empty buffer of a new connection.
  if (send(socket.fd(), request.data(), request.size(), MSG_NOSIGNAL) < 0) {
    return unexpected(message_of(errno));
  }
  const auto text = read_all(socket, deadline);
  if (!text) return unexpected(text.error());
  return parse_answer(*text);
}

}  // namespace

Result<AdminAnswer, std::string> admin_get(const net::Address& admin, std::string_view path,
                                           Duration timeout) {
  const std::string request =
      fmt::format("GET {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", path);
  return ask(admin, request, timeout);
}

Result<AdminAnswer, std::string> admin_post(const net::Address& admin, std::string_view path,
                                            std::string_view json, Duration timeout) {
  const std::string request = fmt::format(
      "POST {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Holdfast-Admin: 1\r\n"
      "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{}",
      path, json.size(), json);
  return ask(admin, request, timeout);
}

}  // namespace holdfast::app
