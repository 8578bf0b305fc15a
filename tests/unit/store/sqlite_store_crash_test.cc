// What was acknowledged survives SIGKILL: a child process claims and completes, many at a time, and
// writes down each acknowledgement; it is killed somewhere in the midst, again and again.
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>
#include <string>
#include <vector>

#include "holdfast/store/sqlite_store.h"
#include "tests/support/store_conformance.h"
#include "tests/support/store_folder.h"

namespace holdfast::store {
namespace {

using test::Command;
using test::make_operation;
using test::Operation;
using test::StoreDriver;
using test::StoreSubject;
using test::Verdict;

constexpr int kills = 30;
constexpr int callers = 16;
constexpr char claimed = 'C';
constexpr char completed = 'D';

/// One line in the child's report.
struct Acknowledgement {
  char what;
  int number;
};

Operation operation_of(Command command, int number) {
  Operation operation = make_operation(command, test::digest_of(std::to_string(number)));
  operation.token = "token " + std::to_string(number);
  // Some fill pages of their own, so that a kill also meets long writes.
  operation.body = std::to_string(number) + std::string(number % 7 == 0 ? 30'000 : 10, 'x');
  return operation;
}

struct LocalFile {
  explicit LocalFile(const test::StoreFolder& folder) {
    StoreOptions options;
    options.path = folder.file();
    options.timeout = std::chrono::seconds(10);
    auto opened = LocalStore::open(options, clock, logger);
    INFO((opened ? "" : opened.error()));
    REQUIRE(opened);
    store = *std::move(opened);
  }
  SystemClock clock;
  LogSink sink{STDERR_FILENO};
  Logger logger{sink, LogLevel::warn, LogFormat::text};
  std::unique_ptr<LocalStore> store;
};

void acknowledge(int pipe, char what, int number) {
  const Acknowledgement line{what, number};
  if (::write(pipe, &line, sizeof(line)) != sizeof(line)) ::_exit(1);
}

runtime::Task<void> charge_for_ever(Store& store, int& next, int pipe) {
  for (;;) {
    const int number = next++;
    const Operation claim = operation_of(Command::claim, number);
    const auto acquired = co_await store.apply(claim);
    if (!acquired || acquired->kind != Verdict::Kind::acquired) ::_exit(2);
    acknowledge(pipe, claimed, number);
    const Operation complete = operation_of(Command::complete, number);
    const auto kept = co_await store.apply(complete);
    if (!kept || kept->kind != Verdict::Kind::ok) ::_exit(3);
    acknowledge(pipe, completed, number);
  }
}

/// The child, until it is killed.
[[noreturn]] void run_child(const test::StoreFolder& folder, int first, int pipe) noexcept {
  LocalFile file(folder);
  test::LoopFixture loop;
  StoreSubject subject{loop, *file.store, {}};
  StoreDriver driver(subject);
  runtime::Scope scope;
  for (int i = 0; i < callers; ++i) {
    scope.spawn(charge_for_ever(driver.store(), first, pipe));
  }
  loop.loop.run();
  ::_exit(4);
}

/// Starts a child, kills it after `lines` acknowledgements, and gives all that it had made.
std::vector<Acknowledgement> run_and_kill(const test::StoreFolder& folder, int first,
                                          std::uint64_t lines) {
  int pipe[2];
  REQUIRE(::pipe(pipe) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(pipe[0]);
    run_child(folder, first, pipe[1]);
  }
  REQUIRE(child > 0);
  ::close(pipe[1]);
  std::vector<Acknowledgement> seen;
  Acknowledgement line{};
  while (::read(pipe[0], &line, sizeof(line)) == sizeof(line)) {
    seen.push_back(line);
    if (seen.size() == lines) ::kill(child, SIGKILL);
  }
  ::close(pipe[0]);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGKILL);
  return seen;
}

/// The last acknowledgement of each number.
using Acknowledged = std::map<int, char>;

void check_kept(const test::StoreFolder& folder, const Acknowledged& acknowledged) {
  LocalFile file(folder);
  test::LoopFixture loop;
  StoreSubject subject{loop, *file.store, {}};
  StoreDriver driver(subject);
  for (const auto& [number, what] : acknowledged) {
    CAPTURE(number);
    const Verdict verdict = driver.verdict(operation_of(Command::peek, number));
    if (verdict.kind == Verdict::Kind::completed) {
      REQUIRE(verdict.body == operation_of(Command::complete, number).body);
      REQUIRE(verdict.headers == operation_of(Command::complete, number).headers);
    } else {
      REQUIRE(verdict.kind == Verdict::Kind::unknown);
      REQUIRE(verdict.reason == policy::crash);
      REQUIRE(what == claimed);
    }
  }
}

TEST_CASE("what the local store acknowledged survives SIGKILL") {
  const test::StoreFolder folder;
  Rng rng = Rng::from_entropy();
  Acknowledged all;
  int next = 0;
  for (int round = 0; round < kills; ++round) {
    const std::uint64_t lines = 1 + rng.below(300);
    CAPTURE(round);
    CAPTURE(lines);
    Acknowledged acknowledged;
    for (const Acknowledgement& each : run_and_kill(folder, next, lines)) {
      acknowledged[each.number] = each.what;
      next = std::max(next, each.number + 1);
    }
    next += callers;  // claims that were made and not acknowledged
    check_kept(folder, acknowledged);
    for (const auto& [number, what] : acknowledged) all[number] = what;
  }
  check_kept(folder, all);
  CHECK(all.size() > static_cast<std::size_t>(kills));
}

}  // namespace
}  // namespace holdfast::store
