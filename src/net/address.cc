#include "holdfast/net/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <utility>

#include "holdfast/base/text.h"

namespace holdfast::net {
namespace {

constexpr std::string_view unix_scheme = "unix:";
constexpr std::size_t max_host_name = 253;  // RFC 1035 §2.3.4

template <class Raw>
Raw copy_as(const sockaddr* address) {
  Raw raw{};
  std::memcpy(&raw, address, sizeof(raw));
  return raw;
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
  const auto number = parse_decimal(text);
  if (!number || *number > 65535 || text.size() > 5) return std::nullopt;
  return static_cast<std::uint16_t>(*number);
}

struct HostPort {
  std::string_view host;  // without brackets
  std::string_view port;  // "" if there is none
  bool bracketed = false;
  bool has_port = false;
};

/// Splits "host", "host:port", "[v6]" and "[v6]:port" without judging the parts.
std::optional<HostPort> split_host_port(std::string_view text) {
  HostPort parts;
  std::string_view rest;
  if (text.starts_with('[')) {
    const std::size_t close = text.find(']');
    if (close == std::string_view::npos) return std::nullopt;
    parts.bracketed = true;
    parts.host = text.substr(1, close - 1);
    rest = text.substr(close + 1);
  } else {
    const std::size_t colon = text.find(':');
    parts.host = text.substr(0, colon);
    rest = colon == std::string_view::npos ? std::string_view() : text.substr(colon);
  }
  if (parts.host.empty()) return std::nullopt;
  if (rest.empty()) return parts;
  if (rest.front() != ':') return std::nullopt;
  parts.has_port = true;
  parts.port = rest.substr(1);
  return parts;
}

bool is_name_character(char c) {
  const char lower = ascii_lower(c);
  return (lower >= 'a' && lower <= 'z') || is_digit(c) || c == '-' || c == '_';
}

/// A host name whose last label is a number would be an IPv4 address that is none ("300.1.1.1").
bool is_host_name(std::string_view name) {
  if (name.ends_with('.')) name.remove_suffix(1);
  if (name.empty() || name.size() > max_host_name) return false;
  while (true) {
    const std::size_t dot = name.find('.');
    const std::string_view label = name.substr(0, dot);
    if (label.empty() || label.size() > 63) return false;
    if (!std::all_of(label.begin(), label.end(), is_name_character)) return false;
    if (dot == std::string_view::npos) return !std::all_of(label.begin(), label.end(), is_digit);
    name.remove_prefix(dot + 1);
  }
}

/// An absolute path of a unix socket. Relative ones would depend on where the process was started.
std::optional<Address> parse_unix_path(std::string_view path) {
  if (!path.starts_with('/')) return std::nullopt;
  return Address::from_unix_path(path);
}

std::string bracketed(const std::string& host) {
  return host.find(':') == std::string::npos ? host : "[" + host + "]";
}

/// The bytes of an IP address; an IPv4-mapped IPv6 address as the IPv4 address it stands for.
struct IpBytes {
  std::array<std::uint8_t, 16> bytes{};
  int size = 0;  // 4, 16, or 0 for what is no IP address
  bool was_mapped = false;
};

IpBytes ip_bytes(const Address& address) {
  static constexpr std::array<std::uint8_t, 12> mapped_prefix = {0, 0, 0, 0, 0,    0,
                                                                 0, 0, 0, 0, 0xff, 0xff};
  IpBytes result;
  if (address.family() == AF_INET) {
    const auto raw = copy_as<sockaddr_in>(address.get());
    std::memcpy(result.bytes.data(), &raw.sin_addr, 4);
    result.size = 4;
  } else if (address.family() == AF_INET6) {
    const auto raw = copy_as<sockaddr_in6>(address.get());
    std::array<std::uint8_t, 16> bytes{};
    std::memcpy(bytes.data(), &raw.sin6_addr, bytes.size());
    result.was_mapped = std::equal(mapped_prefix.begin(), mapped_prefix.end(), bytes.begin());
    if (result.was_mapped) {
      std::copy(bytes.begin() + 12, bytes.end(), result.bytes.begin());
      result.size = 4;
    } else {
      result.bytes = bytes;
      result.size = 16;
    }
  }
  return result;
}

bool same_prefix(const IpBytes& a, const IpBytes& b, int bits) {
  const auto whole = static_cast<std::size_t>(bits / 8);
  if (!std::equal(a.bytes.begin(), a.bytes.begin() + bits / 8, b.bytes.begin())) return false;
  const int left = bits % 8;
  if (left == 0) return true;
  const int shift = 8 - left;
  return (a.bytes[whole] >> shift) == (b.bytes[whole] >> shift);
}

}  // namespace

std::optional<Address> Address::from_ip(std::string_view ip, std::uint16_t port) {
  const std::string text(ip);  // inet_pton wants a terminator
  if (text.find('\0') != std::string::npos) return std::nullopt;
  sockaddr_in v4{};
  if (inet_pton(AF_INET, text.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    return from_sockaddr(reinterpret_cast<const sockaddr*>(&v4), sizeof(v4));
  }
  sockaddr_in6 v6{};
  if (inet_pton(AF_INET6, text.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    return from_sockaddr(reinterpret_cast<const sockaddr*>(&v6), sizeof(v6));
  }
  return std::nullopt;
}

std::optional<Address> Address::from_unix_path(std::string_view path) {
  sockaddr_un raw{};
  if (path.empty() || path.size() >= sizeof(raw.sun_path)) return std::nullopt;
  if (path.find('\0') != std::string_view::npos) return std::nullopt;
  raw.sun_family = AF_UNIX;
  std::copy(path.begin(), path.end(), raw.sun_path);
  const std::size_t size = offsetof(sockaddr_un, sun_path) + path.size() + 1;
  return from_sockaddr(reinterpret_cast<const sockaddr*>(&raw), static_cast<socklen_t>(size));
}

Address Address::from_sockaddr(const sockaddr* address, socklen_t length) {
  Address result;
  result.size_ = std::min(length, static_cast<socklen_t>(sizeof(result.storage_)));
  std::memcpy(&result.storage_, address, result.size_);
  return result;
}

std::string Address::ip() const {
  std::array<char, INET6_ADDRSTRLEN> buffer{};
  if (family() == AF_INET) {
    const auto raw = copy_as<sockaddr_in>(get());
    inet_ntop(AF_INET, &raw.sin_addr, buffer.data(), buffer.size());
  } else if (family() == AF_INET6) {
    const auto raw = copy_as<sockaddr_in6>(get());
    inet_ntop(AF_INET6, &raw.sin6_addr, buffer.data(), buffer.size());
  }
  return buffer.data();
}

std::uint16_t Address::port() const {
  if (family() == AF_INET) return ntohs(copy_as<sockaddr_in>(get()).sin_port);
  if (family() == AF_INET6) return ntohs(copy_as<sockaddr_in6>(get()).sin6_port);
  return 0;
}

Address Address::with_port(std::uint16_t port) const {
  Address result = *this;
  if (family() == AF_INET) {
    auto raw = copy_as<sockaddr_in>(get());
    raw.sin_port = htons(port);
    std::memcpy(&result.storage_, &raw, sizeof(raw));
  } else if (family() == AF_INET6) {
    auto raw = copy_as<sockaddr_in6>(get());
    raw.sin6_port = htons(port);
    std::memcpy(&result.storage_, &raw, sizeof(raw));
  }
  return result;
}

std::string Address::text() const {
  if (is_unix()) {
    // storage_ is zeroed beyond size_, so a path without a terminator (an unnamed peer) ends too.
    const auto raw = copy_as<sockaddr_un>(get());
    const std::size_t room = sizeof(raw.sun_path);
    return std::string(unix_scheme) + std::string(raw.sun_path, strnlen(raw.sun_path, room));
  }
  return bracketed(ip()) + ":" + std::to_string(port());
}

bool Address::operator==(const Address& other) const {
  return family() == other.family() && text() == other.text();
}

std::optional<ListenAddress> ListenAddress::parse(std::string_view text) {
  std::optional<Address> address;
  if (text.starts_with(unix_scheme)) {
    address = parse_unix_path(text.substr(unix_scheme.size()));
  } else {
    const auto parts = split_host_port(text);
    if (!parts || !parts->has_port) return std::nullopt;
    const auto port = parse_port(parts->port);
    if (!port) return std::nullopt;
    address = Address::from_ip(parts->host, *port);
    if (address && parts->bracketed != (address->family() == AF_INET6)) return std::nullopt;
  }
  if (!address) return std::nullopt;
  return ListenAddress{*address, std::string(text)};
}

std::optional<Endpoint> Endpoint::parse(std::string_view url) {
  Endpoint endpoint;
  if (url.starts_with(unix_scheme)) {
    endpoint.address = parse_unix_path(url.substr(unix_scheme.size()));
    if (!endpoint.address) return std::nullopt;
    endpoint.scheme = Scheme::unix_socket;
    endpoint.path = url.substr(unix_scheme.size());
    return endpoint;
  }
  const std::size_t end = url.find("://");
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view scheme = url.substr(0, end);
  if (!iequals(scheme, "http") && !iequals(scheme, "https")) return std::nullopt;
  endpoint.scheme = iequals(scheme, "https") ? Scheme::https : Scheme::http;

  std::string_view authority = url.substr(end + 3);
  if (authority.ends_with('/')) authority.remove_suffix(1);
  const auto parts = split_host_port(authority);
  if (!parts) return std::nullopt;

  endpoint.port = endpoint.scheme == Scheme::https ? 443 : 80;
  if (parts->has_port) {
    const auto port = parse_port(parts->port);
    if (!port || *port == 0) return std::nullopt;
    endpoint.port = *port;
  }
  endpoint.host = to_lower(parts->host);
  endpoint.address = Address::from_ip(endpoint.host, endpoint.port);
  const bool is_v6 = endpoint.address && endpoint.address->family() == AF_INET6;
  if (parts->bracketed != is_v6) return std::nullopt;
  if (!endpoint.address && !is_host_name(endpoint.host)) return std::nullopt;
  return endpoint;
}

std::optional<Endpoint> Endpoint::parse_pattern(std::string_view url) {
  constexpr std::string_view mark = "://*.";
  const std::size_t at = url.find(mark);
  if (at == std::string_view::npos) return parse(url);
  std::string rest(url);
  rest.erase(at + 3, 2);
  std::optional<Endpoint> endpoint = parse(rest);
  if (!endpoint || endpoint->address) return std::nullopt;
  endpoint->wildcard = true;
  endpoint->host.insert(0, "*.");
  return endpoint;
}

std::string Endpoint::authority() const {
  if (scheme == Scheme::unix_socket) return "localhost";
  const std::uint16_t default_port = scheme == Scheme::https ? 443 : 80;
  return port == default_port ? bracketed(host) : bracketed(host) + ":" + std::to_string(port);
}

std::string Endpoint::text() const {
  if (scheme == Scheme::unix_socket) return std::string(unix_scheme) + path;
  return bracketed(host) + ":" + std::to_string(port);
}

std::optional<Cidr> Cidr::parse(std::string_view text) {
  const std::size_t slash = text.find('/');
  const auto base = Address::from_ip(text.substr(0, slash), 0);
  if (!base) return std::nullopt;
  const IpBytes bytes = ip_bytes(*base);
  // A prefix of a mapped address counts the 96 bits in front of the IPv4 address.
  const int skipped = bytes.was_mapped ? 96 : 0;

  Cidr result;
  result.base_ = *base;
  result.prefix_ = bytes.size * 8;
  result.text_ = text;
  if (slash != std::string_view::npos) {
    const auto prefix = parse_decimal(text.substr(slash + 1));
    if (!prefix || *prefix > static_cast<std::uint64_t>(bytes.size * 8 + skipped))
      return std::nullopt;
    if (*prefix < static_cast<std::uint64_t>(skipped)) return std::nullopt;
    result.prefix_ = static_cast<int>(*prefix) - skipped;
  }
  return result;
}

bool Cidr::contains(const Address& address) const {
  const IpBytes mine = ip_bytes(base_);
  const IpBytes theirs = ip_bytes(address);
  return mine.size != 0 && mine.size == theirs.size && same_prefix(mine, theirs, prefix_);
}

}  // namespace holdfast::net
