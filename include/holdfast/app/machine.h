// What the machine lends to this process: CPUs, file descriptors, threads, memory, rights.
#pragma once

#include <signal.h>

#include <cstdint>

namespace holdfast::app {

/// The exit code for what the machine refuses.
constexpr int exit_machine_refused = 3;

/// CPUs this process may use: its affinity, bounded by a cgroup's quota (v2 cpu.max, v1
/// cfs_quota_us), rounded up; at least 1.
int usable_cpus();

/// Raises RLIMIT_NOFILE to its hard limit and returns it.
std::uint64_t raise_descriptor_limit();

/// Gives descriptors 0 to 2 to /dev/null where whoever started this process has closed them: what
/// is opened next would get their numbers, and log lines written into it. REQUIRES: nothing is open
/// yet.
void occupy_standard_descriptors();

/// True if this process may have so many threads more. It tries.
bool threads_can_be_started(int count);

/// From now on, what finds no memory ends the process with a line on stderr and SIGABRT: a proxy
/// that goes on after half of a change is worse than one that is started again.
void end_when_out_of_memory();

/// While this lives, SIGHUP, SIGINT and SIGTERM wait: before there is anybody to handle them they
/// would end the process.
class SignalsHeld {
 public:
  SignalsHeld();
  ~SignalsHeld() { release(); }
  SignalsHeld(const SignalsHeld&) = delete;
  SignalsHeld& operator=(const SignalsHeld&) = delete;

  /// Threads that are started before this hold them for ever.
  void release();

 private:
  sigset_t before_;
  bool holding_ = true;
};

/// Gives up what a proxy has no use for: no program that it could start would gain rights
/// (no_new_privs), and no core file is written, which would hold requests, answers and passwords.
/// Whoever needs one may raise the limit of the running process (prlimit --core).
void drop_unneeded_rights();

}  // namespace holdfast::app
