#include "holdfast/proxy/request_body.h"

#include <doctest/doctest.h>

#include "tests/support/fake_network.h"

namespace holdfast::test {
namespace {

using namespace std::chrono_literals;
using proxy::BodyFailure;
using proxy::Pieces;
using proxy::RequestBody;
using runtime::Task;

constexpr std::optional<Duration> no_idle = std::nullopt;

/// A request whose head has been read, and the client that sends its body.
class BodyFixture {
 public:
  explicit BodyFixture(const std::string& fields, const std::string& arrived = "",
                       std::uint64_t keep = 64 * 1024,
                       std::optional<std::uint64_t> min_rate = 240) {
    client->send("PUT / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n\r\n" + arrived);
    world.settle();
    const auto step = parser.parse(stream->input());
    REQUIRE(step);
    REQUIRE(step->event == http::ParseEvent::head);
    stream->consume(step->consumed);
    body.begin(min_rate);
    body.take_arrived();
    body.keep_up_to(keep);
  }
  ~BodyFixture() { pulling.reset(); }

  void send(std::string_view bytes) {
    client->send(bytes);
    world.settle();
  }
  /// Begins to pull; reads until the end or a failure.
  void pull_all(std::optional<Duration> idle = no_idle) {
    pulling = run(idle);
    pulling.start();
    world.settle();
  }
  bool failed_with(http::Problem problem) const {
    return failure && !failure->client_gone && failure->error.problem == problem;
  }

  World world;
  FakePair pair = make_pair(world);
  std::unique_ptr<net::Stream>& stream = pair.stream;
  std::shared_ptr<Peer>& client = pair.peer;
  http::RequestParser parser{http::ParserLimits{}};
  RequestBody body{*stream, parser, world.context()};
  std::string pulled;
  std::optional<BodyFailure> failure;

 private:
  Task<void> run(std::optional<Duration> idle) {
    while (!body.complete()) {
      Result<Pieces, BodyFailure> pieces = co_await body.pull(idle);
      if (!pieces) {
        failure = pieces.error();
        co_return;
      }
      for (const std::string_view piece : *pieces) pulled += piece;
    }
  }

  Task<void> pulling;
};

TEST_CASE("a body that has come with its head is complete, and kept") {
  BodyFixture fixture("Content-Length: 5", "hello");
  CHECK(fixture.body.complete());
  CHECK(fixture.body.kept() == "hello");
  CHECK(fixture.body.received() == 5);
  CHECK(fixture.body.can_repeat());
  BodyFixture none("X-Nobody: 1");
  CHECK(none.body.complete());
}

TEST_CASE("what is pulled is kept, up to the limit; then all of it is forgotten") {
  struct Row {
    std::uint64_t limit;
    bool kept;
  };
  for (const Row& row : {Row{6, true}, Row{5, false}, Row{0, false}}) {
    CAPTURE(row.limit);
    BodyFixture fixture("Content-Length: 6", "ab", row.limit);
    fixture.body.note_sent(fixture.body.received());
    fixture.pull_all();
    fixture.send("cd");
    fixture.send("ef");
    CHECK(fixture.pulled == "cdef");
    CHECK(fixture.body.complete());
    CHECK(fixture.body.can_repeat() == row.kept);
    CHECK(fixture.body.kept() == (row.kept ? "abcdef" : ""));
  }
}

TEST_CASE("what came early stays repeatable beyond the limit until it is sent") {
  BodyFixture fixture("Content-Length: 5", "hello", 2);
  CHECK(fixture.body.can_repeat());
  CHECK(fixture.body.kept() == "hello");
  fixture.body.note_sent(2);
  CHECK(fixture.body.can_repeat());
  fixture.body.note_sent(3);
  CHECK_FALSE(fixture.body.can_repeat());
}

TEST_CASE("chunks in any cut, their trailers, and the next request left where it is") {
  const std::string bytes = "3\r\nabc\r\n2\r\nde\r\n0\r\nX-T: v\r\n\r\nGET";
  for (std::size_t piece = 1; piece <= bytes.size(); ++piece) {
    BodyFixture fixture("Transfer-Encoding: chunked");
    fixture.pull_all();
    fixture.client->send_in_pieces(bytes, piece);
    fixture.world.settle();
    CHECK(fixture.body.complete());
    CHECK(fixture.pulled == "abcde");
    CHECK(fixture.body.kept() == "abcde");
    CHECK(fixture.body.trailers().size() == 1);
    CHECK(fixture.stream->input() == "GET");
  }
}

TEST_CASE("ends that come too early, and bytes that cannot be read") {
  SUBCASE("FIN") {
    BodyFixture fixture("Content-Length: 5", "ab");
    fixture.pull_all();
    fixture.client->finish();
    fixture.world.settle();
    CHECK(fixture.failed_with(http::Problem::bad_request));
  }
  SUBCASE("reset: there is nobody to answer") {
    BodyFixture fixture("Content-Length: 5", "ab");
    fixture.pull_all();
    fixture.client->reset();
    fixture.world.settle();
    REQUIRE(fixture.failure);
    CHECK(fixture.failure->client_gone);
  }
  SUBCASE("malformed, later") {
    BodyFixture fixture("Transfer-Encoding: chunked", "1\r\na\r\n");
    CHECK_FALSE(fixture.body.early_failure());
    fixture.pull_all();
    fixture.send("zz\r\n");
    CHECK(fixture.failed_with(http::Problem::bad_request));
  }
  SUBCASE("malformed, with the head") {
    BodyFixture fixture("Transfer-Encoding: chunked", "zz\r\n");
    REQUIRE(fixture.body.early_failure());
    fixture.pull_all();
    CHECK(fixture.failed_with(http::Problem::bad_request));
  }
}

TEST_CASE("one silence is bounded by idle, anew after each piece") {
  BodyFixture fixture("Content-Length: 9", "", 100, std::nullopt);
  fixture.pull_all(2s);
  fixture.world.pass(2s - Duration(1));
  fixture.send("a");
  fixture.world.pass(2s - Duration(1));
  CHECK_FALSE(fixture.failure);
  fixture.world.pass(Duration(1));
  CHECK(fixture.failed_with(http::Problem::request_timeout));
}

TEST_CASE("min_body_rate: five seconds of grace, and what was received earns its time") {
  SUBCASE("nothing") {
    BodyFixture fixture("Content-Length: 999");
    fixture.pull_all();
    fixture.world.pass(5s - Duration(1));
    CHECK_FALSE(fixture.failure);
    fixture.world.pass(Duration(1));
    CHECK(fixture.failed_with(http::Problem::request_timeout));
  }
  SUBCASE("480 bytes are two seconds") {
    BodyFixture fixture("Content-Length: 999");
    fixture.pull_all();
    fixture.send(std::string(480, 'x'));
    fixture.world.pass(7s - Duration(1));
    CHECK_FALSE(fixture.failure);
    fixture.world.pass(Duration(1));
    CHECK(fixture.failed_with(http::Problem::request_timeout));
  }
  SUBCASE("a drip is not enough, whenever it drips") {
    BodyFixture fixture("Content-Length: 999");
    fixture.pull_all();
    for (int i = 0; i < 6; ++i) {
      fixture.world.pass(900ms);
      fixture.send("x");
    }
    CHECK(fixture.failed_with(http::Problem::request_timeout));
  }
  SUBCASE("time in which nobody pulls is not the client's") {
    BodyFixture fixture("Content-Length: 999");
    fixture.world.pass(60s);
    fixture.pull_all();
    fixture.world.pass(5s - Duration(1));
    CHECK_FALSE(fixture.failure);
  }
  SUBCASE("off") {
    BodyFixture fixture("Content-Length: 999", "", 0, std::nullopt);
    fixture.pull_all();
    fixture.world.pass(24h);
    CHECK_FALSE(fixture.failure);
  }
}

TEST_CASE("100 (Continue) is sent once, when the body is wanted, and not if it comes by itself") {
  const std::string fields = "Expect: 100-continue\r\nContent-Length: 2";
  BodyFixture fixture(fields);
  CHECK(fixture.body.continue_pending());
  CHECK(fixture.client->received().empty());
  fixture.pull_all();
  CHECK(fixture.client->received() == "HTTP/1.1 100 Continue\r\n\r\n");
  CHECK_FALSE(fixture.body.continue_pending());
  fixture.send("a");
  fixture.send("b");
  CHECK(fixture.client->received() == "HTTP/1.1 100 Continue\r\n\r\n");
  CHECK(fixture.pulled == "ab");
  BodyFixture eager(fields, "a");
  CHECK_FALSE(eager.body.continue_pending());
  eager.pull_all();
  CHECK(eager.client->received().empty());
}

TEST_CASE("100 (Continue) waits behind what the client has not taken yet") {
  BodyFixture fixture("Expect: 100-continue\r\nContent-Length: 2");
  fixture.client->take_at_most(1);
  fixture.stream->send("before ");
  fixture.pull_all();
  CHECK(fixture.client->received() == "b");
  fixture.client->take_everything();
  fixture.world.settle();
  CHECK(fixture.client->received() == "before HTTP/1.1 100 Continue\r\n\r\n");
}

}  // namespace
}  // namespace holdfast::test
