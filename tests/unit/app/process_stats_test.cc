#include "holdfast/app/process_stats.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <string>

#include "holdfast/base/clock.h"

using namespace holdfast;
using namespace holdfast::app;

TEST_CASE("the numbers of a process are those of this one") {
  const ProcessStats stats = read_process_stats();
  CHECK(stats.resident_bytes > 100'000);
  CHECK(stats.virtual_bytes > stats.resident_bytes);
  CHECK(stats.cpu_seconds >= 0);

  rlimit limit{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &limit) == 0);
  CHECK(stats.max_fds == limit.rlim_cur);

  const double now = to_seconds(SystemClock().wall_now().time_since_epoch());
  CHECK(stats.start_time_seconds <= now + 2);  // btime is cut to a second
  CHECK(stats.start_time_seconds > now - 3600);
}

TEST_CASE("open descriptors are counted one by one") {
  const std::uint64_t before = read_process_stats().open_fds;
  std::array<int, 2> ends{};
  REQUIRE(pipe(ends.data()) == 0);
  CHECK(read_process_stats().open_fds == before + 2);
  close(ends[0]);
  close(ends[1]);
  CHECK(read_process_stats().open_fds == before);
}

TEST_CASE("a process may call itself anything") {
  std::array<char, 16> name{};
  REQUIRE(prctl(PR_GET_NAME, name.data()) == 0);
  const double start = read_process_stats().start_time_seconds;
  REQUIRE(prctl(PR_SET_NAME, "a) b (c 1 2 3") == 0);
  CHECK(read_process_stats().start_time_seconds == start);
  CHECK(read_process_stats().resident_bytes > 100'000);
  prctl(PR_SET_NAME, name.data());
}

TEST_CASE("CPU time grows with work") {
  const double before = read_process_stats().cpu_seconds;
  const SystemClock clock;
  const TimePoint give_up = after(clock.now(), std::chrono::seconds(20));
  while (read_process_stats().cpu_seconds == before && clock.now() < give_up) {
  }
  CHECK(read_process_stats().cpu_seconds > before);
}
