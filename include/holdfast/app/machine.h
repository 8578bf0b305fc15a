// What the machine lends to this process: CPUs, file descriptors, rights.
#pragma once

#include <cstdint>

namespace holdfast::app {

/// CPUs this process may use: its affinity, bounded by a cgroup's quota (v2 cpu.max, v1
/// cfs_quota_us), rounded up; at least 1.
int usable_cpus();

/// Raises RLIMIT_NOFILE to its hard limit and returns it.
std::uint64_t raise_descriptor_limit();

/// Gives up what a proxy has no use for: no program that it could start would gain rights
/// (no_new_privs), and no core file is written, which would hold requests, answers and passwords.
/// Whoever needs one may raise the limit of the running process (prlimit --core).
void drop_unneeded_rights();

}  // namespace holdfast::app
