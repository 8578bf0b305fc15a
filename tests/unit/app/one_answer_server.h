// OneAnswerServer: a server that gives one answer, whatever it is asked.
#pragma once

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <string>

#include "holdfast/net/address.h"

namespace holdfast::app {

/// A socket that listens at a port of 127.0.0.1 that the kernel chose.
class OneAnswerServer {
 public:
  OneAnswerServer() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const net::Address any = *net::Address::from_ip("127.0.0.1", 0);
    REQUIRE(bind(fd_, any.get(), any.size()) == 0);
    REQUIRE(listen(fd_, 4) == 0);
    sockaddr_storage bound{};
    socklen_t size = sizeof(bound);
    REQUIRE(getsockname(fd_, reinterpret_cast<sockaddr*>(&bound), &size) == 0);
    address_ = net::Address::from_sockaddr(reinterpret_cast<const sockaddr*>(&bound), size);
  }
  ~OneAnswerServer() { close(fd_); }
  OneAnswerServer(const OneAnswerServer&) = delete;
  OneAnswerServer& operator=(const OneAnswerServer&) = delete;

  const net::Address& address() const { return address_; }

  /// Takes one connection, reads until `end` has come, answers and closes. Returns what was asked.
  std::string answer_once(const std::string& answer, const std::string& end = "\r\n\r\n") const {
    const int client = accept(fd_, nullptr, nullptr);
    std::string request;
    std::array<char, 256> buffer;
    while (request.find(end) == std::string::npos) {
      const ssize_t count = recv(client, buffer.data(), buffer.size(), 0);
      if (count <= 0) break;
      request.append(buffer.data(), static_cast<std::size_t>(count));
    }
    send(client, answer.data(), answer.size(), MSG_NOSIGNAL);
    close(client);
    return request;
  }

 private:
  int fd_;
  net::Address address_;
};

}  // namespace holdfast::app
