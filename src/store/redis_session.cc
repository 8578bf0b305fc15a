#include "holdfast/store/redis_session.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>
#include <vector>

#include "holdfast/base/assert.h"
#include "holdfast/base/text.h"
#include "holdfast/net/tls.h"
#include "holdfast/store/redis_operation.h"

namespace holdfast::store {
namespace {

using runtime::Task;
using Reply = Result<RedisReply, StoreError>;
using Connected = Result<std::unique_ptr<net::Stream>, StoreError>;
using Server = Result<RedisServer, StoreError>;

StoreError unavailable(std::string detail) {
  return {StoreError::Kind::unavailable, std::move(detail)};
}

/// A reply that is no error, or the error with the name of its step.
Reply checked(Reply reply, std::string_view step) {
  if (!reply) return reply;
  if (reply->kind != RedisReply::Kind::error) return reply;
  StoreError error = error_of(*reply);
  error.detail = std::string(step) + ": " + error.detail;
  return unexpected(std::move(error));
}

/// The value of a "key:value" line of INFO; "" without one.
std::string_view info_value(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find("\r\n"));
    if (line.starts_with(key) && line.substr(key.size()).starts_with(':')) {
      return line.substr(key.size() + 1);
    }
    text.remove_prefix(std::min(text.size(), line.size() + 2));
  }
  return {};
}

/// What INFO says of a server, or why it cannot be used.
Server server_of(std::string_view server, std::string_view memory, std::string_view replication) {
  const std::string_view version = info_value(server, "redis_version");
  const auto major = parse_decimal(version.substr(0, version.find('.')));
  if (!major || *major > 1000) {
    return unexpected(StoreError{StoreError::Kind::refused, "INFO names no version of Redis"});
  }
  if (*major < static_cast<std::uint64_t>(oldest_redis)) {
    return unexpected(StoreError{StoreError::Kind::refused,
                                 "Redis " + std::string(version) + " is too old: 5 is the oldest"});
  }
  if (info_value(replication, "role") == "slave") {
    return unexpected(StoreError{StoreError::Kind::refused, "READONLY: this Redis is a replica"});
  }
  return RedisServer{static_cast<int>(*major), std::string(info_value(memory, "maxmemory_policy"))};
}

Task<Reply> authenticate(RedisConnection& connection, const RedisUrl& url, TimePoint deadline) {
  std::vector<std::string_view> words{"AUTH"};
  if (!url.user.empty()) words.push_back(url.user);
  words.push_back(url.password);
  Reply reply = co_await connection.call(words, deadline);
  co_return checked(std::move(reply), "AUTH");
}

Task<Reply> select(RedisConnection& connection, std::uint32_t database, TimePoint deadline) {
  const std::string number = std::to_string(database);
  const std::array<std::string_view, 2> words{"SELECT", number};
  Reply reply = co_await connection.call(words, deadline);
  co_return checked(std::move(reply), "SELECT");
}

Task<Reply> info(RedisConnection& connection, std::string_view section, TimePoint deadline) {
  const std::array<std::string_view, 2> words{"INFO", section};
  Reply reply = co_await connection.call(words, deadline);
  co_return checked(std::move(reply), "INFO");
}

Task<Reply> load(RedisConnection& connection, std::string_view text, TimePoint deadline) {
  const std::array<std::string_view, 3> words{"SCRIPT", "LOAD", text};
  Reply reply = co_await connection.call(words, deadline);
  co_return checked(std::move(reply), "SCRIPT LOAD");
}

Task<Result<std::vector<net::Address>, StoreError>> addresses_of(const RedisUrl& url,
                                                                 net::Resolver& resolver,
                                                                 TimePoint deadline) {
  const bool is_unix = url.transport == RedisUrl::Transport::unix_socket;
  const auto known =
      is_unix ? net::Address::from_unix_path(url.path) : net::Address::from_ip(url.host, url.port);
  if (known) co_return std::vector<net::Address>{*known};
  Result<std::vector<net::Address>> found = co_await resolver.resolve(url.host, url.port, deadline);
  if (!found) co_return unexpected(unavailable(found.error().detail));
  co_return std::move(*found);
}

/// AUTH, SELECT, and a look.
Task<Server> greet(RedisConnection& connection, const RedisUrl& url, TimePoint deadline) {
  if (!url.password.empty()) {
    Reply welcome = co_await authenticate(connection, url, deadline);
    if (!welcome) co_return unexpected(std::move(welcome.error()));
  }
  if (url.database != 0) {
    Reply selected = co_await select(connection, url.database, deadline);
    if (!selected) co_return unexpected(std::move(selected.error()));
  }
  co_return co_await examine(connection, deadline);
}

using Stream = Result<std::unique_ptr<net::Stream>>;

Task<Stream> connect_to(const net::Address& address, const RedisUrl& url,
                        const net::TlsClientCredentials* tls, runtime::Context& context,
                        net::Connector& connector, TimePoint deadline) {
  Stream plain = co_await connector.connect(address, deadline);
  if (!plain || url.transport != RedisUrl::Transport::tls) co_return std::move(plain);
  HOLDFAST_ASSERT(tls != nullptr);
  const std::shared_ptr<const net::TlsClientContext> current = tls->current();
  co_return co_await net::tls_connect(*plain, *current, url.host, deadline, context);
}

}  // namespace

Task<Connected> connect_redis(const RedisUrl& url, const net::TlsClientCredentials* tls,
                              runtime::Context& context, net::Connector& connector,
                              net::Resolver& resolver, TimePoint deadline) {
  Result<std::vector<net::Address>, StoreError> addresses =
      co_await addresses_of(url, resolver, deadline);
  if (!addresses) co_return unexpected(std::move(addresses.error()));
  StoreError last = unavailable("the name has no address");
  auto left = static_cast<int>(addresses->size());
  for (const net::Address& address : *addresses) {
    // Each its share, so that one that swallows packets does not use up the others' time.
    const TimePoint now = context.now();
    const TimePoint turn = now + (deadline - now) / left--;
    Stream stream = co_await connect_to(address, url, tls, context, connector, turn);
    if (stream) co_return std::move(*stream);
    last = unavailable(std::move(stream.error().detail));
  }
  co_return unexpected(std::move(last));
}

Task<Server> examine(RedisConnection& connection, TimePoint deadline) {
  Task<Reply> asked_server = info(connection, "server", deadline);
  Task<Reply> asked_memory = info(connection, "memory", deadline);
  Task<Reply> asked_replication = info(connection, "replication", deadline);
  asked_server.start();
  asked_memory.start();
  asked_replication.start();
  Reply server = co_await asked_server;
  if (!server) co_return unexpected(std::move(server.error()));
  Reply memory = co_await asked_memory;
  if (!memory) co_return unexpected(std::move(memory.error()));
  Reply replication = co_await asked_replication;
  if (!replication) co_return unexpected(std::move(replication.error()));
  co_return server_of(server->text, memory->text, replication->text);
}

Task<Server> introduce(RedisConnection& connection, const RedisUrl& url, TimePoint deadline) {
  Server server = co_await greet(connection, url, deadline);
  const bool hung_up = !server && server.error().kind == StoreError::Kind::unavailable;
  if (hung_up && url.transport == RedisUrl::Transport::tcp) {
    // So does a port for TLS, without a word that could be understood.
    server.error().detail += " (if it speaks TLS, the URL begins with rediss://)";
  }
  co_return std::move(server);
}

Task<Result<RedisScripts, StoreError>> load_scripts(RedisConnection& connection, int major_version,
                                                    TimePoint deadline) {
  RedisScripts scripts;
  std::array<Task<Reply>, command_count> loads;
  for (std::size_t i = 0; i < command_count; ++i) {
    scripts.text[i] = redis_script(static_cast<policy::Command>(i), major_version);
    loads[i] = load(connection, scripts.text[i], deadline);
    loads[i].start();
  }
  for (std::size_t i = 0; i < command_count; ++i) {
    Task<Reply>& loading = loads[i];
    Reply name = co_await loading;
    if (!name) co_return unexpected(std::move(name.error()));
    scripts.sha[i] = std::move(name->text);
  }
  co_return std::move(scripts);
}

Task<Server> look_at_redis(const RedisUrl& url, const net::TlsClientCredentials* tls,
                           runtime::Context& context, net::Connector& connector,
                           net::Resolver& resolver, TimePoint deadline) {
  Connected stream = co_await connect_redis(url, tls, context, connector, resolver, deadline);
  if (!stream) co_return unexpected(std::move(stream.error()));
  runtime::DeferredSignal ended(context.timers);
  RedisConnection connection(context, std::move(*stream), ended);
  co_return co_await introduce(connection, url, deadline);
}

}  // namespace holdfast::store
