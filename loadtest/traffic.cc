// Sends a bounded number of GETs over several keep-alive connections and says how they went, for
// ./dev demo.
//
//   traffic HOST PORT PATH REQUESTS CONNECTIONS
//
// One thread for each connection, blocking sockets. A good answer is a 2xx that is complete within
// two seconds; anything else (another status, a reset, a time-out, a refused connection) is bad,
// and the next request takes a new connection. Percentiles are exact: every sample is kept, good
// and bad. Prints lines for a shell to read: sent, good, good_percent, p50_ms, p95_ms, p99_ms.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr std::chrono::seconds patience{2};

struct Target {
  sockaddr_in address;
  std::string request;
};

struct Sample {
  double milliseconds;
  bool good;
};

/// One connection that is made again after each failure.
class Client {
 public:
  explicit Client(const Target& target) : target_(target) {}
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client() { disconnect(); }

  Sample get() {
    const auto began = SteadyClock::now();
    deadline_ = began + patience;
    const bool good = connected() && sent() && answered();
    if (!keep_) disconnect();
    const std::chrono::duration<double, std::milli> took = SteadyClock::now() - began;
    return {took.count(), good};
  }

 private:
  bool connected() {
    keep_ = false;
    if (socket_ >= 0) return true;
    socket_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int on = 1;
    setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const auto* address = reinterpret_cast<const sockaddr*>(&target_.address);
    return connect(socket_, address, sizeof target_.address) == 0;
  }

  bool sent() {
    const std::string& request = target_.request;
    return send(socket_, request.data(), request.size(), MSG_NOSIGNAL) ==
           static_cast<ssize_t>(request.size());
  }

  bool answered() {
    std::string answer;
    std::size_t head_end = std::string::npos;
    while ((head_end = answer.find("\r\n\r\n")) == std::string::npos) {
      if (!receive(answer)) return false;
    }
    constexpr std::string_view length_field = "\r\nContent-Length:";
    const std::size_t length_at = answer.find(length_field);
    if (length_at >= head_end) return false;
    const std::size_t size =
        std::strtoul(answer.c_str() + length_at + length_field.size(), nullptr, 10);
    while (answer.size() < head_end + 4 + size) {
      if (!receive(answer)) return false;
    }
    keep_ = std::string_view(answer).substr(0, head_end).find("\r\nConnection: close") ==
            std::string_view::npos;
    return answer.starts_with("HTTP/1.1 2");
  }

  bool receive(std::string& answer) {
    const auto left =
        std::chrono::ceil<std::chrono::microseconds>(deadline_ - SteadyClock::now()).count();
    if (left <= 0) return false;
    const timeval timeout{.tv_sec = left / 1'000'000, .tv_usec = left % 1'000'000};
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    std::array<char, 4096> bytes;
    const ssize_t count = recv(socket_, bytes.data(), bytes.size(), 0);
    if (count <= 0) return false;
    answer.append(bytes.data(), static_cast<std::size_t>(count));
    return true;
  }

  void disconnect() {
    if (socket_ >= 0) close(socket_);
    socket_ = -1;
  }

  const Target& target_;
  SteadyClock::time_point deadline_;
  int socket_ = -1;
  bool keep_ = false;
};

std::vector<Sample> send_all(const Target& target, int requests, int connections) {
  std::vector<Sample> samples(static_cast<std::size_t>(requests));
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    Client client(target);
    for (std::size_t i = next++; i < samples.size(); i = next++) samples[i] = client.get();
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < connections; ++i) threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();
  return samples;
}

/// The smallest sample that at least `percent` of all do not exceed. REQUIRES: samples, sorted.
double percentile(const std::vector<Sample>& sorted, std::size_t percent) {
  const std::size_t rank = (sorted.size() * percent + 99) / 100;
  return sorted[std::max<std::size_t>(rank, 1) - 1].milliseconds;
}

void print(std::vector<Sample> samples) {
  std::ranges::sort(samples, {}, &Sample::milliseconds);
  const auto good = std::ranges::count(samples, true, &Sample::good);
  const double share = 100.0 * static_cast<double>(good) / static_cast<double>(samples.size());
  std::printf("sent=%zu\ngood=%td\ngood_percent=%.2f\np50_ms=%.1f\np95_ms=%.1f\np99_ms=%.1f\n",
              samples.size(), good, share, percentile(samples, 50), percentile(samples, 95),
              percentile(samples, 99));
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  Target target{};
  const bool known = arguments.size() == 5 &&
                     inet_pton(AF_INET, arguments[0].c_str(), &target.address.sin_addr) == 1;
  const int requests = known ? std::atoi(arguments[3].c_str()) : 0;
  const int connections = known ? std::atoi(arguments[4].c_str()) : 0;
  if (requests <= 0 || connections <= 0 || connections > 256) {
    std::fputs("usage: traffic IPV4_ADDRESS PORT PATH REQUESTS CONNECTIONS\n", stderr);
    return 2;
  }
  target.address.sin_family = AF_INET;
  target.address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(arguments[1].c_str())));
  target.request = "GET " + arguments[2] + " HTTP/1.1\r\nHost: " + arguments[0] + "\r\n\r\n";
  print(send_all(target, requests, connections));
}
