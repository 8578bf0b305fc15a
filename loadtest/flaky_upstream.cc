// A service that fails as real ones do, for ./dev demo: some answers are 503, some connections are
// reset before the answer, some answers are slow. It can be switched while it runs, and its chance
// has a seed.
//
//   flaky_upstream [--port N] [--control-port N] [--mode MODE] [--seed N]
//
// Port 0 (the default) takes a free one; the first line of stdout is "PORT CONTROL_PORT".
// Control port:  GET /served says how many requests came, GET /charges how many of them charged
// (a POST to /charges, or to /charges/MS, which charges at once and answers after MS milliseconds),
// GET /mode the mode; POST /mode/MODE
// switches to one of
//   ok      every answer is good and prompt
//   flaky   20 % are 503, 5 % are resets, 10 % take 300 ms
//   slow    every answer takes 300 ms
//   down    nothing listens: connections are refused, those there were are reset
// Whatever the mode (but down), some paths always do the same: /status/N answers N, /sleep/MS
// answers after MS milliseconds, /echo answers with the head of the request as it came.
//
// Limits: one thread and poll(2), 1024 connections, requests of 64 KiB with a Content-Length body
// or none.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using SteadyClock = std::chrono::steady_clock;
using Milliseconds = std::chrono::milliseconds;

constexpr std::size_t max_connections = 1024;
constexpr std::size_t max_request_bytes = 64 * 1024;
constexpr Milliseconds slow_answer{300};

enum class Mode { ok, flaky, slow, down };
struct NamedMode {
  std::string_view name;
  Mode mode;
};
constexpr std::array<NamedMode, 4> modes{
    {{"ok", Mode::ok}, {"flaky", Mode::flaky}, {"slow", Mode::slow}, {"down", Mode::down}}};

std::optional<Mode> mode_named(std::string_view name) {
  for (const NamedMode& entry : modes) {
    if (entry.name == name) return entry.mode;
  }
  return std::nullopt;
}

std::string_view name_of(Mode mode) {
  return modes[static_cast<std::size_t>(mode)].name;
}

std::optional<int> number_in(std::string_view text) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < 0) return std::nullopt;
  return number;
}

/// The number after `prefix`, if `path` is made of the two.
std::optional<int> number_after(std::string_view prefix, std::string_view path) {
  if (!path.starts_with(prefix)) return std::nullopt;
  return number_in(path.substr(prefix.size()));
}

struct Answer {
  int status = 200;
  Milliseconds after{0};
  bool reset = false;
  std::string body;
};

struct Request {
  std::string method;
  std::string path;
  std::string head;
};

class Service {
 public:
  Service(Mode mode, std::uint64_t seed) : mode_(mode), chance_(seed) {}

  Mode mode() const { return mode_; }

  Answer answer(const Request& request) {
    ++served_;
    if (const auto status = number_after("/status/", request.path)) {
      return {.status = *status, .body = "as asked\n"};
    }
    if (const auto wait = number_after("/sleep/", request.path)) {
      return {.after = Milliseconds(*wait), .body = "slept\n"};
    }
    if (request.path == "/echo") return {.body = request.head};
    if (request.method == "POST" && request.path.starts_with("/charges")) {
      const Milliseconds wait(number_after("/charges/", request.path).value_or(0));
      const std::string charge = "{\"charge\":" + std::to_string(++charges_) + "}\n";
      return {.status = 201, .after = wait, .body = charge};
    }
    return answer_by_mode();
  }

  Answer control(const Request& request) {
    if (request.path == "/served") return {.body = std::to_string(served_) + "\n"};
    if (request.path == "/charges") return {.body = std::to_string(charges_) + "\n"};
    constexpr std::string_view prefix = "/mode/";
    if (request.path.starts_with(prefix) && request.method == "POST") {
      const auto mode = mode_named(std::string_view(request.path).substr(prefix.size()));
      if (!mode) return {.status = 404, .body = "modes: ok, flaky, slow, down\n"};
      mode_ = *mode;
    } else if (request.path != "/mode") {
      return {.status = 404, .body = "GET /mode or POST /mode/MODE\n"};
    }
    return {.body = std::string(name_of(mode_)) + "\n"};
  }

 private:
  Answer answer_by_mode() {
    const Answer good{.body = "{\"item\":\"lamp\",\"in_stock\":7}\n"};
    Answer late = good;
    late.after = slow_answer;
    if (mode_ == Mode::slow) return late;
    if (mode_ == Mode::ok) return good;
    const double drawn = std::uniform_real_distribution<double>(0, 1)(chance_);
    if (drawn < 0.20) return {.status = 503, .body = "try later\n"};
    if (drawn < 0.25) return {.reset = true, .body = {}};
    return drawn < 0.35 ? late : good;
  }

  Mode mode_;
  std::uint64_t served_ = 0;
  std::uint64_t charges_ = 0;
  std::mt19937_64 chance_;
};

struct Connection {
  int socket;
  bool control;
  std::string received;
  std::optional<Answer> answer;  // decided, and waiting for `due`
  SteadyClock::time_point due;
};

[[noreturn]] void stop(const char* what) {
  std::perror(what);
  std::exit(3);
}

int listen_on(std::uint16_t port) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (listener < 0) stop("socket");
  const int on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) stop("bind");
  if (listen(listener, 512) != 0) stop("listen");
  return listener;
}

std::uint16_t port_of(int listener) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  if (getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) != 0) stop("getsockname");
  return ntohs(address.sin_port);
}

/// Closes with a reset rather than in good order.
void reset_connection(int socket) {
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  setsockopt(socket, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  close(socket);
}

std::size_t body_size(std::string_view head) {
  std::string lower(head);
  std::ranges::transform(lower, lower.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  constexpr std::string_view name = "\r\ncontent-length:";
  const std::size_t at = lower.find(name);
  return at == std::string::npos ? 0 : std::strtoul(lower.c_str() + at + name.size(), nullptr, 10);
}

/// Takes the next whole request off `received`, if one is there.
std::optional<Request> take_request(std::string& received) {
  const std::size_t end = received.find("\r\n\r\n");
  if (end == std::string::npos) return std::nullopt;
  const std::string head = received.substr(0, end + 4);
  const std::size_t size = head.size() + body_size(head);
  if (received.size() < size) return std::nullopt;
  received.erase(0, size);

  Request request{.method = {}, .path = {}, .head = head};
  const std::size_t method_end = std::min(head.find(' '), head.size());
  request.method = head.substr(0, method_end);
  const std::size_t path_end = head.find_first_of(" ?", method_end + 1);
  request.path = head.substr(method_end + 1, path_end - method_end - 1);
  return request;
}

std::string serialized(const Answer& answer) {
  return "HTTP/1.1 " + std::to_string(answer.status) +
         (answer.status == 200 ? " OK" : " As Decided") +
         "\r\nContent-Type: text/plain\r\nContent-Length: " + std::to_string(answer.body.size()) +
         "\r\n\r\n" + answer.body;
}

class Server {
 public:
  Server(Service& service, std::uint16_t port, std::uint16_t control_port)
      : service_(service), control_listener_(listen_on(control_port)) {
    const int first = listen_on(port);
    port_ = port_of(first);
    if (service.mode() == Mode::down) {
      close(first);
    } else {
      listener_ = first;
    }
    std::printf("%u %u\n", static_cast<unsigned>(port_),
                static_cast<unsigned>(port_of(control_listener_)));
    std::fflush(stdout);
  }

  [[noreturn]] void run() {
    for (;;) {
      wait();
      follow_mode();
    }
  }

 private:
  void wait() {
    std::vector<pollfd> waited;
    waited.push_back({control_listener_, POLLIN, 0});
    waited.push_back({listener_, POLLIN, 0});  // -1 while down: poll passes over it
    for (const Connection& connection : connections_) {
      waited.push_back({connection.socket, POLLIN, 0});
    }
    if (poll(waited.data(), waited.size(), milliseconds_to_next_answer()) < 0) stop("poll");

    const std::size_t known = connections_.size();
    if (waited[0].revents != 0) accept_from(control_listener_, true);
    if (waited[1].revents != 0) accept_from(listener_, false);
    for (std::size_t i = 0; i < known; ++i) {
      if (waited[i + 2].revents != 0) receive(connections_[i]);
    }
    for (Connection& connection : connections_) serve(connection);
    std::erase_if(connections_, [](const Connection& each) { return each.socket < 0; });
  }

  int milliseconds_to_next_answer() const {
    std::optional<SteadyClock::time_point> next;
    for (const Connection& connection : connections_) {
      if (connection.answer && (!next || connection.due < *next)) next = connection.due;
    }
    if (!next) return -1;
    const auto left = std::chrono::ceil<Milliseconds>(*next - SteadyClock::now()).count();
    return static_cast<int>(std::max<std::int64_t>(left, 0));
  }

  void accept_from(int listener, bool control) {
    const int accepted = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (accepted < 0) return;
    if (connections_.size() >= max_connections) {
      reset_connection(accepted);
      return;
    }
    const int on = 1;
    setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    connections_.push_back({accepted, control, {}, std::nullopt, {}});
  }

  static void receive(Connection& connection) {
    std::array<char, 16384> bytes;
    const ssize_t count = recv(connection.socket, bytes.data(), bytes.size(), 0);
    if (count < 0 && errno == EAGAIN) return;
    if (count > 0) connection.received.append(bytes.data(), static_cast<std::size_t>(count));
    if (count <= 0 || connection.received.size() > max_request_bytes) drop(connection);
  }

  static void drop(Connection& connection) {
    if (connection.socket >= 0) reset_connection(connection.socket);
    connection.socket = -1;
    connection.answer.reset();
  }

  void serve(Connection& connection) {
    while (connection.socket >= 0) {
      if (!connection.answer) decide(connection);
      if (!connection.answer || connection.due > SteadyClock::now()) return;
      send_answer(connection);
    }
  }

  void decide(Connection& connection) {
    const std::optional<Request> request = take_request(connection.received);
    if (!request) return;
    connection.answer = connection.control ? service_.control(*request) : service_.answer(*request);
    connection.due = SteadyClock::now() + connection.answer->after;
  }

  static void send_answer(Connection& connection) {
    const Answer answer = *std::exchange(connection.answer, std::nullopt);
    const std::string bytes = serialized(answer);
    // Answers are far smaller than a socket's buffer: one that does not fit has a client that never
    // reads.
    const bool sent = !answer.reset && send(connection.socket, bytes.data(), bytes.size(),
                                            MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
    if (!sent) drop(connection);
  }

  void follow_mode() {
    const bool down = service_.mode() == Mode::down;
    if (down && listener_ >= 0) {
      close(std::exchange(listener_, -1));
      for (Connection& connection : connections_) {
        if (!connection.control) drop(connection);
      }
      std::erase_if(connections_, [](const Connection& each) { return each.socket < 0; });
    } else if (!down && listener_ < 0) {
      listener_ = listen_on(port_);
    }
  }

  Service& service_;
  int control_listener_;
  std::uint16_t port_ = 0;
  int listener_ = -1;
  std::vector<Connection> connections_;
};

struct Options {
  std::uint16_t port = 0;
  std::uint16_t control_port = 0;
  Mode mode = Mode::ok;
  std::uint64_t seed = 1;
};

std::optional<Options> options_of(const std::vector<std::string>& arguments) {
  if (arguments.size() % 2 != 0) return std::nullopt;
  Options options;
  for (std::size_t i = 0; i < arguments.size(); i += 2) {
    const std::string& name = arguments[i];
    const std::string& value = arguments[i + 1];
    const std::optional<int> number = number_in(value);
    if (name == "--mode" && mode_named(value)) {
      options.mode = *mode_named(value);
    } else if (name == "--port" && number) {
      options.port = static_cast<std::uint16_t>(*number);
    } else if (name == "--control-port" && number) {
      options.control_port = static_cast<std::uint16_t>(*number);
    } else if (name == "--seed" && number) {
      options.seed = static_cast<std::uint64_t>(*number);
    } else {
      return std::nullopt;
    }
  }
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  const auto options = options_of({argv + 1, argv + argc});
  if (!options) {
    std::fputs(
        "usage: flaky_upstream [--port N] [--control-port N] [--mode ok|flaky|slow|down] "
        "[--seed N]\n",
        stderr);
    return 2;
  }
  Service service(options->mode, options->seed);
  Server server(service, options->port, options->control_port);
  server.run();
}
