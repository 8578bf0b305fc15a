#include "holdfast/app/certificates.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "holdfast/runtime/scope.h"
#include "tests/support/certificates.h"
#include "tests/unit/app/config_support.h"

namespace holdfast::app {
namespace {

using testing::Authority;
using testing::Certificate;
using testing::file_text;
using testing::TemporaryFolder;

constexpr Duration often = std::chrono::milliseconds(2);

// A listener whose files change, and a loop that looks at them.
struct Bench {
  explicit Bench(const Certificate& first) {
    use(first, first);
    config = load("[[listener]]\nname = \"main\"\ntls = { cert = \"" + folder.path() +
                  "/cert\", key = \"" + folder.path() + "/key\" }\n")
                 .config;
    certificates.use(*config, nullptr);
    scope.spawn(certificates.watch());
  }
  ~Bench() { scope.cancel_all(); }

  void use(const Certificate& certificate, const Certificate& key) {
    folder.write("cert", file_text(certificate.cert_file()));
    folder.write("key", file_text(key.key_file()));
  }
  CertificateState state() const { return certificates.states().front(); }
  /// Runs the loop until the files have been found good or bad, as awaited.
  void run_until(bool stale, std::optional<WallTime> end) {
    scope.spawn(stop_when(stale, end));
    loop.run();
  }
  runtime::Task<void> stop_when(bool stale, std::optional<WallTime> end) {
    while (state().stale != stale || state().end != end) {
      const TimePoint soon = after(loop.context().now(), often);
      co_await runtime::sleep_until(loop.context().timers, soon);
    }
    loop.post([this] { loop.stop(); });
  }

  TemporaryFolder folder;
  LogSink sink{::open("/dev/null", O_WRONLY)};
  Logger logger{sink, LogLevel::error, LogFormat::json};
  std::shared_ptr<const proxy::Config> config;
  runtime::EventLoop loop;
  Certificates certificates{loop, logger, often};
  runtime::Scope scope;
};

TEST_CASE("what the files hold is used, unless it cannot be") {
  const Authority authority;
  const Certificate first = authority.issue({.last_day = 1});
  const Certificate second = authority.issue({.last_day = 3});
  Bench bench(first);
  const auto credentials = bench.config->listeners.front().credentials;
  const auto before = credentials->current();
  CHECK(bench.state().kind == "listener");
  CHECK(bench.state().owner == "main");
  CHECK_FALSE(bench.state().stale);
  const WallTime end = *bench.state().end;
  const WallTime later = *Bench(second).state().end;

  bench.use(first, second);
  bench.run_until(true, end);
  CHECK(credentials->current() == before);

  bench.use(second, second);
  bench.run_until(false, later);
  CHECK(credentials->current() != before);
}

TEST_CASE("what the store connects with is kept as well") {
  const Authority authority;
  const Certificate first = authority.issue({.last_day = 1});
  Bench bench(first);
  const TemporaryFolder folder;
  const std::string ca = folder.write("ca", file_text(authority.ca_file()));
  auto made = net::TlsClientContext::make({ca, "", true, "", ""});
  REQUIRE(made);
  const auto store = std::make_shared<net::TlsClientCredentials>(std::move(*made));
  const auto before = store->current();
  const auto config = load("[store]\nkind = \"redis\"\nurl = \"rediss://a.test\"\n").config;
  bench.certificates.use(*config, store);
  CHECK(bench.state().kind == "store");
  CHECK(bench.state().owner == "redis");
  CHECK_FALSE(bench.state().end);
  folder.write("ca", "nothing of the kind");
  bench.run_until(true, std::nullopt);
  CHECK(store->current() == before);
  folder.write("ca", file_text(Authority("another").ca_file()));
  bench.run_until(false, std::nullopt);
  CHECK(store->current() != before);
}

TEST_CASE("without TLS there is nothing to keep") {
  runtime::EventLoop loop;
  LogSink sink{::open("/dev/null", O_WRONLY)};
  Logger logger{sink, LogLevel::error, LogFormat::json};
  Certificates certificates(loop, logger);
  certificates.use(*load(std::string(some_upstream)).config, nullptr);
  CHECK(certificates.states().empty());
  certificates.use(*load("[upstream.a]\nendpoints = [\"https://a.test\"]\n").config, nullptr);
  REQUIRE(certificates.states().size() == 1);
  CHECK(certificates.states().front().kind == "upstream");
  CHECK_FALSE(certificates.states().front().end);  // it is shown none
}

}  // namespace
}  // namespace holdfast::app
