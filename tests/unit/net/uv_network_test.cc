#include "holdfast/net/uv_network.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/loop_fixture.h"

namespace holdfast::net {
namespace {

using runtime::Task;
using std::chrono::milliseconds;
using test::LoopFixture;
using test::PlainSocket;

using Connected = Result<std::unique_ptr<Stream>>;
using Resolved = Result<std::vector<Address>>;

const std::string unix_place = "unix:" + test::socket_path("network");

Address loopback(std::uint16_t port) {
  return *Address::from_ip("127.0.0.1", port);
}

// A listening socket of the test that accepts by hand.
struct PlainListener {
  explicit PlainListener(std::string_view listen) {
    auto opened = open_listen_sockets(*ListenAddress::parse(listen), 1);
    REQUIRE(opened);
    sockets = *opened;
    ::fcntl(sockets.descriptors[0], F_SETFL, 0);
  }
  ~PlainListener() { close_listen_sockets(sockets); }
  PlainListener(const PlainListener&) = delete;
  PlainListener& operator=(const PlainListener&) = delete;

  const Address& address() const { return sockets.address; }
  PlainSocket accept() {
    return PlainSocket(::accept4(sockets.descriptors[0], nullptr, nullptr, SOCK_CLOEXEC));
  }
  ListenSockets sockets;
};

// A listener whose queue is full: the kernel drops further attempts, and a connect hangs.
struct FullListener {
  FullListener() : socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const Address any = loopback(0);
    REQUIRE(::bind(socket.get(), any.get(), any.size()) == 0);
    REQUIRE(::listen(socket.get(), 0) == 0);
    sockaddr_storage raw{};
    socklen_t size = sizeof(raw);
    REQUIRE(::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&raw), &size) == 0);
    address = Address::from_sockaddr(reinterpret_cast<sockaddr*>(&raw), size);
    for (int i = 0; i < 4; ++i) {
      clients.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      ::connect(clients.back().get(), address.get(), address.size());
    }
  }
  PlainSocket socket;
  Address address;
  std::vector<PlainSocket> clients;
};

// Takes every descriptor that is left, until it is destroyed.
struct NoDescriptors {
  NoDescriptors() {
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
    const int next_free = ::dup(0);
    REQUIRE(next_free >= 0);
    ::close(next_free);
    rlimit none = before;
    none.rlim_cur = static_cast<rlim_t>(next_free);
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
  }
  ~NoDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before); }
  NoDescriptors(const NoDescriptors&) = delete;
  NoDescriptors& operator=(const NoDescriptors&) = delete;
  rlimit before{};
};

void everything_is_freed(LoopFixture& fixture) {
  fixture.run_until([] { return live_handles() == 0; });
  CHECK(runtime::live_frames() == 0);
}

Task<std::string> ask(Stream& stream, std::string_view question) {
  stream.send(question);
  while (stream.input().empty() && stream.open_for_input()) co_await stream.until_input(never);
  co_return std::string(stream.input());
}

TEST_CASE("connects over TCP, IPv6 and a unix socket, and both directions work") {
  for (const std::string& place :
       {std::string("127.0.0.1:0"), std::string("[::1]:0"), unix_place}) {
    CAPTURE(place);
    LoopFixture f;
    {
      PlainListener listener(place);
      Task<Connected> task = f.network.connect(listener.address(), f.in(std::chrono::seconds(5)));
      f.run(task);
      Connected connected = task.take();
      REQUIRE(connected);
      Stream& stream = **connected;
      CHECK(stream.peer() == listener.address());
      CHECK(stream.bytes_sent() == 0);
      PlainSocket peer = listener.accept();
      peer.send("answer");
      Task<std::string> asking = ask(stream, "question");
      f.run(asking);
      CHECK(asking.take() == "answer");
      int error = 0;
      CHECK(peer.receive(error) == "question");
    }
    everything_is_freed(f);
  }
}

ErrorType failure_of(LoopFixture& f, const Address& address, Duration patience) {
  Task<Connected> task = f.network.connect(address, f.in(patience));
  f.run(task);
  Connected connected = task.take();
  REQUIRE_FALSE(connected);
  // It names the place and the reason.
  CHECK(connected.error().detail.starts_with(address.text() + ": "));
  return connected.error().type;
}

TEST_CASE("nobody who listens refuses") {
  LoopFixture f;
  Address gone;
  {
    const PlainListener listener("127.0.0.1:0");
    gone = listener.address();
  }
  CHECK(failure_of(f, gone, std::chrono::seconds(5)) == ErrorType::connection_refused);
  everything_is_freed(f);
}

TEST_CASE("a unix path refuses if nothing is there, nobody answers, or it is no socket") {
  LoopFixture f;
  const std::string file = test::socket_path("refuse");
  const char* path = file.c_str();
  const Address address = *Address::from_unix_path(path);
  ::unlink(path);
  CHECK(failure_of(f, address, std::chrono::seconds(5)) == ErrorType::connection_refused);

  const PlainSocket bound(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(::bind(bound.get(), address.get(), address.size()) == 0);
  CHECK(failure_of(f, address, std::chrono::seconds(5)) == ErrorType::connection_refused);
  ::unlink(path);

  ::close(::open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  CHECK(failure_of(f, address, std::chrono::seconds(5)) == ErrorType::connection_refused);
  ::unlink(path);
}

TEST_CASE("an address that cannot be reached is unroutable") {
  LoopFixture f;
  const Address broadcast = *Address::from_ip("255.255.255.255", 80);
  CHECK(failure_of(f, broadcast, std::chrono::seconds(5)) == ErrorType::destination_ip_unroutable);
}

TEST_CASE("a peer that does not answer ends in the deadline") {
  LoopFixture f;
  const FullListener full;
  const TimePoint start = f.loop.context().now();
  CHECK(failure_of(f, full.address, milliseconds(50)) == ErrorType::connection_timeout);
  CHECK(f.loop.context().now() - start >= milliseconds(50));
  everything_is_freed(f);
}

TEST_CASE("no descriptor left is a limit of ours") {
  LoopFixture f;
  const PlainListener listener("127.0.0.1:0");
  std::optional<Connected> connected;
  {
    Task<Connected> task = f.network.connect(listener.address(), never);
    const NoDescriptors none;
    task.start();
    REQUIRE(task.done());
    connected.emplace(task.take());
  }
  REQUIRE_FALSE(*connected);
  CHECK(connected->error().type == ErrorType::connection_limit_reached);
}

TEST_CASE("a connect is cancelled at any moment") {
  LoopFixture f;
  const FullListener full;
  const PlainListener listener("127.0.0.1:0");
  const PlainListener unix_listener(unix_place);
  for (const Address& address : {full.address, listener.address(), unix_listener.address()}) {
    for (int turns = 0; turns < 3; ++turns) {
      CAPTURE(address.text());
      CAPTURE(turns);
      {
        Task<Connected> task = f.network.connect(address, f.in(std::chrono::seconds(5)));
        task.start();
        for (int i = 0; i < turns; ++i) f.turn();
      }
      everything_is_freed(f);
    }
  }
}

TEST_CASE("a connect that nobody starts costs nothing") {
  LoopFixture f;
  { const Task<Connected> task = f.network.connect(loopback(1), never); }
  CHECK(live_handles() == 0);
  CHECK(runtime::live_frames() == 0);
}

TEST_CASE("localhost has addresses, each once, with the port asked for") {
  LoopFixture f;
  Task<Resolved> task = f.network.resolve("localhost", 8080, f.in(std::chrono::seconds(5)));
  f.run(task);
  Resolved resolved = task.take();
  REQUIRE(resolved);
  REQUIRE_FALSE(resolved->empty());
  for (const Address& address : *resolved) {
    CHECK((address.ip() == "127.0.0.1" || address.ip() == "::1"));
    CHECK(address.port() == 8080);
    CHECK(std::count(resolved->begin(), resolved->end(), address) == 1);
  }
}

TEST_CASE("a name that cannot be looked up is an error with the reason") {
  LoopFixture f;
  // A label of more than 63 letters: no server needs to be asked.
  for (const std::string& name : {std::string(64, 'a') + ".invalid", std::string(400, 'b')}) {
    Task<Resolved> task = f.network.resolve(name, 80, f.in(std::chrono::seconds(5)));
    f.run(task);
    Resolved resolved = task.take();
    REQUIRE_FALSE(resolved);
    CHECK(resolved.error().type == ErrorType::dns_error);
    CHECK(resolved.error().detail.starts_with(name + ": "));
    CHECK(resolved.error().detail.size() > name.size() + 2);
  }
}

TEST_CASE("a deadline before the answer is a timeout") {
  LoopFixture f;
  Task<Resolved> task = f.network.resolve("localhost", 80, f.loop.context().now());
  f.run(task);
  Resolved resolved = task.take();
  REQUIRE_FALSE(resolved);
  CHECK(resolved.error().type == ErrorType::dns_timeout);
}

TEST_CASE("a client's name is refused where too many are looked up, and a configured one is not") {
  LoopFixture f;
  std::promise<void> begun, end;
  const auto ask = [&begun, ended = end.get_future().share()](const std::string& host) {
    if (host == "0") begun.set_value();
    if (host != "configured") ended.wait();
    return NameService::Answer(std::vector<Address>{*Address::from_ip("10.0.0.1", 0)});
  };
  UvNetwork network(f.loop, std::make_shared<NameService>(2, ask));
  std::deque<std::string> hosts;
  std::vector<Task<Resolved>> slow;
  for (std::size_t i = 0; i <= NameService::max_in_line; ++i) {
    hosts.push_back(std::to_string(i));
    slow.push_back(network.clients_names().resolve(hosts.back(), 80, never));
    slow.back().start();
    if (i == 0) begun.get_future().wait();
  }
  const TimePoint deadline = f.in(std::chrono::seconds(5));
  Task<Resolved> more = network.clients_names().resolve("more", 80, deadline);
  f.run(more);
  const Resolved refused = more.take();
  REQUIRE_FALSE(refused);
  CHECK(refused.error().type == ErrorType::connection_limit_reached);
  CHECK(refused.error().local);
  CHECK(refused.error().detail == "more: too many names that clients ask for are being looked up");
  Task<Resolved> configured = network.resolve("configured", 80, deadline);
  f.run(configured);
  CHECK(configured.take());
  end.set_value();
}

TEST_CASE("look-ups are cancelled while they stand in line, run, or have answered") {
  LoopFixture f;
  for (int turns = 0; turns < 3; ++turns) {
    std::vector<Task<Resolved>> tasks;
    for (int i = 0; i < 16; ++i) {
      tasks.push_back(f.network.resolve("localhost", 80, never));
      tasks.back().start();
    }
    for (int i = 0; i < turns; ++i) f.turn();
    tasks.clear();
    CHECK(runtime::live_frames() == 0);
  }
}

}  // namespace
}  // namespace holdfast::net
