#include "holdfast/store/redis_url.h"

#include <algorithm>
#include <optional>

#include "holdfast/base/text.h"
#include "holdfast/net/address.h"

namespace holdfast::store {
namespace {

using Transport = RedisUrl::Transport;
using Failure = std::optional<std::string>;

constexpr std::string_view unix_scheme = "unix:";

std::optional<int> hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  const char lower = ascii_lower(c);
  if (lower >= 'a' && lower <= 'f') return lower - 'a' + 10;
  return std::nullopt;
}

std::optional<std::string> percent_decoded(std::string_view text) {
  std::string decoded;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    if (text.size() - i < 3) return std::nullopt;
    const auto high = hex_digit(text[i + 1]);
    const auto low = hex_digit(text[i + 2]);
    if (!high || !low) return std::nullopt;
    decoded += static_cast<char>(*high * 16 + *low);
    i += 2;
  }
  return decoded;
}

/// What stands before the '@'.
Failure take_credentials(std::string_view text, RedisUrl& url) {
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) return "a user needs a password: user:password@";
  const auto user = percent_decoded(text.substr(0, colon));
  const auto password = percent_decoded(text.substr(colon + 1));
  if (!user || !password) return "user or password: a '%' is followed by two hex digits";
  if (password->empty()) return "the password is empty";
  url.user = *user;
  url.password = *password;
  return std::nullopt;
}

/// Takes "user:password@" off the beginning of an authority.
Failure take_credentials_off(std::string_view& authority, RedisUrl& url) {
  const std::size_t at = authority.rfind('@');
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view credentials = authority.substr(0, at);
  authority.remove_prefix(at + 1);
  return take_credentials(credentials, url);
}

Failure take_database(std::string_view text, RedisUrl& url) {
  const auto number = parse_decimal(text);
  if (!number || *number > 0x7FFFFFFF) return "the database is a number";
  url.database = static_cast<std::uint32_t>(*number);
  return std::nullopt;
}

Failure take_host_and_port(std::string_view text, RedisUrl& url) {
  std::string_view port;
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) return "an IPv6 address ends with ']'";
    url.host = text.substr(1, end - 1);
    if (!net::Address::from_ip(url.host, 0)) return "what stands in brackets is no address";
    port = text.substr(end + 1);
  } else {
    const std::size_t colon = std::min(text.find(':'), text.size());
    url.host = text.substr(0, colon);
    port = text.substr(colon);
  }
  if (url.host.empty()) return "the host is missing";
  if (port.empty()) return std::nullopt;
  const auto number = port.starts_with(':') ? parse_decimal(port.substr(1)) : std::nullopt;
  if (!number || *number == 0 || *number > 65535) return "the port is a number from 1 to 65535";
  url.port = static_cast<std::uint16_t>(*number);
  return std::nullopt;
}

/// What follows "redis://".
Failure take_network(std::string_view rest, RedisUrl& url) {
  if (rest.find_first_of("?#") != std::string_view::npos) {
    return "nothing may follow the database (a '?' or '#' of a password is written %3F, %23)";
  }
  const std::size_t slash = rest.find('/');
  std::string_view authority = rest.substr(0, slash);
  if (Failure failure = take_credentials_off(authority, url)) return failure;
  if (Failure failure = take_host_and_port(authority, url)) return failure;
  if (slash == std::string_view::npos || slash + 1 == rest.size()) return std::nullopt;
  return take_database(rest.substr(slash + 1), url);
}

/// What follows "unix:".
Failure take_unix(std::string_view rest, RedisUrl& url) {
  if (rest.starts_with("//")) {
    rest.remove_prefix(2);
    std::string_view authority = rest.substr(0, rest.find('/'));
    rest.remove_prefix(authority.size());
    if (Failure failure = take_credentials_off(authority, url)) return failure;
    if (!authority.empty()) return "a unix socket has no host: unix:///path";
  }
  const std::size_t question = rest.find('?');
  const auto path = percent_decoded(rest.substr(0, question));
  if (!path || !path->starts_with('/') || !net::Address::from_unix_path(*path)) {
    return "the path of a unix socket is absolute and at most 107 bytes";
  }
  url.path = *path;
  if (question == std::string_view::npos) return std::nullopt;
  constexpr std::string_view key = "db=";
  const std::string_view query = rest.substr(question + 1);
  if (!query.starts_with(key)) return "after a socket's path only ?db=N may follow";
  return take_database(query.substr(key.size()), url);
}

}  // namespace

std::string RedisUrl::text() const {
  const std::string number = std::to_string(database);
  if (transport == Transport::unix_socket) return "unix:" + path + "?db=" + number;
  const std::string scheme = transport == Transport::tls ? "rediss://" : "redis://";
  const bool is_v6 = host.find(':') != std::string::npos;
  const std::string place = is_v6 ? "[" + host + "]" : host;
  return scheme + place + ":" + std::to_string(port) + "/" + number;
}

Result<RedisUrl, std::string> parse_redis_url(std::string_view text) {
  RedisUrl url;
  Failure failure;
  if (text.starts_with("redis://")) {
    failure = take_network(text.substr(8), url);
  } else if (text.starts_with("rediss://")) {
    url.transport = Transport::tls;
    failure = take_network(text.substr(9), url);
  } else if (text.starts_with(unix_scheme)) {
    url.transport = Transport::unix_socket;
    failure = take_unix(text.substr(unix_scheme.size()), url);
  } else {
    failure = "a Redis URL begins with redis://, rediss:// or unix:";
  }
  if (failure) return unexpected("store.url: " + *failure);
  return url;
}

}  // namespace holdfast::store
