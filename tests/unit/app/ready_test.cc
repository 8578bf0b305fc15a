#include "holdfast/app/ready.h"

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <string>
#include <thread>

namespace holdfast::app {
namespace {

/// A socket that listens at a port of 127.0.0.1 that the kernel chose.
class Server {
 public:
  Server() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const net::Address any = *net::Address::from_ip("127.0.0.1", 0);
    REQUIRE(bind(fd_, any.get(), any.size()) == 0);
    REQUIRE(listen(fd_, 4) == 0);
    sockaddr_storage bound{};
    socklen_t size = sizeof(bound);
    REQUIRE(getsockname(fd_, reinterpret_cast<sockaddr*>(&bound), &size) == 0);
    address_ = net::Address::from_sockaddr(reinterpret_cast<const sockaddr*>(&bound), size);
  }
  ~Server() { close(fd_); }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  const net::Address& address() const { return address_; }

  /// Takes one connection, reads a request's head, answers and closes. Returns what was asked.
  std::string answer_once(const std::string& answer) const {
    const int client = accept(fd_, nullptr, nullptr);
    std::string head;
    std::array<char, 256> buffer;
    while (head.find("\r\n\r\n") == std::string::npos) {
      const ssize_t count = recv(client, buffer.data(), buffer.size(), 0);
      if (count <= 0) break;
      head.append(buffer.data(), static_cast<std::size_t>(count));
    }
    send(client, answer.data(), answer.size(), MSG_NOSIGNAL);
    close(client);
    return head;
  }

 private:
  int fd_;
  net::Address address_;
};

struct Asked {
  std::string error;  // "": ready
  std::string request;
};

Asked ask(const std::string& answer) {
  const Server server;
  Asked asked;
  std::thread thread([&] { asked.request = server.answer_once(answer); });
  const auto result = ask_ready(server.address());
  thread.join();
  if (!result) asked.error = result.error();
  return asked;
}

}  // namespace

TEST_CASE("only 200 is ready") {
  const Asked ready = ask("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  CHECK(ready.error == "");
  CHECK(ready.request.starts_with("GET /readyz HTTP/1.1\r\nHost: localhost\r\n"));
  CHECK(ask("HTTP/1.1 503 Service Unavailable\r\n\r\n").error ==
        "it answered HTTP/1.1 503 Service Unavailable");
  CHECK(ask("").error == "the connection was closed without an answer");
  CHECK(ask("HTTP/1.1 2").error == "the connection was closed without an answer");
  CHECK(ask("SSH-2.0 200 \r\n").error == "it answered SSH-2.0 200 ");
  CHECK(ask("\r\n").error == "it answered ");
}

TEST_CASE("nobody there, and nobody answering") {
  net::Address gone;
  {
    const Server server;
    gone = server.address();
  }
  CHECK(ask_ready(gone).error() == "Connection refused");
  CHECK(ask_ready(*net::Address::from_unix_path("/nonexistent/x.sock")).error() ==
        "No such file or directory");
  const Server silent;  // the kernel accepts for it; nobody reads
  CHECK(ask_ready(silent.address(), std::chrono::milliseconds(20)).error() == "no answer in time");
}

}  // namespace holdfast::app
