#include "holdfast/store/memory_store.h"

#include <doctest/doctest.h>

#include <atomic>
#include <thread>

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
  int claim_until_full() {
    int number = 0;
    for (;; ++number) {
      const StoreResult result = claim(number);
      if (!result) {
        CHECK(result.error().kind == StoreError::Kind::full);
        return number;
      }
    }
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

TEST_CASE("a full store takes no new claim, and all else goes on") {
  MemoryFixture fixture(10'000);
  const int held = fixture.claim_until_full();
  REQUIRE(held > 10);
  CHECK(fixture.store.stats().bytes <= 10'000);

  const Digest id = digest_of("0");
  CHECK(fixture.claim(0)->kind == Verdict::Kind::acquired);  // its own, sent again
  CHECK(fixture.store.apply(make_operation(Command::renew, id))->kind == Verdict::Kind::ok);
  CHECK(fixture.store.apply(make_operation(Command::peek, id))->kind == Verdict::Kind::inflight);
  CHECK(fixture.store.apply(make_operation(Command::claim, id, "foreign"))->kind ==
        Verdict::Kind::inflight);

  Operation complete = make_operation(Command::complete, id);
  complete.body.assign(5000, 'x');
  const StoreResult refused = fixture.store.apply(complete);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().kind == StoreError::Kind::full);
  CHECK(fixture.store.apply(make_operation(Command::peek, id))->kind == Verdict::Kind::inflight);

  CHECK(fixture.store.apply(make_operation(Command::tombstone, id))->kind == Verdict::Kind::ok);
  CHECK(fixture.store.apply(make_operation(Command::claim, id, "foreign"))->kind ==
        Verdict::Kind::gone);
  for (int number = 0; number < held; ++number) {
    CAPTURE(number);
    const Operation peek = make_operation(Command::peek, digest_of(std::to_string(number)));
    CHECK(fixture.store.apply(peek)->kind != Verdict::Kind::absent);
  }
}

TEST_CASE("room is made by what has expired") {
  MemoryFixture fixture(10'000);
  const int held = fixture.claim_until_full();
  fixture.clock.advance(2 * test::long_time);
  Operation claim = make_operation(Command::claim, digest_of("large"));
  Operation complete = make_operation(Command::complete, claim.id);
  complete.body.assign(9000, 'x');  // more than one sweep frees
  CHECK(fixture.store.apply(claim));
  CHECK(fixture.store.apply(complete));
  CHECK(fixture.store.stats().inflight < static_cast<std::uint64_t>(held));
  CHECK(fixture.store.stats().bytes <= 10'000);
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

TEST_CASE("threads share the memory store") {
  MemoryFixture fixture;
  std::atomic<int> acquired = 0;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&fixture, &acquired, thread] {
      for (int number = 0; number < 500; ++number) {
        const Operation claim = make_operation(Command::claim, digest_of(std::to_string(number)),
                                               std::to_string(thread));
        if (fixture.store.apply(claim)->kind == Verdict::Kind::acquired) ++acquired;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(acquired == 500);
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
