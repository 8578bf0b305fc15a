#include "holdfast/store/redis_health.h"

#include <doctest/doctest.h>

#include <memory>
#include <string>

#include "tests/support/capture_file.h"

namespace holdfast::store {
namespace {

struct HealthFixture {
  explicit HealthFixture(bool allow_eviction = false)
      : sink(std::make_unique<LogSink>(file.fd())),
        logger(*sink, LogLevel::info, LogFormat::text),
        health("redis://h:6379/0", allow_eviction, logger) {}

  testing::CaptureFile file;
  std::unique_ptr<LogSink> sink;
  Logger logger;
  RedisHealth health;

  int count_in_log(std::string_view part) {
    sink.reset();
    const std::string text = file.text();
    int count = 0;
    for (auto at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++count;
    return count;
  }
};

const StoreError refused{StoreError::Kind::unavailable, "connection refused"};
const int first_worker = 1;
const int second_worker = 2;

TEST_CASE("the store is up while every worker reaches it, and a change is logged once") {
  HealthFixture fixture;
  CHECK(fixture.health.stats().up);
  fixture.health.came_up(&first_worker);
  for (int probe = 0; probe < 3; ++probe) {
    fixture.health.went_down(&first_worker, refused);
    fixture.health.went_down(&second_worker, refused);
  }
  CHECK_FALSE(fixture.health.stats().up);
  fixture.health.came_up(&first_worker);
  CHECK_FALSE(fixture.health.stats().up);
  fixture.health.came_up(&second_worker);
  CHECK(fixture.health.stats().up);
  fixture.health.went_down(&first_worker, refused);
  fixture.health.forget(&first_worker);
  CHECK(fixture.health.stats().up);
  CHECK(fixture.count_in_log("connection refused") == 2);
}

TEST_CASE("an evicting policy is refused, whatever it is called") {
  for (const std::string policy : {"allkeys-lru", "volatile-lru", "volatile-ttl", ""}) {
    CAPTURE(policy);
    HealthFixture fixture;
    const Result<void, StoreError> judged = fixture.health.judge_eviction(policy);
    REQUIRE_FALSE(judged);
    CHECK(judged.error().kind == StoreError::Kind::evicting);
    CHECK(fixture.health.stats().unsafe_eviction);
    CHECK(fixture.health.judge_eviction("noeviction"));
    CHECK_FALSE(fixture.health.stats().unsafe_eviction);
  }
}

TEST_CASE("an evicting policy that is allowed is shouted about") {
  HealthFixture fixture(true);
  for (int check = 0; check < 3; ++check) CHECK(fixture.health.judge_eviction("volatile-lru"));
  CHECK(fixture.health.stats().unsafe_eviction);
  CHECK(fixture.count_in_log("volatile-lru") == 1);
}

TEST_CASE("a canary that is gone, or another, says that the data was lost") {
  for (const std::string found : {"", "another"}) {
    CAPTURE(found);
    HealthFixture fixture;
    fixture.health.saw_canary("");  // a full Redis took none: nothing is known
    fixture.health.saw_canary("first");
    fixture.health.saw_canary("first");
    CHECK_FALSE(fixture.health.stats().unsafe_lost);
    fixture.health.saw_canary(found);
    fixture.health.saw_canary(found);
    CHECK(fixture.health.stats().unsafe_lost);
    CHECK(fixture.count_in_log("lost its data") == 1);
  }
}

}  // namespace
}  // namespace holdfast::store
