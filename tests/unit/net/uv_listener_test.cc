#include "holdfast/net/uv_listener.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/loop_fixture.h"

namespace holdfast::net {
namespace {

using std::chrono::milliseconds;
using test::LoopFixture;
using test::PlainSocket;

const std::string socket_path = test::socket_path("listener");
const std::string unix_place = "unix:" + socket_path;

ListenSockets opened(std::string_view place, int count = 1) {
  auto sockets = open_listen_sockets(*ListenAddress::parse(place), count);
  REQUIRE(sockets);
  return *sockets;
}

std::string refusal(std::string_view place, int count = 1) {
  auto sockets = open_listen_sockets(*ListenAddress::parse(place), count);
  REQUIRE_FALSE(sockets);
  return sockets.error();
}

// Listeners on every socket that was opened, and what they took.
struct Server {
  Server(LoopFixture& fixture, std::string_view place, int count = 1)
      : sockets(opened(place, count)) {
    address = sockets.address;
    for (const int descriptor : std::exchange(sockets.descriptors, {})) {
      listeners.push_back(std::make_unique<UvListener>(fixture.network, descriptor,
                                                       [this](std::unique_ptr<Stream> stream) {
                                                         accepted.push_back(std::move(stream));
                                                         if (on_accept) on_accept();
                                                       }));
    }
  }
  ~Server() { close_listen_sockets(sockets); }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  UvListener& listener() { return *listeners.front(); }

  ListenSockets sockets;
  Address address;
  std::vector<std::unique_ptr<Stream>> accepted;
  std::function<void()> on_accept;
  std::vector<std::unique_ptr<UvListener>> listeners;
};

std::vector<PlainSocket> clients_of(const Address& address, int count) {
  std::vector<PlainSocket> clients;
  for (int i = 0; i < count; ++i) clients.push_back(PlainSocket::connected_to(address));
  return clients;
}

void everything_is_freed(LoopFixture& fixture) {
  fixture.run_until([] { return live_handles() == 0; });
}

TEST_CASE("a connection is accepted, knows its peer, and works") {
  for (const std::string& place :
       {std::string("127.0.0.1:0"), std::string("[::1]:0"), unix_place}) {
    CAPTURE(place);
    LoopFixture f;
    {
      Server server(f, place);
      auto clients = clients_of(server.address, 1);
      f.run_until([&] { return server.accepted.size() == 1; });
      Stream& stream = *server.accepted.front();
      if (server.address.is_unix()) {
        CHECK(stream.peer().is_unix());
        CHECK(stream.peer().size() == sizeof(sa_family_t));
      } else {
        sockaddr_storage local{};
        socklen_t size = sizeof(local);
        auto* raw = reinterpret_cast<sockaddr*>(&local);
        REQUIRE(::getsockname(clients[0].get(), raw, &size) == 0);
        CHECK(stream.peer() == Address::from_sockaddr(raw, size));
      }
      clients[0].send("hi");
      f.run_until([&] { return stream.input() == "hi"; });
      stream.send("ho");
      int error = 0;
      CHECK(clients[0].receive(error) == "ho");
    }
    everything_is_freed(f);
  }
}

TEST_CASE("connections that came while nobody accepted are served") {
  LoopFixture f;
  Server server(f, "127.0.0.1:0");
  const auto clients = clients_of(server.address, 100);
  f.run_until([&] { return server.accepted.size() == 100; });
}

TEST_CASE("several workers share a port, and every connection reaches one") {
  LoopFixture f;
  Server server(f, "127.0.0.1:0", 3);
  CHECK(server.listeners.size() == 3);
  const auto clients = clients_of(server.address, 60);
  f.run_until([&] { return server.accepted.size() == 60; });
}

TEST_CASE("several workers share a unix socket") {
  LoopFixture f;
  Server server(f, unix_place, 3);
  const auto clients = clients_of(server.address, 20);
  f.run_until([&] { return server.accepted.size() == 20; });
}

TEST_CASE("descriptors are close-on-exec and do not block") {
  for (const std::string& place : {std::string("127.0.0.1:0"), unix_place}) {
    ListenSockets sockets = opened(place, 2);
    REQUIRE(sockets.descriptors.size() == 2);
    for (const int descriptor : sockets.descriptors) {
      CHECK((::fcntl(descriptor, F_GETFD) & FD_CLOEXEC) != 0);
      CHECK((::fcntl(descriptor, F_GETFL) & O_NONBLOCK) != 0);
    }
    close_listen_sockets(sockets);
    CHECK(sockets.descriptors.empty());
  }
}

TEST_CASE("a port of 0 is chosen once and shared") {
  ListenSockets sockets = opened("127.0.0.1:0", 4);
  CHECK(sockets.address.port() != 0);
  for (const int descriptor : sockets.descriptors) {
    sockaddr_storage local{};
    socklen_t size = sizeof(local);
    auto* raw = reinterpret_cast<sockaddr*>(&local);
    REQUIRE(::getsockname(descriptor, raw, &size) == 0);
    CHECK(Address::from_sockaddr(raw, size) == sockets.address);
  }
  close_listen_sockets(sockets);
}

TEST_CASE("a taken port is an error, even if it is shared there") {
  for (const int count : {1, 2}) {
    ListenSockets first = opened("127.0.0.1:0", count);
    const std::string place = first.address.text();
    for (const int second : {1, 2})
      CHECK(refusal(place, second) == place + ": address already in use");
    close_listen_sockets(first);
    ListenSockets again = opened(place, 2);
    close_listen_sockets(again);
  }
}

TEST_CASE("a port can be taken again while connections of before live on") {
  LoopFixture f;
  std::string place;
  std::vector<PlainSocket> clients;
  std::vector<std::unique_ptr<Stream>> alive;
  {
    Server server(f, "127.0.0.1:0", 2);
    place = server.address.text();
    clients = clients_of(server.address, 4);
    f.run_until([&] { return server.accepted.size() == 4; });
    alive = std::move(server.accepted);
  }
  ListenSockets again = opened(place, 2);
  close_listen_sockets(again);
}

TEST_CASE("an address of another machine is an error") {
  CHECK(refusal("192.0.2.1:80") == "192.0.2.1:80: address not available");
}

TEST_CASE("a unix socket: stale replaced, living refused, other files left alone") {
  ::unlink(socket_path.c_str());
  {
    const Address address = *Address::from_unix_path(socket_path);
    const PlainSocket stale(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(::bind(stale.get(), address.get(), address.size()) == 0);
  }
  ListenSockets living = opened(unix_place, 2);
  CHECK(refusal(unix_place) == unix_place + ": another process listens there");
  close_listen_sockets(living);
  struct stat file {};
  CHECK(::stat(socket_path.c_str(), &file) != 0);

  ::close(::open(socket_path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  CHECK(refusal(unix_place) == unix_place + ": a file that is not a socket is in the way");
  CHECK(::stat(socket_path.c_str(), &file) == 0);
  ::unlink(socket_path.c_str());

  CHECK(refusal("unix:/no/such/folder/x.sock").ends_with("no such file or directory"));
}

TEST_CASE("a unix socket's file is for its owner and its group, whatever the umask") {
  for (const mode_t mask : {mode_t{0}, mode_t{077}}) {
    CAPTURE(mask);
    const mode_t before = ::umask(mask);
    ListenSockets sockets = opened(unix_place, 1);
    ::umask(before);
    struct stat file {};
    REQUIRE(::lstat(socket_path.c_str(), &file) == 0);
    CHECK((file.st_mode & 07777) == 0660);
    close_listen_sockets(sockets);
    CHECK(::lstat(socket_path.c_str(), &file) != 0);
  }
}

TEST_CASE("who goes leaves the file of the process that has taken its place") {
  ListenSockets old = opened(unix_place, 1);
  ::close(std::exchange(old.descriptors, {}).front());  // it drains, and accepts no more
  ListenSockets next = opened(unix_place, 1);
  close_listen_sockets(old);
  struct stat file {};
  CHECK(::lstat(socket_path.c_str(), &file) == 0);
  CHECK(refusal(unix_place) == unix_place + ": another process listens there");
  close_listen_sockets(next);
}

TEST_CASE("a paused listener leaves connections in the queue until it is resumed") {
  LoopFixture f;
  Server server(f, "127.0.0.1:0");
  server.listener().pause();
  CHECK(server.listener().paused());
  auto clients = clients_of(server.address, 3);
  for (int i = 0; i < 5; ++i) f.turn();
  CHECK(server.accepted.empty());
  server.listener().resume();
  server.listener().resume();
  f.run_until([&] { return server.accepted.size() == 3; });
}

TEST_CASE("a listener that is paused by what it accepts takes no more") {
  LoopFixture f;
  Server server(f, "127.0.0.1:0");
  server.on_accept = [&] { server.listener().pause(); };
  auto clients = clients_of(server.address, 3);
  for (std::size_t expected = 1; expected <= 3; ++expected) {
    for (int i = 0; i < 5; ++i) f.turn();
    CHECK(server.accepted.size() == expected);
    server.listener().resume();
  }
}

TEST_CASE("closing takes what the kernel has queued, paused or not, and nothing later") {
  for (const bool paused : {false, true}) {
    CAPTURE(paused);
    LoopFixture f;
    Server server(f, "127.0.0.1:0");
    if (paused) server.listener().pause();
    auto clients = clients_of(server.address, 200);
    for (PlainSocket& client : clients) client.send("x");
    server.listener().close_after_queue();
    CHECK(server.accepted.size() == 200);
    server.listener().close_after_queue();
    server.listener().pause();
    server.listener().resume();
    PlainSocket late(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    CHECK(::connect(late.get(), server.address.get(), server.address.size()) != 0);
    f.run_until([&] {
      return std::all_of(server.accepted.begin(), server.accepted.end(),
                         [](const auto& stream) { return stream->input() == "x"; });
    });
  }
}

TEST_CASE("a listener may be destroyed by what it accepts, in the loop and while it closes") {
  for (const bool closing : {false, true}) {
    LoopFixture f;
    {
      Server server(f, "127.0.0.1:0");
      server.on_accept = [&] { server.listeners.clear(); };
      auto clients = clients_of(server.address, 3);
      if (closing) {
        server.listener().close_after_queue();
        CHECK(server.accepted.size() == 3);  // closing goes on to the end
      } else {
        f.run_until([&] { return !server.accepted.empty(); });
        CHECK(server.accepted.size() == 1);
      }
    }
    everything_is_freed(f);
  }
}

double cpu_seconds() {
  timespec used{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) * 1e-9;
}

TEST_CASE("without descriptors accepting pauses, does not spin, and loses nobody") {
  LoopFixture f;
  Server server(f, "127.0.0.1:0");
  auto clients = clients_of(server.address, 3);
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  const int next_free = ::dup(0);
  ::close(next_free);
  rlimit none = before;
  none.rlim_cur = static_cast<rlim_t>(next_free);
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);

  const double cpu = cpu_seconds();
  const TimePoint until = f.in(milliseconds(250));
  while (f.loop.context().now() < until) f.turn();
  const double used = cpu_seconds() - cpu;
  ::setrlimit(RLIMIT_NOFILE, &before);
  CHECK(server.accepted.empty());
  CHECK(used < 0.2);
  for (const PlainSocket& client : clients) CHECK_FALSE(client.readable());
  f.run_until([&] { return server.accepted.size() == 3; });
}

}  // namespace
}  // namespace holdfast::net
