// The running program: `holdfast run`.
//
// The main thread has a loop of its own for signals, reloads and the admin listener; the workers do
// the rest. A reload reads and checks the file off the loops, opens what is new, and only then
// tells the workers: whatever goes wrong before leaves the old configuration whole.
#pragma once

#include <string>

namespace holdfast::app {

struct RunOptions {
  std::string config_path;
  std::string version;
  std::string commit;
};

/// Runs until SIGTERM or SIGINT has drained it. Returns the exit code: 0 done, 1 the configuration
/// is wrong, 3 the machine refused (a port is taken).
int run(const RunOptions& options);

}  // namespace holdfast::app
