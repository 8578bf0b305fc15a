#include "holdfast/proxy/downstream.h"

#include <doctest/doctest.h>

#include "tests/support/proxy_fixture.h"

namespace holdfast::test {
namespace {

using namespace std::chrono_literals;
using proxy::OwnResponse;
using proxy::Transaction;
using runtime::Task;

/// What a handler was told of a refused request.
struct Refused {
  http::Problem problem;
  std::string method;
  std::string path;
  std::uint64_t bytes_out;
  std::string request_id;
};

/// Answers 200 with the request's path, after reading the body if asked to, or waits to be told.
class EchoHandler final : public proxy::Handler {
 public:
  explicit EchoHandler(runtime::Timers& timers) : timers_(timers), go_(timers) {}

  Task<void> handle(Transaction& transaction) override {
    paths.emplace_back(transaction.request().path);
    const Running counted(*this);
    if (waits) co_await runtime::wait_for(go_.signal(), timers_, never);
    if (silent) co_return;
    while (reads_body && !transaction.body().complete()) {
      Result<proxy::Pieces, proxy::BodyFailure> pieces = co_await transaction.body().pull(idle);
      if (!pieces) co_return;
    }
    OwnResponse response;
    response.status = 200;
    response.body = paths.back();
    co_await transaction.respond(response);
  }
  void refused(Transaction& transaction, const http::RequestError& error,
               std::string_view request_id) override {
    const http::RequestHead& request = transaction.request();
    refusals.push_back({error.problem, std::string(request.method_text), std::string(request.path),
                        transaction.bytes_out(), std::string(request_id)});
  }
  const proxy::DownstreamOptions& options() const override { return options_value; }
  bool draining() const override { return drains; }

  void go(TimePoint now) { go_.notify(now); }

  proxy::DownstreamOptions options_value;
  bool waits = false;
  bool silent = false;
  bool reads_body = false;
  bool drains = false;
  std::optional<Duration> idle;
  int running = 0;
  std::vector<std::string> paths;
  std::vector<Refused> refusals;

 private:
  struct Running {
    explicit Running(EchoHandler& owner) : handler(owner) { ++handler.running; }
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;
    ~Running() { --handler.running; }
    EchoHandler& handler;
  };
  runtime::Timers& timers_;
  runtime::DeferredSignal go_;
};

class DownstreamFixture {
 public:
  DownstreamFixture() {
    connection = std::make_unique<proxy::DownstreamConnection>(std::move(pair.stream), listener,
                                                               handler, world.context());
    run = connection->run();
    run.start();
    world.settle();
  }
  ~DownstreamFixture() {
    run.reset();
    connection.reset();
    CHECK(handler.running == 0);
    CHECK(runtime::live_frames() == frames_before);
  }

  std::string exchange(std::string_view bytes) {
    client.send(bytes);
    world.settle();
    return client.take();
  }
  bool ended() const { return run.done(); }

  const std::size_t frames_before = runtime::live_frames();
  World world;
  EchoHandler handler{world.context().timers};
  const std::string listener = "main";
  FakePair pair = make_pair(world);
  Peer& client = *pair.peer;
  std::unique_ptr<proxy::DownstreamConnection> connection;
  Task<void> run;
};

TEST_CASE("requests one after the other, and pipelined ones in their order") {
  DownstreamFixture fixture;
  CHECK(fixture.connection->idle());
  CHECK(body_of(fixture.exchange(get("/1"))) == "/1");
  CHECK(fixture.connection->idle());
  const std::string text = fixture.exchange(get("/2") + get("/3") + get("/4"));
  CHECK(count_of(text, "HTTP/1.1 200 OK") == 3);
  CHECK(text.find("\r\n\r\n/2") < text.find("\r\n\r\n/3"));
  CHECK(text.find("\r\n\r\n/3") < text.find("\r\n\r\n/4"));
  CHECK_FALSE(fixture.ended());
}

TEST_CASE("the next request is not looked at before the last is answered") {
  DownstreamFixture fixture;
  fixture.handler.waits = true;
  fixture.exchange(get("/1") + get("/2"));
  CHECK(fixture.handler.paths == std::vector<std::string>{"/1"});
  CHECK_FALSE(fixture.connection->idle());
  fixture.handler.go(fixture.world.now());
  fixture.world.settle();
  CHECK(fixture.handler.paths == std::vector<std::string>{"/1", "/2"});
}

TEST_CASE("in any cut, the same answers") {
  const std::string bytes = get("/1") + post("abc") + get("/2");
  for (std::size_t piece = 1; piece <= bytes.size(); piece += 3) {
    DownstreamFixture fixture;
    fixture.client.send_in_pieces(bytes, piece);
    fixture.world.settle();
    CHECK(count_of(fixture.client.received(), "HTTP/1.1 200 OK") == 3);
  }
}

TEST_CASE("pipelined requests of a client that has closed its side are all answered") {
  DownstreamFixture fixture;
  fixture.client.send(get("/1") + get("/2"));
  fixture.client.finish();
  fixture.world.settle();
  CHECK(count_of(fixture.client.received(), "HTTP/1.1 200 OK") == 2);
  CHECK(fixture.ended());
}

TEST_CASE("a client that closes between requests, or within a head, gets no word") {
  for (const char* bytes : {"", "GET / HTTP/1.1\r\nHo"}) {
    DownstreamFixture fixture;
    fixture.client.send(bytes);
    fixture.client.finish();
    fixture.world.settle();
    CHECK(fixture.ended());
    CHECK(fixture.client.received().empty());
    CHECK(fixture.handler.refusals.empty());
  }
}

TEST_CASE("idle_timeout closes without a word, before the first request and after one") {
  DownstreamFixture fixture;
  fixture.world.pass(74s);
  fixture.exchange(get());
  fixture.world.pass(75s - Duration(1));
  CHECK(fixture.client.open());
  CHECK_FALSE(fixture.client.ended());
  fixture.world.pass(Duration(1));
  CHECK(fixture.client.ended());
  CHECK(fixture.client.take().empty());
  fixture.world.pass(2s);
  CHECK(fixture.ended());
}

TEST_CASE("header_timeout runs from the first byte of a request: 408, closed") {
  DownstreamFixture fixture;
  fixture.world.pass(60s);
  fixture.client.send("G");
  fixture.world.pass(10s - Duration(1));
  CHECK(fixture.client.received().empty());
  fixture.client.send("ET / HTTP/1.1\r\n");
  fixture.world.pass(Duration(1));
  CHECK(status_of(fixture.client.received()) == 408);
  CHECK(field_of(fixture.client.received(), "Connection") == "close");
  REQUIRE(fixture.handler.refusals.size() == 1);
  const Refused& told = fixture.handler.refusals.front();
  CHECK(told.problem == http::Problem::request_timeout);
  CHECK(told.method == "GET");
  CHECK(told.path == "/");
  const std::string body = body_of(fixture.client.received());
  CHECK(body.find("\"request_id\":\"" + told.request_id + "\"") != std::string::npos);
  CHECK(told.bytes_out == body.size());
}

TEST_CASE("a refused HEAD gets no body") {
  for (const std::string bytes :
       {"HEAD /p HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n", "HEAD /p HTTP/9\r\n",
        "HEAD /p HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "HEAD /\n"}) {
    CAPTURE(bytes);
    DownstreamFixture fixture;
    const std::string text = fixture.exchange(bytes);
    CHECK(status_of(text) >= 400);
    CHECK(text.ends_with("\r\n\r\n"));
    CHECK(body_of(text).empty());
    REQUIRE(fixture.handler.refusals.size() == 1);
    CHECK(fixture.handler.refusals.front().method == "HEAD");
    CHECK(fixture.handler.refusals.front().bytes_out == 0);
  }
}

TEST_CASE("a refused request is told of even if its client goes before the answer does") {
  DownstreamFixture fixture;
  fixture.client.take_at_most(3);
  fixture.exchange("GET / HTTP/9\r\n");
  CHECK(fixture.handler.refusals.empty());
  fixture.client.reset();
  fixture.world.settle();
  CHECK(fixture.handler.refusals.size() == 1);
  CHECK(fixture.ended());
}

TEST_CASE("what cannot be read is refused with its own status, and nothing after it is answered") {
  struct Row {
    std::string bytes;
    int status;
  };
  const std::string long_target(17 * 1024, 'a');
  for (const Row& row :
       {Row{"nonsense\r\n\r\n", 400}, Row{"GET / HTTP/1.1\r\n\r\n", 400},
        Row{"GET /" + long_target + " HTTP/1.1\r\nHost: a\r\n\r\n", 414},
        Row{"GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(66000, 'x') + "\r\n\r\n", 431},
        Row{"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405},
        Row{"GET / HTTP/1.1\r\nHost: a\r\nExpect: magic\r\n\r\n", 417},
        Row{std::string(40, 'M') + " / HTTP/1.1\r\nHost: a\r\n\r\n", 501}}) {
    CAPTURE(row.status);
    DownstreamFixture fixture;
    fixture.exchange(row.bytes + get("/after"));
    CHECK(status_of(fixture.client.received()) == row.status);
    CHECK(count_of(fixture.client.received(), "HTTP/1.1 ") == 1);
    CHECK(fixture.handler.paths.empty());
    CHECK((field_of(fixture.client.received(), "Allow") != "-") == (row.status == 405));
  }
}

TEST_CASE("after a refusal the client is listened to for a moment, so that it gets its answer") {
  DownstreamFixture fixture;
  fixture.exchange("nonsense\r\n\r\n");
  CHECK(fixture.client.ended());
  CHECK(fixture.client.open());
  SUBCASE("it closes") {
    fixture.client.finish();
    fixture.world.settle();
    CHECK(fixture.ended());
  }
  SUBCASE("it goes on for too long") {
    fixture.client.send(std::string(5000, 'x'));
    fixture.world.pass(2s - Duration(1));
    CHECK_FALSE(fixture.ended());
    fixture.world.pass(Duration(1));
    CHECK(fixture.ended());
  }
  SUBCASE("it sends without end") {
    fixture.client.send(std::string(2 << 20, 'x'));
    fixture.world.settle();
    CHECK(fixture.ended());
  }
}

TEST_CASE("a body that nobody wanted is read to its end, if that is near") {
  DownstreamFixture fixture;
  std::string text =
      fixture.exchange("PUT /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nxxxx");
  CHECK(status_of(text) == 200);
  CHECK(field_of(text, "Connection") == "-");
  text = fixture.exchange("yyyyy" + get("/2"));
  CHECK(body_of(text) == "/2");
}

TEST_CASE("a body that nobody wanted and that is far from its end closes the connection") {
  struct Row {
    const char* head;
    bool says_close;
  };
  for (const Row& row :
       {Row{"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n", true},
        Row{"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n", true},
        Row{"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", false}}) {
    CAPTURE(row.head);
    DownstreamFixture fixture;
    CHECK((field_of(fixture.exchange(row.head), "Connection") == "close") == row.says_close);
    CHECK(fixture.client.received().find(" 100 ") == std::string::npos);
    if (!row.says_close) fixture.exchange("30000\r\n" + std::string(0x30000, 'x') + "\r\n");
    CHECK(fixture.client.ended());
  }
}

TEST_CASE("the client's wish to close and HTTP/1.0 end the connection after the answer") {
  for (const char* bytes :
       {"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "GET / HTTP/1.0\r\n\r\n"}) {
    CAPTURE(bytes);
    DownstreamFixture fixture;
    const std::string text = fixture.exchange(bytes + get("/after"));
    CHECK(field_of(text, "Connection") == "close");
    CHECK(count_of(text, "HTTP/1.1 ") == 1);
    CHECK(fixture.client.ended());
  }
}

TEST_CASE("a drain answers what was read already, then ends the connection") {
  for (const std::string rest : {"", "\r\n"}) {
    DownstreamFixture fixture;
    fixture.handler.waits = true;
    fixture.exchange(get("/1") + get("/2") + rest);
    fixture.handler.drains = true;
    fixture.handler.waits = false;
    fixture.handler.go(fixture.world.now());
    fixture.world.settle();
    const std::string text = fixture.client.take();
    CHECK(fixture.handler.paths == std::vector<std::string>{"/1", "/2"});
    const std::size_t second = text.find("\r\n\r\n/1") + 6;
    CHECK(field_of(text.substr(0, second), "Connection") == "-");
    CHECK(field_of(text.substr(second), "Connection") == "close");
    CHECK(fixture.client.ended());
  }
}

TEST_CASE("a reset cancels the handler, wherever it is") {
  SUBCASE("while it works") {
    DownstreamFixture fixture;
    fixture.handler.waits = true;
    fixture.exchange(get());
    CHECK(fixture.handler.running == 1);
    fixture.client.reset();
    fixture.world.settle();
    CHECK(fixture.handler.running == 0);
    CHECK(fixture.ended());
  }
  SUBCASE("while it reads the body") {
    DownstreamFixture fixture;
    fixture.handler.reads_body = true;
    fixture.exchange("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n");
    fixture.client.reset();
    fixture.world.settle();
    CHECK(fixture.ended());
  }
  SUBCASE("while it answers") {
    DownstreamFixture fixture;
    fixture.client.take_at_most(3);
    fixture.exchange(get());
    CHECK(fixture.handler.running == 1);
    fixture.client.reset();
    fixture.world.settle();
    CHECK(fixture.ended());
  }
}

TEST_CASE("a connection that is destroyed at any moment leaves nothing behind") {
  for (int moment = 0; moment < 5; ++moment) {
    CAPTURE(moment);
    DownstreamFixture fixture;
    fixture.handler.waits = moment == 2;
    fixture.handler.reads_body = moment == 3;
    if (moment == 1) fixture.exchange("GET /");
    if (moment == 2) fixture.exchange(get());
    if (moment == 3) fixture.exchange("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n");
    if (moment == 4) fixture.exchange("nonsense\r\n\r\n");
    fixture.run.reset();
    fixture.connection.reset();
    CHECK_FALSE(fixture.client.open());
  }
}

TEST_CASE("a client that takes nothing of an answer of ours is cut after 30 s") {
  DownstreamFixture fixture;
  fixture.client.take_at_most(3);
  fixture.exchange(get());
  fixture.world.pass(30s - Duration(1));
  CHECK_FALSE(fixture.ended());
  fixture.world.pass(Duration(1));
  CHECK(fixture.ended());
  fixture.connection.reset();
  CHECK(fixture.client.was_reset());
}

TEST_CASE("a handler that ends without an answer closes the connection") {
  DownstreamFixture fixture;
  fixture.handler.silent = true;
  CHECK(fixture.exchange(get()).empty());
  CHECK(fixture.ended());
}

TEST_CASE("options that change hold for the next request") {
  DownstreamFixture fixture;
  fixture.exchange(get());
  fixture.handler.options_value.limits.max_target_bytes = 20;
  CHECK(status_of(fixture.exchange(get("/" + std::string(30, 'x')))) == 414);
}

}  // namespace
}  // namespace holdfast::test
