// RedisServer: a real redis-server for a test: on the loopback interface or a unix socket, in a
// folder that goes away with it, with nothing written to disk unless a test asks for it.
//
// Contract: the constructor returns when it answers (or loads its data). The port is found by the
// kernel and stays over a restart. Nothing but the process started here is ever signalled.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/child_process.h"

namespace holdfast::testing {

class RedisServer {
 public:
  /// Options as on the command line: {"--requirepass", "secret"}.
  explicit RedisServer(std::vector<std::string> options = {});
  ~RedisServer();

  std::uint16_t port() const { return port_; }
  std::string socket_path() const { return folder_.path() + "/redis.sock"; }
  const std::string& folder() const { return folder_.path(); }
  /// "redis://127.0.0.1:PORT/0".
  std::string url() const;

  /// Sends one command over a connection of its own, and returns the reply as it came, without its
  /// last line end: "+OK", ":1", "$3\r\nabc".
  std::string command(const std::vector<std::string>& words) const;

  void kill();
  /// Again, on the same port, with these options added to those it had.
  void start(const std::vector<std::string>& more = {});
  /// Stops it where it stands (SIGSTOP): connections are accepted by the kernel, nothing is
  /// answered.
  void freeze();
  void thaw();

 private:
  std::vector<std::string> options_;
  TemporaryFolder folder_;
  std::uint16_t port_ = 0;
  std::string password_;  // of --requirepass
  std::unique_ptr<ChildProcess> process_;
};

}  // namespace holdfast::testing
