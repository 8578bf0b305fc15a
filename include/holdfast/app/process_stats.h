// What the kernel knows of this process: the process_* metrics of every Prometheus client library.
//
// Contract: reads /proc; what cannot be read is 0. Takes some tens of microseconds, so never on an
// event loop.
#pragma once

#include <cstdint>

namespace holdfast::app {

struct ProcessStats {
  double cpu_seconds = 0;  // user and system
  std::uint64_t resident_bytes = 0;
  std::uint64_t virtual_bytes = 0;
  std::uint64_t open_fds = 0;
  std::uint64_t max_fds = 0;
  double start_time_seconds = 0;  // since 1970-01-01 UTC
};

ProcessStats read_process_stats();

}  // namespace holdfast::app
