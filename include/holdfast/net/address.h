// Addresses: where a listener listens, where an endpoint is, which client is trusted.
//
// Contract: plain values. Parsing never asks the network: a host name stays a name until
// net/resolver.h turns it into Addresses.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast::net {

/// A socket address: IPv4, IPv6 or a unix socket's path.
class Address {
 public:
  Address() = default;

  /// From numbers: "127.0.0.1" or "::1" (no brackets). nullopt if `ip` is no address.
  static std::optional<Address> from_ip(std::string_view ip, std::uint16_t port);
  /// nullopt if the path is empty or longer than a sun_path holds (107 bytes).
  static std::optional<Address> from_unix_path(std::string_view path);
  static Address from_sockaddr(const sockaddr* address, socklen_t length);

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage_); }
  socklen_t size() const { return size_; }
  int family() const { return storage_.ss_family; }
  bool is_unix() const { return family() == AF_UNIX; }

  /// "127.0.0.1", "::1", or "" for a unix socket.
  std::string ip() const;
  std::uint16_t port() const;
  /// The same address with another port; a unix socket has none and stays as it is.
  Address with_port(std::uint16_t port) const;
  /// "127.0.0.1:80", "[::1]:80", "unix:/path".
  std::string text() const;

  bool operator==(const Address& other) const;

 private:
  sockaddr_storage storage_{};
  socklen_t size_ = 0;
};

/// Where to listen: "127.0.0.1:8470", "[::1]:8470" or "unix:/run/x.sock".
/// Port 0 asks the kernel for one; the path is absolute.
struct ListenAddress {
  Address address;
  std::string text;  // as written: the identity of a listener over a reload

  static std::optional<ListenAddress> parse(std::string_view text);
  bool operator==(const ListenAddress& other) const { return text == other.text; }
};

/// Where an upstream is: a host (name or IP) and port, or a unix socket.
struct Endpoint {
  enum class Scheme : std::uint8_t { http, https, unix_socket } scheme = Scheme::http;
  std::string host;  // without brackets; "" for unix
  std::uint16_t port = 0;
  std::string path;                // of a unix socket
  std::optional<Address> address;  // set if no look-up is needed: an IP or a unix path
  bool wildcard = false;           // host is "*.x": any host of one or more labels before ".x"

  /// "http://host[:port]", "https://host[:port]" or "unix:/path"; nothing may follow the authority
  /// but one "/". nullopt otherwise.
  static std::optional<Endpoint> parse(std::string_view url);
  /// The same, and "http://*.x[:port]", whose host stands for many.
  static std::optional<Endpoint> parse_pattern(std::string_view url);

  /// "host:port" as a Host field has it (the port left out when it is the scheme's default), or
  /// "localhost" for unix.
  std::string authority() const;
  /// "10.0.0.5:8443" or "unix:/path": for logs, metrics and the admin listener.
  std::string text() const;
  bool is_named() const { return !address.has_value(); }
};

/// An address range, "10.0.0.0/8", "::1" or "127.0.0.1".
class Cidr {
 public:
  static std::optional<Cidr> parse(std::string_view text);
  /// IPv4-mapped IPv6 addresses are compared as IPv4. A unix socket's peer is in no range.
  bool contains(const Address& address) const;
  const std::string& text() const { return text_; }

 private:
  Address base_;
  int prefix_ = 0;
  std::string text_;
};

}  // namespace holdfast::net
