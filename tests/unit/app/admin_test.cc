// The admin listener's records, over a wire of the test's: who may ask, what may be said, and what
// a store's failure looks like. Its other pages are the integration suites'.
#include "holdfast/app/admin.h"

#include <doctest/doctest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "holdfast/proxy/connection_set.h"
#include "tests/support/fake_network.h"

namespace holdfast::app {
namespace {

using policy::Command;
using policy::Record;
using policy::RecordState;
using store::StoreError;

constexpr policy::StoreTime now{policy::Milliseconds(1'000'000)};
const std::string id_text = "00ff" + std::string(60, 'a');
const Digest id = *parse_record_id(id_text);

/// A store of one record, with the rules of all stores.
class OneRecordStore final : public store::Store {
 public:
  runtime::Task<Result<policy::Verdict, StoreError>> apply(
      const policy::Operation& operation) override {
    if (error && operation.command == failing) co_return unexpected(*error);
    std::optional<Record> none;
    co_return policy::apply(operation.id == id ? record : none, operation, now);
  }

  std::optional<Record> record;
  std::optional<StoreError> error;
  Command failing = Command::inspect;
};

Record record_in(RecordState state) {
  Record record;
  record.state = state;
  record.attempt = 2;
  record.since = now - policy::Milliseconds(5000);
  record.lease_until = now + policy::Milliseconds(3000);
  record.expires = now + policy::Milliseconds(60'000);
  record.reason = state == RecordState::unknown || state == RecordState::gone ? "reset" : "";
  if (is_settled(record)) {
    record.status = 201;
    record.headers = "Location: /charges/7\r\nETag: \"v1\"\r\nX-Secret: hush\r\n";
    record.body = "a secret body";
  }
  return record;
}

struct Answer {
  int status = 0;
  std::string head;
  std::string body;

  nlohmann::json json() const { return nlohmann::json::parse(body, nullptr, false); }
};

class AdminFixture {
 public:
  AdminFixture() : admin_(source(), world.context()), clients_(admin_, world.context(), [] {}) {}

  std::shared_ptr<test::Peer> connect() {
    test::FakePair pair = test::make_pair(world);
    clients_.serve(std::move(pair.stream), listener_);
    return pair.peer;
  }
  Answer ask(std::string_view text) {
    const std::shared_ptr<test::Peer> peer = connect();
    peer->send(text);
    world.settle();
    const std::string& received = peer->received();
    const std::size_t end = received.find("\r\n\r\n");
    REQUIRE(end != std::string::npos);
    return {std::stoi(received.substr(std::string_view("HTTP/1.1 ").size())),
            received.substr(0, end), received.substr(end + 4)};
  }
  Answer get(const std::string& path) {
    return ask("GET " + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n");
  }
  Answer resolve(const std::string& body, const std::string& fields = "X-Holdfast-Admin: 1\r\n") {
    return ask("POST /idempotency/resolve HTTP/1.1\r\nHost: localhost\r\n" + fields +
               "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
  }
  Answer resolve_as(const std::string& outcome) {
    return resolve(R"({"id":")" + id_text + R"(","outcome":")" + outcome + R"("})");
  }

  test::World world;
  OneRecordStore records;
  bool has_store = true;
  std::vector<std::string> resolved;

 private:
  AdminSource source() {
    AdminSource source;
    source.draining = [] { return false; };
    source.hosts = [] { return std::vector<std::string>(); };
    source.store = [this] { return has_store ? &records : nullptr; };
    source.resolved_ttl = [] { return std::chrono::hours(48); };
    source.resolved = [this](std::string_view short_id, bool executed) {
      resolved.push_back(std::string(short_id) + (executed ? " executed" : " not executed"));
    };
    return source;
  }

  Admin admin_;
  const std::string listener_ = "admin";
  proxy::ConnectionSet clients_;
};

}  // namespace

TEST_CASE("what is no id, is not there, or cannot be asked for") {
  AdminFixture fixture;
  for (const std::string& path :
       {std::string(""), std::string("abc"), id_text.substr(1), id_text + "0",
        id_text.substr(2) + "0g", id_text.substr(2) + "-1", id_text.substr(2) + "%30"}) {
    CAPTURE(path);
    CHECK(fixture.get("/idempotency/" + path).status == 400);
  }
  CHECK(fixture.get("/idempotency").status == 404);
  const Answer absent = fixture.get("/idempotency/" + id_text);
  CHECK(absent.status == 404);
  CHECK(absent.json()["type"] == "urn:problem-type:holdfast:no-record");
  fixture.has_store = false;
  CHECK(fixture.get("/idempotency/" + id_text).status == 404);
  CHECK(fixture.resolve_as("executed").status == 404);
}

TEST_CASE("a method that a page does not take is told those that it does") {
  AdminFixture fixture;
  const auto ask = [&](const std::string& method, const std::string& path) {
    return fixture.ask(method + " " + path +
                       " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
  };
  const Answer post = ask("POST", "/idempotency/" + id_text);
  CHECK(post.status == 405);
  CHECK(post.head.find("\r\nAllow: GET, HEAD") != std::string::npos);
  const Answer put = ask("PUT", "/idempotency/resolve");
  CHECK(put.status == 405);
  CHECK(put.head.find("\r\nAllow: POST") != std::string::npos);
}

TEST_CASE("every state is told without the body and without what its fields say") {
  struct Case {
    RecordState state;
    nlohmann::json expected;
  };
  const nlohmann::json none;
  const std::vector<Case> cases = {
      {RecordState::inflight,
       {{"state", "inflight"}, {"lease_left_ms", 3000}, {"status", none}, {"reason", none}}},
      {RecordState::unknown,
       {{"state", "unknown"}, {"lease_left_ms", none}, {"status", none}, {"reason", "reset"}}},
      {RecordState::completed,
       {{"state", "completed"},
        {"status", 201},
        {"reason", none},
        {"location", "/charges/7"},
        {"etag", "\"v1\""}}},
      {RecordState::gone,
       {{"state", "gone"}, {"status", 201}, {"reason", "reset"}, {"location", "/charges/7"}}},
  };
  for (const Case& one : cases) {
    AdminFixture fixture;
    fixture.records.record = record_in(one.state);
    const Answer answer = fixture.get("/idempotency/" + id_text);
    CAPTURE(answer.body);
    CHECK(answer.status == 200);
    const nlohmann::json page = answer.json();
    CHECK(page["id"] == id_text);
    CHECK(page["age_ms"] == 5000);
    CHECK(page["attempt"] == 2);
    for (const auto& [name, value] : one.expected.items()) CHECK(page[name] == value);
    CHECK(answer.body.find("hush") == std::string::npos);
    CHECK(answer.body.find("secret") == std::string::npos);
  }
}

TEST_CASE("only an unknown record is resolved, and its new state is told") {
  for (const RecordState state : {RecordState::inflight, RecordState::completed, RecordState::gone,
                                  RecordState::unknown, RecordState::revoked}) {
    for (const bool executed : {true, false}) {
      CAPTURE(name(state));
      CAPTURE(executed);
      AdminFixture fixture;
      fixture.records.record = record_in(state);
      const std::optional<Record> before = fixture.records.record;
      const Answer answer = fixture.resolve_as(executed ? "executed" : "not_executed");
      if (state == RecordState::revoked) {
        CHECK(answer.status == 404);
      } else if (state != RecordState::unknown) {
        CHECK(answer.status == 409);
        CHECK(answer.body.find(name(state)) != std::string::npos);
      } else {
        CHECK(answer.status == 200);
        CHECK(answer.json()["state"] == (executed ? "gone" : "absent"));
        CHECK(fixture.records.record.has_value() == executed);
        if (executed) CHECK(fixture.records.record->expires == now + std::chrono::hours(48));
        CHECK(fixture.resolved == std::vector<std::string>{std::string("00ffaaaaaaaa") +
                                                           (executed ? "" : " not") + " executed"});
        continue;
      }
      CHECK(fixture.records.record == before);
      CHECK(fixture.resolved.empty());
    }
  }
}

TEST_CASE("an expired lease is an unknown outcome, to be seen and to be resolved") {
  AdminFixture fixture;
  fixture.records.record = record_in(RecordState::inflight);
  fixture.records.record->lease_until = now;
  const nlohmann::json page = fixture.get("/idempotency/" + id_text).json();
  CHECK(page["state"] == "unknown");
  CHECK(page["reason"] == "lease_expired");
  CHECK(fixture.resolve_as("not_executed").status == 200);
  CHECK_FALSE(fixture.records.record.has_value());
}

TEST_CASE("nothing is resolved without the field that no form can send") {
  AdminFixture fixture;
  fixture.records.record = record_in(RecordState::unknown);
  const std::string body = R"({"id":")" + id_text + R"(","outcome":"not_executed"})";
  for (const std::string fields : {"", "X-Holdfast-Admin: 0\r\n", "X-Holdfast-Admin: 11\r\n"}) {
    CAPTURE(fields);
    CHECK(fixture.resolve(body, fields).status == 403);
  }
  CHECK(fixture.records.record.has_value());
  CHECK(fixture.resolve(body, "x-holdfast-admin: 1\r\n").status == 200);
}

TEST_CASE("a body that is no resolution, or too much of one") {
  AdminFixture fixture;
  fixture.records.record = record_in(RecordState::unknown);
  for (const std::string& body :
       {std::string(""), std::string("{}"), std::string("[]"), std::string("{"),
        R"({"id":")" + id_text + R"("})", R"({"id":")" + id_text + R"(","outcome":"yes"})",
        R"({"id":")" + id_text + R"(","outcome":true})",
        R"({"id":")" + id_text + R"(","outcome":"executed","ttl":1})",
        std::string(R"({"id":"abc","outcome":"executed"})"),
        std::string(R"({"id":7,"outcome":"executed"})")}) {
    CAPTURE(body);
    CHECK(fixture.resolve(body).status == 400);
  }
  CHECK(fixture.resolve(std::string(4097, ' ')).status == 413);
  const Answer chunked = fixture.ask(
      "POST /idempotency/resolve HTTP/1.1\r\nHost: localhost\r\nX-Holdfast-Admin: 1\r\n"
      "Transfer-Encoding: chunked\r\n\r\n1001\r\n" +
      std::string(4097, ' ') + "\r\n0\r\n\r\n");
  CHECK(chunked.status == 413);
  CHECK(fixture.records.record->state == RecordState::unknown);
}

TEST_CASE("a body that does not come is not waited for without end") {
  AdminFixture fixture;
  const auto peer = fixture.connect();
  peer->send(
      "POST /idempotency/resolve HTTP/1.1\r\nHost: localhost\r\nX-Holdfast-Admin: 1\r\n"
      "Content-Length: 10\r\n\r\n{");
  fixture.world.pass(std::chrono::milliseconds(4999));
  CHECK(peer->received().empty());
  fixture.world.pass(std::chrono::milliseconds(1));
  CHECK(peer->received().starts_with("HTTP/1.1 408 "));
}

TEST_CASE("a store that fails is a 503 that says how, before and after the look") {
  for (const Command failing : {Command::inspect, Command::resolve}) {
    AdminFixture fixture;
    fixture.records.record = record_in(RecordState::unknown);
    fixture.records.error = StoreError{StoreError::Kind::timeout, "no answer within 100ms"};
    fixture.records.failing = failing;
    const Answer answer = fixture.resolve_as("executed");
    CHECK(answer.status == 503);
    CHECK(answer.json()["detail"] == "timeout: no answer within 100ms");
    CHECK(fixture.resolved.empty());
    const int shown = fixture.get("/idempotency/" + id_text).status;
    CHECK(shown == (failing == Command::inspect ? 503 : 200));
  }
}

TEST_CASE("a strange host learns nothing of records") {
  AdminFixture fixture;
  fixture.records.record = record_in(RecordState::completed);
  CHECK(fixture.ask("GET /idempotency/" + id_text + " HTTP/1.1\r\nHost: evil.example\r\n\r\n")
            .status == 403);
}

}  // namespace holdfast::app
