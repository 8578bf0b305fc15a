#include "holdfast/base/assert.h"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <string>

namespace {

struct Ending {
  int status = 0;
  std::string output;
};

// Runs `body` in a child of its own and collects its standard error.
template <class Body>
Ending run_in_child(Body body) {
  std::array<int, 2> ends{};
  REQUIRE(pipe(ends.data()) == 0);
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGABRT, SIG_DFL);  // the test runner's own handler would report it
    dup2(ends[1], STDERR_FILENO);
    body();
    _exit(0);
  }
  close(ends[1]);
  Ending ending;
  std::array<char, 256> bytes{};
  for (ssize_t n = 0; (n = read(ends[0], bytes.data(), bytes.size())) > 0;) {
    ending.output.append(bytes.data(), static_cast<std::size_t>(n));
  }
  close(ends[0]);
  waitpid(child, &ending.status, 0);
  return ending;
}

}  // namespace

TEST_CASE("a failed assert names its condition and place, and aborts") {
  const Ending ending = run_in_child([] { HOLDFAST_ASSERT(1 + 1 == 3); });
  CHECK(WIFSIGNALED(ending.status));
  CHECK(WTERMSIG(ending.status) == SIGABRT);
  CHECK(ending.output.find("assert_test.cc:") != std::string::npos);
  CHECK(ending.output.find("1 + 1 == 3") != std::string::npos);
}

TEST_CASE("an assert that holds does nothing but evaluate its condition once") {
  int evaluated = 0;
  HOLDFAST_ASSERT(++evaluated == 1);
  CHECK(evaluated == 1);
}
