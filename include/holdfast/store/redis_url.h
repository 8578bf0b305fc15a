// The URL of a Redis: where it is, who we are there, and which database.
//
//   redis://user:password@host:port/database     rediss:// the same over TLS
//   unix:///path?db=N     unix:/path     unix://user:password@/path
//
// User and password are percent-decoded; ":password@" is a password alone. The port is 6379 and the
// database 0 unless said.
//
// Contract: pure; the network is not asked. Neither an error's text nor text() has a user or a
// password in it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "holdfast/base/result.h"

namespace holdfast::store {

struct RedisUrl {
  enum class Transport : std::uint8_t { tcp, tls, unix_socket };
  Transport transport = Transport::tcp;
  std::string host;  // without brackets; "" for a unix socket
  std::uint16_t port = 6379;
  std::string path;  // of a unix socket
  std::string user;  // "" is Redis' own default user
  std::string password;
  std::uint32_t database = 0;

  /// For logs: "redis://127.0.0.1:6379/0", "unix:/run/redis.sock?db=1".
  std::string text() const;
  bool operator==(const RedisUrl&) const = default;
};

Result<RedisUrl, std::string> parse_redis_url(std::string_view url);

}  // namespace holdfast::store
