#include "holdfast/app/machine.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <latch>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

namespace holdfast::app {
namespace {

std::optional<double> quota_v2() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (!(file >> quota >> period) || quota == "max" || period <= 0) return std::nullopt;
  return std::stod(quota) / period;
}

std::optional<double> quota_v1() {
  double quota = 0;
  double period = 0;
  std::ifstream("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") >> quota;
  std::ifstream("/sys/fs/cgroup/cpu/cpu.cfs_period_us") >> period;
  if (quota <= 0 || period <= 0) return std::nullopt;
  return quota / period;
}

}  // namespace

int usable_cpus() {
  cpu_set_t set;
  int cpus = 1;
  if (sched_getaffinity(0, sizeof set, &set) == 0) cpus = std::max(1, CPU_COUNT(&set));
  std::optional<double> quota = quota_v2();
  if (!quota) quota = quota_v1();
  if (quota) cpus = std::min(cpus, std::max(1, static_cast<int>(std::ceil(*quota))));
  return cpus;
}

std::uint64_t raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  getrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur;
}

void occupy_standard_descriptors() {
  for (int number = STDIN_FILENO; number <= STDERR_FILENO; ++number) {
    if (fcntl(number, F_GETFD) >= 0) continue;
    // The lowest free number is the one that is missing.
    if (open("/dev/null", O_RDWR) != number) _exit(exit_machine_refused);
  }
}

bool threads_can_be_started(int count) {
  std::latch all_tried(1);
  std::vector<std::thread> threads;
  try {
    while (static_cast<int>(threads.size()) < count) {
      threads.emplace_back([&all_tried] { all_tried.wait(); });
    }
  } catch (const std::system_error&) {
  }
  const bool enough = static_cast<int>(threads.size()) == count;
  all_tried.count_down();
  for (std::thread& thread : threads) thread.join();
  return enough;
}

void end_when_out_of_memory() {
  std::set_new_handler([] {
    constexpr std::string_view line = "holdfast: out of memory\n";
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
    std::abort();
  });
}

SignalsHeld::SignalsHeld() {
  sigset_t held;
  sigemptyset(&held);
  for (const int number : {SIGHUP, SIGINT, SIGTERM}) sigaddset(&held, number);
  pthread_sigmask(SIG_BLOCK, &held, &before_);
}

void SignalsHeld::release() {
  if (holding_) pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  holding_ = false;
}

void drop_unneeded_rights() {
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  rlimit core{};
  if (getrlimit(RLIMIT_CORE, &core) != 0) return;
  core.rlim_cur = 0;
  setrlimit(RLIMIT_CORE, &core);
}

}  // namespace holdfast::app
