// A service that costs next to nothing, so that a measurement sees the proxy in front of it.
//
//   fast_upstream PORT
//
// Answers every request, whatever it asks, with 200 and 64 bytes; a request's Content-Length body
// is read and dropped. One thread and epoll; pipelined requests are answered in order. Limits:
// heads of 16 KiB.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <unordered_map>

namespace {

constexpr std::size_t max_head_bytes = 16 * 1024;
constexpr std::string_view answer =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 64\r\n\r\n"
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

struct Connection {
  std::string head;           // of the next request, as far as it came
  std::size_t body_left = 0;  // of the last request
};

bool same_letters(std::string_view text, std::string_view lower) {
  for (std::size_t i = 0; i < lower.size(); ++i) {
    if ((text[i] | 0x20) != lower[i] && text[i] != lower[i]) return false;
  }
  return true;
}

std::size_t body_size(const std::string& head) {
  constexpr std::string_view name = "content-length:";
  std::size_t line = head.find("\r\n") + 2;
  while (line + name.size() < head.size()) {
    if (same_letters(std::string_view(head).substr(line, name.size()), name)) {
      return std::strtoul(head.c_str() + line + name.size(), nullptr, 10);
    }
    line = head.find("\r\n", line) + 2;
  }
  return 0;
}

/// How many requests end within `bytes`; -1 if a head is too large.
int requests_in(Connection& connection, std::string_view bytes) {
  int requests = 0;
  while (!bytes.empty()) {
    const std::size_t body = std::min(connection.body_left, bytes.size());
    connection.body_left -= body;
    bytes.remove_prefix(body);
    if (body != 0 && connection.body_left == 0) ++requests;
    if (bytes.empty()) break;

    const std::size_t before = connection.head.size();
    connection.head.append(bytes);
    const std::size_t end = connection.head.find("\r\n\r\n", before < 3 ? 0 : before - 3);
    if (end == std::string::npos) return connection.head.size() > max_head_bytes ? -1 : requests;
    connection.head.resize(end + 4);
    bytes.remove_prefix(end + 4 - before);
    connection.body_left = body_size(connection.head);
    connection.head.clear();
    if (connection.body_left == 0) ++requests;
  }
  return requests;
}

/// False if the connection is to be closed.
bool serve(int socket, Connection& connection) {
  std::array<char, 65536> bytes;
  const ssize_t count = recv(socket, bytes.data(), bytes.size(), 0);
  if (count < 0) return errno == EAGAIN || errno == EINTR;
  if (count == 0) return false;
  const int requests =
      requests_in(connection, std::string_view(bytes.data(), static_cast<std::size_t>(count)));
  if (requests == 0) return true;
  if (requests < 0) return false;
  std::string answers;
  for (int i = 0; i < requests; ++i) answers.append(answer);
  return send(socket, answers.data(), answers.size(), MSG_NOSIGNAL) ==
         static_cast<ssize_t>(answers.size());
}

int listen_on(const char* port) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(port)));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      listen(listener, 1024) != 0) {
    std::perror("fast_upstream");
    std::exit(3);
  }
  return listener;
}

class Server {
 public:
  explicit Server(int listener) : listener_(listener), poll_(epoll_create1(EPOLL_CLOEXEC)) {
    watch(listener_);
  }

  [[noreturn]] void run() {
    std::array<epoll_event, 256> events;
    for (;;) {
      const int count = epoll_wait(poll_, events.data(), static_cast<int>(events.size()), -1);
      for (int i = 0; i < count; ++i) handle(events[static_cast<std::size_t>(i)].data.fd);
    }
  }

 private:
  void watch(int socket) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = socket;
    epoll_ctl(poll_, EPOLL_CTL_ADD, socket, &event);
  }

  void handle(int socket) {
    if (socket == listener_) {
      accept_one();
    } else if (!serve(socket, connections_[socket])) {
      connections_.erase(socket);
      close(socket);
    }
  }

  void accept_one() {
    const int accepted = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (accepted < 0) return;
    const int on = 1;
    setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    connections_[accepted] = Connection{};
    watch(accepted);
  }

  int listener_;
  int poll_;
  std::unordered_map<int, Connection> connections_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: fast_upstream PORT\n", stderr);
    return 2;
  }
  Server server(listen_on(argv[1]));
  server.run();
}
