// What is said on a new connection to a Redis before it is used: who we are, which database, what
// kind of server it is, and the scripts.
//
// Contract: each function ends by its deadline. A server that may be used is a primary of version 5
// or later; whether it may throw records away is told, not judged. Errors name the step and the
// first word of the server ("AUTH: WRONGPASS"), never a user or a password.
#pragma once

#include <memory>
#include <string>

#include "holdfast/base/result.h"
#include "holdfast/net/network.h"
#include "holdfast/net/tls_credentials.h"
#include "holdfast/runtime/context.h"
#include "holdfast/runtime/task.h"
#include "holdfast/store/redis_connection.h"
#include "holdfast/store/redis_scripts.h"
#include "holdfast/store/redis_url.h"
#include "holdfast/store/store.h"

namespace holdfast::store {

struct RedisServer {
  int major_version = 0;
  std::string eviction;  // maxmemory_policy; "" if the server does not tell
};

/// The connected stream: name look-up, addresses in turn, TLS around it if the URL says so. The one
/// place where a stream to a Redis is made. REQUIRES: `tls` for a rediss URL.
runtime::Task<Result<std::unique_ptr<net::Stream>, StoreError>> connect_redis(
    const RedisUrl& url, const net::TlsClientCredentials* tls, runtime::Context& context,
    net::Connector& connector, net::Resolver& resolver, TimePoint deadline);

/// AUTH, SELECT, and what examine() asks.
runtime::Task<Result<RedisServer, StoreError>> introduce(RedisConnection& connection,
                                                         const RedisUrl& url, TimePoint deadline);

/// Whether the server may (still) be used, and how it is set.
runtime::Task<Result<RedisServer, StoreError>> examine(RedisConnection& connection,
                                                       TimePoint deadline);

runtime::Task<Result<RedisScripts, StoreError>> load_scripts(RedisConnection& connection,
                                                             int major_version, TimePoint deadline);

/// Connects, introduces itself, and hangs up.
runtime::Task<Result<RedisServer, StoreError>> look_at_redis(
    const RedisUrl& url, const net::TlsClientCredentials* tls, runtime::Context& context,
    net::Connector& connector, net::Resolver& resolver, TimePoint deadline);

}  // namespace holdfast::store
