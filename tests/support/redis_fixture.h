// RedisFixture: a store over a real Redis, and what its tests ask of it.
#pragma once

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "holdfast/store/redis_store.h"
#include "tests/support/capture_file.h"
#include "tests/support/eventually.h"
#include "tests/support/loop_fixture.h"
#include "tests/support/redis_server.h"
#include "tests/support/store_conformance.h"

namespace holdfast::test {

/// The options of a store for `server`, with a patience for a busy machine.
inline store::StoreOptions redis_options(const testing::RedisServer& server) {
  store::StoreOptions options;
  options.kind = store::StoreKind::redis;
  options.url = server.url();
  options.timeout = std::chrono::seconds(5);
  return options;
}

class RedisFixture {
 public:
  explicit RedisFixture(const store::StoreOptions& options, const store::RedisTuning& tuning = {})
      : sink_(std::make_unique<LogSink>(log_.fd())),
        logger_(*sink_, LogLevel::info, LogFormat::text) {
    auto opened = store::open_redis_backend(options, logger_, tuning);
    if (opened) {
      backend_ = std::move(*opened);
    } else {
      error_ = opened.error();
    }
  }
  explicit RedisFixture(const testing::RedisServer& server) : RedisFixture(redis_options(server)) {}

  /// Why it did not open; "" if it did.
  const std::string& error() const { return error_; }
  LoopFixture& loop() { return loop_; }
  store::StoreBackend& backend() {
    REQUIRE_MESSAGE(backend_ != nullptr, error_);
    return *backend_;
  }
  store::Store& store() {
    if (store_ == nullptr) store_ = open();
    return *store_;
  }
  /// Another store of the same backend, as another worker has it.
  std::unique_ptr<store::Store> open() {
    return backend().open(loop_.loop.context(), loop_.network, loop_.network);
  }
  StoreResult apply(const Operation& operation) { return apply(store(), operation); }
  StoreResult apply(store::Store& store, const Operation& operation) {
    runtime::Task<StoreResult> task = store.apply(operation);
    loop_.run(task);
    return task.take();
  }
  /// "acquired", "inflight", …, or the error: "timeout: …".
  std::string tell(const Operation& operation) { return tell(apply(operation)); }
  static std::string tell(const StoreResult& result) {
    if (result) return std::string(name(result->kind));
    return std::string(name(result.error().kind)) + ": " + result.error().detail;
  }
  /// As tell(), of an answer that must be there without a turn of the loop.
  std::string tell_at_once(const Operation& operation) {
    runtime::Task<StoreResult> task = store().apply(operation);
    task.start();
    REQUIRE(task.done());
    return tell(task.take());
  }
  /// Asks again until the answer is `wanted`.
  bool eventually_tells(const Operation& operation, std::string_view wanted) {
    return testing::eventually([&] {
      loop_.turn();  // an answer that is there at once takes none
      return tell(operation) == wanted;
    });
  }
  /// What was logged. Ends the store.
  std::string log() {
    store_.reset();
    backend_.reset();
    sink_.reset();
    return log_.text();
  }

 private:
  testing::CaptureFile log_;
  std::unique_ptr<LogSink> sink_;
  Logger logger_;
  LoopFixture loop_;
  std::unique_ptr<store::StoreBackend> backend_;
  std::unique_ptr<store::Store> store_;
  std::string error_;
};

/// An operation on a record of its own.
inline Operation fresh(Command command) {
  return make_operation(command, fresh_id());
}

}  // namespace holdfast::test
