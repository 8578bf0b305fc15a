#include "holdfast/store/store.h"

#include <doctest/doctest.h>

#include <set>
#include <string>

#include "tests/support/capture_file.h"
#include "tests/support/store_folder.h"

namespace holdfast::store {
namespace {

struct QuietLogger {
  testing::CaptureFile log;
  LogSink sink{log.fd()};
  Logger logger{sink, LogLevel::error, LogFormat::text};
};

TEST_CASE("a store in memory opens, and has nothing") {
  QuietLogger quiet;
  StoreOptions options;
  options.kind = StoreKind::memory;
  const auto backend = open_backend(options, quiet.logger);
  REQUIRE(backend);
  CHECK((*backend)->stats().up);
  CHECK((*backend)->stats().bytes == 0);
}

TEST_CASE("a local store opens its file, and says why it cannot") {
  QuietLogger quiet;
  const test::StoreFolder folder;
  StoreOptions options;
  options.path = folder.file();
  const auto backend = open_backend(options, quiet.logger);
  REQUIRE(backend);
  CHECK((*backend)->stats().up);
  const auto second = open_backend(options, quiet.logger);
  REQUIRE_FALSE(second);
  CHECK(second.error().starts_with(options.path + ": "));
}

TEST_CASE("a Redis that cannot be reached does not stop the start") {
  QuietLogger quiet;
  const test::StoreFolder folder;
  StoreOptions options;
  options.kind = StoreKind::redis;
  options.url = "unix:" + folder.path() + "/nobody.sock";
  CHECK(open_backend(options, quiet.logger));
}

TEST_CASE("kinds of stores and of errors have names of their own") {
  std::set<std::string_view> names;
  for (const StoreKind kind : {StoreKind::local, StoreKind::memory, StoreKind::redis}) {
    names.insert(name(kind));
  }
  CHECK(names == std::set<std::string_view>{"local", "memory", "redis"});
  using Kind = StoreError::Kind;
  names.clear();
  for (const Kind kind : {Kind::unavailable, Kind::timeout, Kind::refused, Kind::corrupt,
                          Kind::full, Kind::evicting, Kind::replicas}) {
    names.insert(name(kind));
  }
  CHECK(names == std::set<std::string_view>{"unavailable", "timeout", "refused", "corrupt", "full",
                                            "evicting", "replicas"});
}

}  // namespace
}  // namespace holdfast::store
