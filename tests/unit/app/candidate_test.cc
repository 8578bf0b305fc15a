#include "holdfast/app/candidate.h"

#include <doctest/doctest.h>
#include <fcntl.h>

#include <string>

#include "tests/support/certificates.h"
#include "tests/support/socket.h"
#include "tests/unit/app/config_support.h"

namespace holdfast::app {
namespace {

using testing::TemporaryFolder;

std::string address_of(int port) {
  return "127.0.0.1:" + std::to_string(port);
}

std::string listener(const std::string& name, const std::string& address) {
  return "[[listener]]\nname = \"" + name + "\"\nlisten = \"" + address + "\"\n";
}

const std::string keyed = with_route("[route.idempotency]\nenabled = true\n");

struct Bench {
  Candidate reload(const std::string& document, const CandidateWish& changes = {}) {
    CandidateWish wish = changes;
    wish.path = folder.write("holdfast.toml", document);
    if (!wish.in_use) wish.in_use = load_config(wish.path, {})->config;
    wish.workers = 2;
    return next_candidate(wish, logger);
  }

  TemporaryFolder folder;
  LogSink sink{::open("/dev/null", O_WRONLY)};
  Logger logger{sink, LogLevel::error, LogFormat::json};
};

TEST_CASE("sockets are opened for what is not in use, one for each worker") {
  Bench bench;
  const std::string text = address_of(testing::free_port());
  const std::string document = listener("a", text) + std::string(some_upstream);
  Candidate candidate = bench.reload(document);
  REQUIRE(candidate.failure == "");
  CHECK(candidate.published->config == candidate.loaded.config);
  REQUIRE(candidate.opened.count(text) == 1);
  CHECK(candidate.opened.at(text).descriptors.size() == 2);
  CHECK(bench.reload(document, {.listening = {text}}).opened.empty());
  close_opened(candidate);
  CHECK(candidate.opened.empty());
}

TEST_CASE("what is refused leaves nothing open, and says why") {
  Bench bench;
  const int free = testing::free_port();
  const std::string first = listener("a", address_of(free));
  const auto refused = [&](const std::string& document, const CandidateWish& changes = {}) {
    const Candidate candidate = bench.reload(document, changes);
    CHECK(candidate.opened.empty());
    CHECK(candidate.backend == nullptr);
    CHECK_THROWS(testing::Socket::connect(address_of(free)));  // nobody listens
    return candidate.failure;
  };
  CHECK(refused(first + listener("b", "192.0.2.1:80") + std::string(some_upstream))
            .starts_with("listener b: "));
  const std::string no_store = "[store]\npath = \"/nowhere/holdfast.db\"\n";
  CHECK(refused(first + no_store + keyed).starts_with("store: "));
  const CandidateWish other{.in_use = load("[server]\nworkers = 1\n" + first).config};
  CHECK(refused("[server]\nworkers = 2\n" + first, other)
            .ends_with("server.workers cannot change while holdfast runs; restart it"));
  const CandidateWish same{.in_use = load(first).config};
  CHECK(refused(first + "[nothing]\n", same).find("unknown") != std::string::npos);
}

}  // namespace
}  // namespace holdfast::app
