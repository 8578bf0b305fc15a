#include "holdfast/net/uv_stream.h"

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "holdfast/runtime/scope.h"
#include "tests/support/loop_fixture.h"

namespace holdfast::net {
namespace {

using runtime::Task;
using test::connect_pair;
using test::ConnectedPair;
using test::LoopFixture;

const std::array<std::string, 3> places = {"127.0.0.1:0", "[::1]:0",
                                           "unix:" + test::socket_path("stream")};

Task<void> send_all(Stream& stream, std::string_view bytes) {
  const bool sent = stream.send(bytes);
  if (!sent) co_await stream.until_sent(never);
}

// Everything up to the end or a failure.
Task<std::string> read_all(Stream& stream) {
  std::string text;
  for (;;) {
    while (stream.input().empty() && stream.open_for_input()) co_await stream.until_input(never);
    if (stream.input().empty()) co_return text;
    text += stream.input();
    stream.consume(stream.input().size());
  }
}

Task<void> echo(Stream& stream) {
  for (;;) {
    while (stream.input().empty() && stream.open_for_input()) co_await stream.until_input(never);
    if (stream.input().empty()) break;
    const std::string_view bytes = stream.input();
    stream.consume(bytes.size());
    co_await send_all(stream, bytes);
  }
  stream.finish();
}

Task<bool> wait_input(Stream& stream, TimePoint deadline) {
  const bool in_time = co_await stream.until_input(deadline);
  co_return in_time;
}
Task<bool> wait_sent(Stream& stream, TimePoint deadline) {
  const bool in_time = co_await stream.until_sent(deadline);
  co_return in_time;
}
Task<bool> wait_failed(Stream& stream, TimePoint deadline) {
  const bool in_time = co_await stream.until_failed(deadline);
  co_return in_time;
}

std::string pattern(std::size_t size) {
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 31 + i / 251);
  return bytes;
}

void everything_is_freed(LoopFixture& fixture) {
  fixture.run_until([] { return live_handles() == 0; });
  CHECK(runtime::live_frames() == 0);
}

TEST_CASE("an echo over TCP, IPv6 and a unix socket, and FIN both ways") {
  for (const std::string& place : places) {
    CAPTURE(place);
    LoopFixture f;
    {
      ConnectedPair pair = connect_pair(f.network, place);
      pair.peer.send("hello");
      pair.peer.finish();
      Task<void> server = echo(*pair.stream);
      f.run(server);
      CHECK(pair.stream->ended());
      CHECK(pair.stream->bytes_sent() == 5);
      CHECK(pair.peer.receive_all() == "hello");
    }
    everything_is_freed(f);
  }
}

TEST_CASE("a stream that has finished still reads") {
  LoopFixture f;
  ConnectedPair pair = connect_pair(f.network, "127.0.0.1:0");
  pair.stream->send("bye");
  pair.stream->finish();
  pair.stream->finish();
  f.turn();
  CHECK(pair.peer.receive_all() == "bye");
  pair.peer.send("good bye");
  pair.peer.close();
  Task<std::string> reader = read_all(*pair.stream);
  f.run(reader);
  CHECK(reader.take() == "good bye");
  CHECK(pair.stream->ended());
}

TEST_CASE("TCP_NODELAY and keep-alive are on") {
  LoopFixture f;
  const auto pair = connect_pair(f.network, "127.0.0.1:0");
  // The stream does not show its descriptor; the peer's has neither option.
  int with_both = 0;
  for (int descriptor = 3; descriptor < 64; ++descriptor) {
    int no_delay = 0;
    int keep_alive = 0;
    socklen_t size = sizeof(int);
    if (::getsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &no_delay, &size) != 0) continue;
    if (::getsockopt(descriptor, SOL_SOCKET, SO_KEEPALIVE, &keep_alive, &size) != 0) continue;
    if (no_delay != 0 && keep_alive != 0) ++with_both;
  }
  CHECK(with_both == 1);
}

TEST_CASE("many pieces arrive in order, empty ones do no harm") {
  LoopFixture f;
  for (const int count : {0, 1, 15, 16, 17, 33, 100}) {
    CAPTURE(count);
    ConnectedPair pair = connect_pair(f.network, "127.0.0.1:0");
    std::vector<std::string> texts;
    std::string expected;
    for (int i = 0; i < count; ++i) {
      texts.push_back(i % 3 == 0 ? "" : std::to_string(i) + ",");
      expected += texts.back();
    }
    const std::vector<std::string_view> pieces(texts.begin(), texts.end());
    CHECK(pair.stream->send(pieces));
    CHECK(pair.stream->bytes_sent() == expected.size());
    pair.stream->finish();
    f.turn();
    CHECK(pair.peer.receive_all() == expected);
  }
}

TEST_CASE("large pieces that the kernel does not take at once arrive whole and in order") {
  for (const std::string& place : places) {
    CAPTURE(place);
    LoopFixture f;
    ConnectedPair pair = connect_pair(f.network, place);
    const std::string bytes = pattern(8 << 20);
    std::vector<std::string_view> pieces;
    for (std::size_t at = 0; at < bytes.size(); at += 400'000) {
      pieces.push_back(std::string_view(bytes).substr(at, 400'000));
    }
    CHECK_FALSE(pair.stream->send(pieces));
    CHECK(pair.stream->sending());
    pair.stream->finish();  // after what is queued
    std::string received;
    std::atomic<bool> read = false;
    std::thread reader([&] {
      received = pair.peer.receive_all();
      read = true;
    });
    Task<bool> sent = wait_sent(*pair.stream, never);
    f.run(sent);
    CHECK_FALSE(pair.stream->sending());
    CHECK_FALSE(pair.stream->failure());
    f.run_until([&] { return read.load(); });
    reader.join();
    CHECK(received == bytes);
  }
}

TEST_CASE("16 MiB both ways at once through an echo") {
  for (const std::string& place : places) {
    CAPTURE(place);
    LoopFixture f;
    ConnectedPair pair = connect_pair(f.network, place);
    const std::string bytes = pattern(1 << 20);
    constexpr int rounds = 16;
    std::thread writer([&] {
      for (int i = 0; i < rounds; ++i) pair.peer.send(bytes);
      pair.peer.finish();
    });
    std::string received;
    std::atomic<bool> read = false;
    std::thread reader([&] {
      received = pair.peer.receive_all();
      read = true;
    });
    Task<void> server = echo(*pair.stream);
    f.run(server);
    f.run_until([&] { return read.load(); });
    writer.join();
    reader.join();
    REQUIRE(received.size() == rounds * bytes.size());
    for (std::size_t at = 0; at < received.size(); at += bytes.size()) {
      CHECK(received.compare(at, bytes.size(), bytes) == 0);
    }
  }
}

TEST_CASE("a reader that does not read stops the peer, and memory stays bounded") {
  for (const std::string& place : places) {
    CAPTURE(place);
    LoopFixture f;
    ConnectedPair pair = connect_pair(f.network, place);
    const std::string bytes = pattern(64 << 10);
    std::size_t sent = 0;
    // Until the kernel's buffers are full and the stream takes no more.
    for (int quiet = 0; quiet < 20;) {
      const ssize_t count = ::send(pair.peer.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
      if (count > 0) {
        sent += static_cast<std::size_t>(count);
        quiet = 0;
      } else {
        ++quiet;
      }
      f.turn();
    }
    CHECK(pair.stream->input().size() >= Stream::read_ahead_limit);
    CHECK(pair.stream->input().size() <= Stream::read_ahead_limit + (64u << 10));
    pair.peer.finish();
    Task<std::string> reader = read_all(*pair.stream);
    f.run(reader);
    CHECK(reader.take().size() == sent);
    CHECK(pair.stream->ended());
  }
}

TEST_CASE("a reset is seen by whoever waits") {
  LoopFixture f;
  for (const bool reads : {true, false}) {
    ConnectedPair pair = connect_pair(f.network, "127.0.0.1:0");
    Task<bool> task = reads ? wait_input(*pair.stream, never) : wait_failed(*pair.stream, never);
    task.start();
    pair.peer.reset();
    f.run(task);
    CHECK(task.take());
    REQUIRE(pair.stream->failure());
    CHECK(pair.stream->failure()->type == ErrorType::connection_terminated);
    CHECK_FALSE(pair.stream->failure()->detail.empty());
    CHECK_FALSE(pair.stream->open_for_input());
    // Sending goes nowhere and says so.
    CHECK(pair.stream->send("x"));
    CHECK(pair.stream->bytes_sent() == 0);
    pair.stream->finish();
  }
}

TEST_CASE("a reset is seen by the one whose bytes are queued") {
  LoopFixture f;
  ConnectedPair pair = connect_pair(f.network, "127.0.0.1:0");
  const std::string bytes = pattern(16 << 20);
  REQUIRE_FALSE(pair.stream->send(bytes));
  Task<bool> task = wait_sent(*pair.stream, never);
  task.start();
  f.turn();
  pair.peer.reset();
  f.run(task);
  CHECK(task.take());
  CHECK_FALSE(pair.stream->sending());
  REQUIRE(pair.stream->failure());
  CHECK(pair.stream->failure()->type == ErrorType::connection_terminated);
}

TEST_CASE("a send that fails at once is told from the loop") {
  LoopFixture f;
  ConnectedPair pair = connect_pair(f.network, "127.0.0.1:0");
  pair.peer.reset();
  CHECK_FALSE(pair.stream->send("x"));
  CHECK_FALSE(pair.stream->failure());
  Task<bool> sent = wait_sent(*pair.stream, never);
  f.run(sent);
  CHECK(pair.stream->failure());
  CHECK_FALSE(pair.stream->sending());
}

TEST_CASE("an answer that came before the reset is not lost to a failing send") {
  LoopFixture f;
  ConnectedPair pair = connect_pair(f.network, "127.0.0.1:0");
  pair.peer.send("HTTP/1.1 413");
  pair.peer.reset();
  CHECK_FALSE(pair.stream->send("more of the body"));
  Task<bool> sent = wait_sent(*pair.stream, never);
  f.run(sent);
  CHECK(pair.stream->failure());
  CHECK(pair.stream->input() == "HTTP/1.1 413");
}

TEST_CASE("a unix peer that is gone fails the send") {
  LoopFixture f;
  ConnectedPair pair = connect_pair(f.network, places[2]);
  pair.peer.close();
  pair.stream->send("x");
  Task<bool> sent = wait_sent(*pair.stream, never);
  f.run(sent);
  CHECK(pair.stream->failure());
}

TEST_CASE("abort resets the connection, whatever was said before") {
  for (const int before : {0, 1, 2}) {
    CAPTURE(before);
    LoopFixture f;
    ConnectedPair pair = connect_pair(f.network, "127.0.0.1:0");
    if (before >= 1) pair.stream->send("half an ans");
    if (before == 2) pair.stream->finish();
    f.turn();
    int error = 0;
    if (before >= 1) CHECK(pair.peer.receive(error) == "half an ans");
    pair.stream->abort();
    pair.stream.reset();
    f.turn();
    // After a FIN the peer has its end; the reset shows when it writes.
    if (before == 2) {
      CHECK(pair.peer.receive(error) == "");
      CHECK(::send(pair.peer.get(), "x", 1, MSG_NOSIGNAL) == -1);
    } else {
      pair.peer.receive(error);
      CHECK(error == ECONNRESET);
    }
  }
}

TEST_CASE("abort of a unix stream just closes it") {
  LoopFixture f;
  ConnectedPair pair = connect_pair(f.network, places[2]);
  pair.stream->abort();
  pair.stream.reset();
  CHECK(pair.peer.receive_all() == "");
}

TEST_CASE(
    "destroying a stream with bytes queued, unread input or a FIN on its way frees everything") {
  for (int what = 0; what < 8; ++what) {
    CAPTURE(what);
    for (const std::string& place : places) {
      CAPTURE(place);
      LoopFixture f;
      {
        ConnectedPair pair = connect_pair(f.network, place);
        const std::string bytes = pattern(4 << 20);
        if ((what & 1) != 0) pair.stream->send(bytes);
        if ((what & 2) != 0) {
          pair.peer.send("unread");
          f.run_until([&] { return !pair.stream->input().empty(); });
        }
        if ((what & 4) != 0) pair.stream->finish();
      }
      everything_is_freed(f);
    }
  }
}

TEST_CASE("destroying the waiting task, then the stream, at every stage of an echo") {
  for (int turns = 0; turns < 6; ++turns) {
    CAPTURE(turns);
    LoopFixture f;
    {
      ConnectedPair pair = connect_pair(f.network, "127.0.0.1:0");
      Task<void> server = echo(*pair.stream);
      server.start();
      const std::string bytes = pattern(32 << 10);
      for (int i = 0; i < turns; ++i) {
        pair.peer.send(bytes);
        f.turn();
      }
    }
    everything_is_freed(f);
  }
}

Task<void> read_and_destroy(std::unique_ptr<UvStream>& stream) {
  co_await stream->until_input(never);
  stream.reset();
}
Task<void> write_and_destroy(std::unique_ptr<UvStream>& stream) {
  co_await stream->until_sent(never);
  stream.reset();
}

TEST_CASE("a stream is destroyed in its own callbacks") {
  for (const std::string& place : places) {
    for (int how = 0; how < 4; ++how) {
      CAPTURE(place);
      CAPTURE(how);
      LoopFixture f;
      {
        ConnectedPair pair = connect_pair(f.network, place);
        const std::string bytes = pattern(1 << 20);
        if (how == 3) pair.stream->send(bytes);
        Task<void> task = how == 3 ? write_and_destroy(pair.stream) : read_and_destroy(pair.stream);
        task.start();
        if (how == 0) pair.peer.send("bytes");
        if (how == 1) pair.peer.finish();
        if (how == 2) pair.peer.reset();
        if (how == 3) pair.peer.reset();
        f.run(task);
        CHECK(pair.stream == nullptr);
      }
      everything_is_freed(f);
    }
  }
}

}  // namespace
}  // namespace holdfast::net
