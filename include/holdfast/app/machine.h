// What the machine lends to this process: CPUs and file descriptors.
#pragma once

#include <cstdint>

namespace holdfast::app {

/// CPUs this process may use: its affinity, bounded by a cgroup's quota (v2 cpu.max, v1
/// cfs_quota_us), rounded up; at least 1.
int usable_cpus();

/// Raises RLIMIT_NOFILE to its hard limit and returns it.
std::uint64_t raise_descriptor_limit();

}  // namespace holdfast::app
