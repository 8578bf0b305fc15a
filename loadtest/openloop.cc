// An open-loop load generator: it sends at a fixed rate, whatever the answers do.
//
//   openloop --rate N [options] URL
//
// A closed loop asks again when it was answered: while the service stands still it asks nothing,
// and what it then reports has hardly a trace of the standstill. Here the n-th request is due
// n/rate after the start, and its latency counts from then, also if no connection was free to send
// it on. A request that gets no answer counts with the time it was waited for, and is bad; so is
// one answered with 400 or more.
//
// The last line is for a shell: result REQUESTS BAD REQUESTS_A_SECOND P50_MS P99_MS. "sent late" is
// what the generator itself was late by although a connection was free: where that comes near the
// latencies, the machine is too busy to measure them. Exit codes: 0, 2 wrong usage, 3 the machine
// or the service refused.
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <llhttp.h>
#include <CLI/CLI.hpp>

#include "loadtest/histogram.h"
#include "loadtest/plot.h"

namespace loadtest {
namespace {

using Clock = std::chrono::steady_clock;
using TimePoint = Clock::time_point;
using std::chrono::nanoseconds;

constexpr int exit_wrong_usage = 2;
constexpr int exit_refused = 3;
/// How often it is looked for requests that have waited too long.
constexpr nanoseconds patrol = std::chrono::milliseconds(100);

struct Options {
  std::string url;
  double rate = 0;
  double seconds = 10;
  int connections = 64;
  double timeout = 10;
  std::string method = "GET";
  std::vector<std::string> fields;
  std::string body;
  std::string plot;
  bool hold = false;
};

struct Url {
  std::string host;
  std::string port = "80";
  std::string authority;
  std::string target = "/";
};

[[noreturn]] void refuse(const std::string& what) {
  std::fprintf(stderr, "openloop: %s\n", what.c_str());
  std::exit(exit_refused);
}

std::optional<Url> parse(std::string_view text) {
  constexpr std::string_view scheme = "http://";
  if (!text.starts_with(scheme)) return std::nullopt;
  text.remove_prefix(scheme.size());
  Url url;
  const std::size_t slash = std::min(text.find('/'), text.size());
  url.authority = text.substr(0, slash);
  if (slash < text.size()) url.target = text.substr(slash);
  const std::size_t colon = url.authority.rfind(':');
  const bool has_port = colon != std::string::npos && !url.authority.ends_with(']');
  url.host = url.authority.substr(0, has_port ? colon : std::string::npos);
  if (has_port) url.port = url.authority.substr(colon + 1);
  if (url.host.starts_with('[')) url.host = url.host.substr(1, url.host.size() - 2);
  if (url.host.empty() || url.port.empty()) return std::nullopt;
  return url;
}

std::string request_bytes(const Options& options, const Url& url) {
  std::string bytes = options.method + " " + url.target + " HTTP/1.1\r\nHost: " + url.authority +
                      "\r\nUser-Agent: openloop\r\nAccept: */*\r\n";
  for (const std::string& field : options.fields) bytes += field + "\r\n";
  if (!options.body.empty()) {
    bytes += "Content-Length: " + std::to_string(options.body.size()) + "\r\n";
  }
  return bytes + "\r\n" + options.body;
}

struct Address {
  sockaddr_storage bytes{};
  socklen_t size = 0;
};

Address resolve(const Url& url) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(url.host.c_str(), url.port.c_str(), &hints, &found);
  if (error != 0) refuse(url.host + ": " + gai_strerror(error));
  Address address;
  std::memcpy(&address.bytes, found->ai_addr, found->ai_addrlen);
  address.size = found->ai_addrlen;
  freeaddrinfo(found);
  return address;
}

/// One connection, which carries one request at a time and is made again when it has ended.
struct Connection {
  int socket = -1;
  llhttp_t parser{};
  bool busy = false;      // a request is sent or being sent
  bool answered = false;  // its answer is whole
  bool stays = false;     // and the connection can have another request
  std::size_t sent = 0;   // bytes of the request
  bool waits_to_send = false;
  TimePoint due{};       // when the request was to be sent
  TimePoint given_up{};  // when its answer is too late
};

Connection& connection_of(llhttp_t* parser) {
  return *static_cast<Connection*>(parser->data);
}

int without_body_after_head(llhttp_t* parser) {
  return parser->method == HTTP_HEAD ? 1 : 0;
}

/// Whether the connection stays is to be asked here: after the message the parser has forgotten.
int complete(llhttp_t* parser) {
  if (parser->status_code < 200) return 0;
  connection_of(parser).answered = true;
  connection_of(parser).stays = llhttp_should_keep_alive(parser) != 0;
  return 0;
}

const llhttp_settings_t& parser_settings() {
  static const llhttp_settings_t settings = [] {
    llhttp_settings_t each;
    llhttp_settings_init(&each);
    each.on_headers_complete = without_body_after_head;
    each.on_message_complete = complete;
    return each;
  }();
  return settings;
}

class Run {
 public:
  Run(const Options& options, const Url& url)
      : options_(options),
        address_(resolve(url)),
        request_(request_bytes(options, url)),
        total_(static_cast<std::uint64_t>(options.rate * options.seconds)),
        timeout_(static_cast<std::int64_t>(options.timeout * 1e9)),
        poll_(epoll_create1(EPOLL_CLOEXEC)) {
    for (int i = 0; i < options.connections; ++i) {
      connections_.push_back(std::make_unique<Connection>());
      Connection& connection = *connections_.back();
      open(connection, 0);
      if (connection.socket < 0) refuse("cannot connect to " + url.authority);
      idle_.push_back(&connection);
    }
  }

  void run() {
    start_ = Clock::now() + std::chrono::milliseconds(10);
    free_since_ = start_;
    next_patrol_ = start_ + patrol;
    while (finished_ < total_) {
      const TimePoint now = Clock::now();
      send_due(now);
      if (now >= next_patrol_) give_up_late(now);
      wait(now);
    }
    elapsed_ = Clock::now() - start_;
  }

  const Histogram& latency() const { return latency_; }
  const Histogram& lateness() const { return lateness_; }
  std::uint64_t refused() const { return refused_; }
  std::uint64_t unanswered() const { return unanswered_; }
  double rate() const {
    return static_cast<double>(total_) / std::chrono::duration<double>(elapsed_).count();
  }

 private:
  TimePoint due(std::uint64_t request) const {
    return start_ + nanoseconds(static_cast<std::int64_t>(static_cast<double>(request) * 1e9 /
                                                          options_.rate));
  }

  void send_due(TimePoint now) {
    while (next_ < total_ && !idle_.empty() && due(next_) <= now) {
      Connection& connection = *idle_.front();
      idle_.pop_front();
      connection.due = due(next_++);
      connection.given_up = now + timeout_;
      lateness_.record(microseconds(now - std::max(connection.due, free_since_)));
      begin(connection);
    }
  }

  void begin(Connection& connection) {
    connection.busy = true;
    connection.answered = false;
    connection.sent = 0;
    if (connection.socket < 0) open(connection, SOCK_NONBLOCK);
    if (connection.socket < 0) return fail(connection);
    llhttp_init(&connection.parser, HTTP_RESPONSE, &parser_settings());
    connection.parser.data = &connection;
    if (options_.method == "HEAD") connection.parser.method = HTTP_HEAD;
    send_rest(connection);
  }

  /// Leaves the socket -1 if there is no connection to be had.
  void open(Connection& connection, int flags) {
    const int made = socket(address_.bytes.ss_family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    if (made < 0) return;
    const int on = 1;
    setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const auto* address = reinterpret_cast<const sockaddr*>(&address_.bytes);
    if (connect(made, address, address_.size) != 0 && errno != EINPROGRESS) {
      close(made);
      return;
    }
    connection.socket = made;
    connection.waits_to_send = false;
    watch(EPOLL_CTL_ADD, connection, EPOLLIN);
  }

  void watch(int operation, Connection& connection, std::uint32_t what) {
    epoll_event event{};
    event.events = what;
    event.data.ptr = &connection;
    epoll_ctl(poll_, operation, connection.socket, &event);
  }

  void send_rest(Connection& connection) {
    const ssize_t count = send(connection.socket, request_.data() + connection.sent,
                               request_.size() - connection.sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    // A connection that is still being made says EAGAIN, or ENOTCONN.
    if (count < 0 && errno != EAGAIN && errno != ENOTCONN) return fail(connection);
    connection.sent += static_cast<std::size_t>(std::max<ssize_t>(count, 0));
    const bool waits = connection.sent < request_.size();
    if (waits == connection.waits_to_send) return;
    connection.waits_to_send = waits;
    watch(EPOLL_CTL_MOD, connection, waits ? EPOLLIN | EPOLLOUT : EPOLLIN);
  }

  void receive(Connection& connection) {
    const ssize_t count = recv(connection.socket, bytes_.data(), bytes_.size(), MSG_DONTWAIT);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (!connection.busy) return drop(connection);  // an idle connection has ended
    if (count <= 0) {
      // The end of the stream may be the end of the answer.
      if (count < 0 || llhttp_finish(&connection.parser) != HPE_OK) return fail(connection);
    } else if (llhttp_execute(&connection.parser, bytes_.data(), static_cast<std::size_t>(count)) !=
               HPE_OK) {
      return fail(connection);
    }
    if (connection.answered) return end(connection, count > 0);
    if (count <= 0) fail(connection);
  }

  void end(Connection& connection, bool open) {
    if (connection.parser.status_code >= 400) ++refused_;
    // An answer before the end of the request leaves the connection in the middle of it.
    const bool reusable = open && connection.stays && connection.sent == request_.size();
    if (!reusable) drop(connection);
    finish(connection, Clock::now());
  }

  void fail(Connection& connection) {
    ++unanswered_;
    drop(connection);
    finish(connection, Clock::now());
  }

  void finish(Connection& connection, TimePoint now) {
    latency_.record(microseconds(now - connection.due));
    ++finished_;
    connection.busy = false;
    if (idle_.empty()) free_since_ = now;
    idle_.push_back(&connection);
  }

  void drop(Connection& connection) {
    if (connection.socket >= 0) close(connection.socket);
    connection.socket = -1;
  }

  /// Fails what has waited too long for its answer, or for a connection.
  void give_up_late(TimePoint now) {
    next_patrol_ = now + patrol;
    for (const auto& each : connections_) {
      if (each->busy && each->given_up <= now) fail(*each);
    }
    while (next_ < total_ && due(total_) + timeout_ <= now) {
      latency_.record(microseconds(now - due(next_++)));
      ++unanswered_;
      ++finished_;
    }
  }

  void wait(TimePoint now) {
    if (finished_ == total_) return;
    TimePoint until = next_patrol_;
    if (next_ < total_ && !idle_.empty()) until = std::min(until, due(next_));
    const std::int64_t left = std::max<std::int64_t>(nanoseconds(until - now).count(), 0);
    const timespec timeout{left / 1'000'000'000, left % 1'000'000'000};
    std::array<epoll_event, 256> events;
    const int count =
        epoll_pwait2(poll_, events.data(), static_cast<int>(events.size()), &timeout, nullptr);
    if (count < 0 && errno != EINTR) refuse(std::string("epoll_pwait2: ") + std::strerror(errno));
    for (int i = 0; i < count; ++i) {
      Connection& connection =
          *static_cast<Connection*>(events[static_cast<std::size_t>(i)].data.ptr);
      if (connection.waits_to_send) send_rest(connection);
      if (connection.socket >= 0) receive(connection);
    }
  }

  static std::uint64_t microseconds(Clock::duration time) {
    const auto count = std::chrono::duration_cast<std::chrono::microseconds>(time).count();
    return static_cast<std::uint64_t>(std::max<std::int64_t>(count, 0));
  }

  const Options& options_;
  const Address address_;
  const std::string request_;
  const std::uint64_t total_;
  const nanoseconds timeout_;
  const int poll_;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::deque<Connection*> idle_;  // in turn, so that each is used
  std::array<char, 65536> bytes_;
  TimePoint start_;
  TimePoint free_since_;  // when a connection was free again after none was
  TimePoint next_patrol_;
  Clock::duration elapsed_{};
  std::uint64_t next_ = 0;      // the first request that was not sent
  std::uint64_t finished_ = 0;  // answered, failed or given up
  std::uint64_t refused_ = 0;   // answered with 400 or more
  std::uint64_t unanswered_ = 0;
  Histogram latency_;
  Histogram lateness_;
};

double milliseconds(std::uint64_t microseconds) {
  return static_cast<double>(microseconds) / 1000;
}

void report(const Run& run) {
  const Histogram& latency = run.latency();
  std::printf("%10s %12s\n", "part", "latency ms");
  for (const double percent : {50.0, 75.0, 90.0, 99.0, 99.9, 99.99, 100.0}) {
    std::printf("%8.2f %% %12.3f\n", percent, milliseconds(latency.at(percent / 100)));
  }
  std::printf("sent late: p50 %.3f ms, p99 %.3f ms\n", milliseconds(run.lateness().at(0.5)),
              milliseconds(run.lateness().at(0.99)));
  const std::uint64_t bad = run.refused() + run.unanswered();
  if (bad > 0) {
    std::printf("bad: status %llu, no answer %llu\n",
                static_cast<unsigned long long>(run.refused()),
                static_cast<unsigned long long>(run.unanswered()));
  }
  std::printf("result %llu %llu %.0f %.3f %.3f\n", static_cast<unsigned long long>(latency.count()),
              static_cast<unsigned long long>(bad), run.rate(), milliseconds(latency.at(0.50)),
              milliseconds(latency.at(0.99)));
  std::fflush(stdout);
}

void write_plot(const Options& options, const Run& run) {
  std::ofstream file(options.plot);
  file << plot_of(run.latency(), options.url);
  file.close();
  if (!file) refuse("cannot write " + options.plot);
}

void describe(CLI::App& app, Options& options) {
  app.add_option("url", options.url, "http://HOST[:PORT]/TARGET")->required();
  app.add_option("--rate", options.rate, "requests a second")
      ->required()
      ->check(CLI::Range(0.1, 1e6));
  app.add_option("--seconds", options.seconds, "how long requests are due")
      ->check(CLI::Range(0.0001, 86400.0));
  app.add_option("--connections", options.connections)->check(CLI::Range(1, 60000));
  app.add_option("--timeout", options.timeout, "seconds, from the sending to the whole answer")
      ->check(CLI::Range(0.001, 3600.0));
  app.add_option("--method", options.method);
  app.add_option("--field", options.fields, "a field of the head, \"Name: value\"; may come again");
  app.add_option("--body", options.body);
  app.add_option("--plot", options.plot, "a file for the latencies' distribution, as SVG");
  app.add_flag("--hold", options.hold, "keep the connections, idle, until a signal ends this");
}

int measure(const Options& options) {
  const auto url = parse(options.url);
  if (!url || options.rate * options.seconds < 1) {
    std::fputs("openloop: not an http URL, or not one request in that time\n", stderr);
    return exit_wrong_usage;
  }
  // The default of 50 us would send half of the requests at 10,000 a second late.
  prctl(PR_SET_TIMERSLACK, 1UL);
  Run run(options, *url);
  run.run();
  report(run);
  if (!options.plot.empty()) write_plot(options, run);
  while (options.hold) pause();
  return 0;
}

}  // namespace
}  // namespace loadtest

int main(int argc, char** argv) {
  loadtest::Options options;
  CLI::App app("Sends requests at a fixed rate and tells their latency from when they were due.");
  loadtest::describe(app, options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : loadtest::exit_wrong_usage;
  }
  return loadtest::measure(options);
}
