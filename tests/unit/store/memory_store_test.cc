#include "holdfast/store/memory_store.h"

#include <doctest/doctest.h>

#include "tests/support/capture_file.h"
#include "tests/support/manual_clock.h"
#include "tests/support/store_conformance.h"

namespace holdfast::store {
namespace {

using test::Command;
using test::digest_of;
using test::make_operation;
using test::Operation;
using test::StoreResult;
using test::Verdict;

constexpr std::uint64_t plenty = 1ULL << 30;

struct MemoryFixture {
  explicit MemoryFixture(std::uint64_t max_bytes = plenty) : store(max_bytes, clock, logger) {}

  test::ManualClock clock;
  LogSink sink{-1};
  Logger logger{sink, LogLevel::error, LogFormat::text};
  MemoryStore store;

  StoreResult claim(int number) {
    return store.apply(make_operation(Command::claim, digest_of(std::to_string(number))));
  }
};

TEST_CASE("the memory store decides as the policy does") {
  MemoryFixture fixture;
  test::LoopFixture loop;
  test::StoreSubject subject{loop, fixture.store,
                             [&](policy::Milliseconds time) { fixture.clock.advance(time); }};
  SUBCASE("every transition") {
    test::check_every_transition(subject);
  }
  SUBCASE("payloads") {
    test::check_payloads(subject);
  }
  SUBCASE("random sequences") {
    test::check_random_sequences(subject);
  }
  SUBCASE("time") {
    test::check_time(subject);
  }
  SUBCASE("simultaneous claims") {
    test::check_simultaneous_claims(subject);
  }
  SUBCASE("cancelled waits") {
    test::check_cancelled_waits(subject);
  }
  SUBCASE("two loops") {
    test::check_two_loops(subject);
  }
  SUBCASE("closing") {
    test::check_closing_with_operations_on_the_way(subject);
  }
}

TEST_CASE("the suite holds a store whose time nobody can move to the same") {
  LogSink sink{-1};
  Logger logger{sink, LogLevel::error, LogFormat::text};
  const SystemClock clock;
  MemoryStore store(plenty, clock, logger);
  test::LoopFixture loop;
  test::StoreSubject subject{loop, store, {}};
  test::check_every_transition(subject);
  test::check_random_sequences(subject);
}

TEST_CASE("a full memory store takes no new claim, and all else goes on") {
  MemoryFixture fixture(test::bounded_bytes);
  test::LoopFixture loop;
  test::StoreSubject subject{loop, fixture.store,
                             [&](policy::Milliseconds time) { fixture.clock.advance(time); }};
  test::check_full_store(subject);
}

TEST_CASE("what has expired is removed, a few at each call") {
  MemoryFixture fixture;
  constexpr int records = 5 * MemoryStore::sweep;
  for (int number = 0; number < records; ++number) REQUIRE(fixture.claim(number));
  CHECK(fixture.store.stats().inflight == records);
  fixture.clock.advance(2 * test::long_time);
  const Operation peek = make_operation(Command::peek, digest_of("nobody's"));
  for (int call = 1; call <= 5; ++call) {
    CHECK(fixture.store.apply(peek)->kind == Verdict::Kind::absent);
    CHECK(fixture.store.stats().inflight == records - call * MemoryStore::sweep);
  }
  CHECK(fixture.store.stats().bytes == 0);
}

TEST_CASE("opening a store in memory warns that keys are forgotten") {
  const test::ManualClock clock;
  testing::CaptureFile file;
  {
    LogSink sink(file.fd());
    Logger logger(sink, LogLevel::warn, LogFormat::text);
    const MemoryStore store(plenty, clock, logger);
  }
  CHECK(file.text().find("forgotten with the process") != std::string::npos);
}

}  // namespace
}  // namespace holdfast::store
