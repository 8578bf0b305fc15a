// A service that costs next to nothing, so that a measurement sees the proxy in front of it.
//
//   fast_upstream PORT [--stall-at REQUEST MILLISECONDS]
//
// Answers every request with 200 and 64 bytes, /bytes/N with N (at most 16 MiB), and every tenth
// request of /failing with 503. A request's Content-Length body is read and dropped. With
// --stall-at it stands still, once, before it answers the REQUESTth request. PORT 0 is a free one;
// the port is printed. One thread and epoll; pipelined requests are answered in order. Started
// twice on one port, the two share its connections. Limits: heads of 16 KiB; no more is read of a
// connection that owes an answer.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <utility>

namespace {

constexpr std::size_t max_head_bytes = 16 * 1024;
constexpr std::size_t max_answer_bytes = 16 * 1024 * 1024;
constexpr std::size_t plain_answer_bytes = 64;

struct Connection {
  std::string head;                       // of the next request, as far as it came
  const std::string* answer = nullptr;    // to the request whose body is being read
  std::size_t body_left = 0;              // of that request
  std::deque<const std::string*> owed{};  // whole requests' answers
  std::size_t sent = 0;                   // of the first of them
  bool waits_to_send = false;
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

/// The second word of the head.
std::string_view target_of(std::string_view head) {
  const std::size_t begin = std::min(head.find(' '), head.size() - 1) + 1;
  return head.substr(begin, head.find_first_of(" \r", begin) - begin);
}

struct Stall {
  std::uint64_t at = 0;  // the number of a request, from 1; 0 for never
  std::chrono::milliseconds duration{0};
};

/// What is answered: heads and bodies, made when first asked for and kept.
class Answers {
 public:
  explicit Answers(Stall stall) : stall_(stall) {}

  const std::string* to(std::string_view head) {
    if (++requests_ == stall_.at) std::this_thread::sleep_for(stall_.duration);
    const std::string_view target = target_of(head);
    if (target == "/failing" && ++failing_ % 10 == 0) return kept("503 Service Unavailable", 64);
    constexpr std::string_view prefix = "/bytes/";
    std::size_t size = plain_answer_bytes;
    if (target.starts_with(prefix)) {
      std::from_chars(target.data() + prefix.size(), target.data() + target.size(), size);
    }
    return kept("200 OK", std::min(size, max_answer_bytes));
  }

 private:
  const std::string* kept(std::string_view status, std::size_t size) {
    std::string& answer = answers_[{status, size}];
    if (answer.empty()) {
      answer.append("HTTP/1.1 ").append(status);
      answer.append("\r\nContent-Type: text/plain\r\nContent-Length: ");
      answer.append(std::to_string(size)).append("\r\n\r\n");
      for (std::size_t i = 0; i < size; ++i) answer += "0123456789abcdef"[i % 16];
    }
    return &answer;
  }

  const Stall stall_;
  std::uint64_t requests_ = 0;
  std::uint64_t failing_ = 0;
  std::map<std::pair<std::string_view, std::size_t>, std::string> answers_;
};

/// Takes in what came, and owes the answers to the requests that end within it. False if a head is
/// too large.
bool take(Connection& connection, std::string_view bytes, Answers& answers) {
  for (;;) {
    const std::size_t body = std::min(connection.body_left, bytes.size());
    connection.body_left -= body;
    bytes.remove_prefix(body);
    if (connection.answer != nullptr && connection.body_left == 0) {
      connection.owed.push_back(std::exchange(connection.answer, nullptr));
    }
    if (bytes.empty()) return true;

    const std::size_t before = connection.head.size();
    connection.head.append(bytes);
    const std::size_t end = connection.head.find("\r\n\r\n", before < 3 ? 0 : before - 3);
    if (end == std::string::npos) return connection.head.size() <= max_head_bytes;
    connection.head.resize(end + 4);
    bytes.remove_prefix(end + 4 - before);
    connection.body_left = body_size(connection.head);
    connection.answer = answers.to(connection.head);
    connection.head.clear();
  }
}

int listen_on(const char* port) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  setsockopt(listener, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(port)));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      listen(listener, 1024) != 0) {
    std::perror("fast_upstream");
    std::exit(3);
  }
  socklen_t size = sizeof address;
  getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
  std::printf("%d\n", ntohs(address.sin_port));
  std::fflush(stdout);
  return listener;
}

class Server {
 public:
  Server(int listener, Stall stall)
      : listener_(listener), poll_(epoll_create1(EPOLL_CLOEXEC)), answers_(stall) {
    watch(EPOLL_CTL_ADD, listener_, EPOLLIN);
  }

  [[noreturn]] void run() {
    std::array<epoll_event, 256> events;
    for (;;) {
      const int count = epoll_wait(poll_, events.data(), static_cast<int>(events.size()), -1);
      for (int i = 0; i < count; ++i) handle(events[static_cast<std::size_t>(i)].data.fd);
    }
  }

 private:
  void watch(int operation, int socket, std::uint32_t what) {
    epoll_event event{};
    event.events = what;
    event.data.fd = socket;
    epoll_ctl(poll_, operation, socket, &event);
  }

  void handle(int socket) {
    if (socket == listener_) {
      accept_one();
      return;
    }
    Connection& connection = connections_[socket];
    const bool open = connection.owed.empty() ? receive(socket, connection) : true;
    if (!open || !send_owed(socket, connection)) {
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
    watch(EPOLL_CTL_ADD, accepted, EPOLLIN);
  }

  /// False if the connection is to be closed; so below.
  bool receive(int socket, Connection& connection) {
    const ssize_t count = recv(socket, bytes_.data(), bytes_.size(), 0);
    if (count < 0) return errno == EAGAIN || errno == EINTR;
    if (count == 0) return false;
    return take(connection, {bytes_.data(), static_cast<std::size_t>(count)}, answers_);
  }

  bool send_owed(int socket, Connection& connection) {
    while (!connection.owed.empty()) {
      const std::string& answer = *connection.owed.front();
      const ssize_t count = send(socket, answer.data() + connection.sent,
                                 answer.size() - connection.sent, MSG_NOSIGNAL);
      if (count < 0 && errno != EAGAIN) return false;
      connection.sent += static_cast<std::size_t>(std::max<ssize_t>(count, 0));
      if (connection.sent < answer.size()) break;
      connection.owed.pop_front();
      connection.sent = 0;
    }
    if (connection.waits_to_send == connection.owed.empty()) {
      connection.waits_to_send = !connection.waits_to_send;
      watch(EPOLL_CTL_MOD, socket, connection.waits_to_send ? EPOLLOUT : EPOLLIN);
    }
    return true;
  }

  int listener_;
  int poll_;
  Answers answers_;
  std::unordered_map<int, Connection> connections_;
  std::array<char, 65536> bytes_;
};

}  // namespace

int main(int argc, char** argv) {
  Stall stall;
  if (argc == 5 && std::string_view(argv[2]) == "--stall-at") {
    stall = {std::strtoull(argv[3], nullptr, 10), std::chrono::milliseconds(std::atol(argv[4]))};
  } else if (argc != 2) {
    std::fputs("usage: fast_upstream PORT [--stall-at REQUEST MILLISECONDS]\n", stderr);
    return 2;
  }
  Server server(listen_on(argv[1]), stall);
  server.run();
}
