#include "holdfast/http/syntax.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "holdfast/base/text.h"
#include "holdfast/http/parser.h"

namespace holdfast::http {
namespace {

Unexpected<Refusal> refuse(std::string_view reason, Problem problem = Problem::bad_request) {
  return unexpected(Refusal{reason, problem});
}

// Methods of protocols that look like HTTP and frame their messages in another way.
constexpr std::string_view foreign_methods[] = {
    "PRI",  "SOURCE", "ANNOUNCE", "DESCRIBE", "FLUSH",         "GET_PARAMETER", "PAUSE",
    "PLAY", "RECORD", "REDIRECT", "SETUP",    "SET_PARAMETER", "TEARDOWN"};

Result<void, Refusal> check_method(std::string_view method, bool tunnels) {
  if (!is_token(method)) return refuse("the method is not a token");
  if (method.size() > max_method_length) {
    return refuse("the method is too long", Problem::not_implemented);
  }
  if (std::find(std::begin(foreign_methods), std::end(foreign_methods), method) !=
      std::end(foreign_methods)) {
    return refuse("the method belongs to another protocol");
  }
  if ((method == "CONNECT" && !tunnels) || method == "TRACE") {
    return refuse("the method is not allowed", Problem::method_not_allowed);
  }
  return {};
}

/// -1 for anything but HTTP/1.0 and HTTP/1.1, spelled exactly so.
int minor_version_of(std::string_view protocol) {
  if (protocol == "HTTP/1.1") return 1;
  return protocol == "HTTP/1.0" ? 0 : -1;
}

bool is_target_char(char c) {
  return c > 0x20 && c < 0x7f && c != '#';
}

constexpr auto host_chars = [] {
  std::array<bool, 256> allowed{};
  // unreserved and sub-delims of RFC 3986 but for the comma, which would make Host look like a
  // list.
  for (const char c : std::string_view("-._~!$&'()*+;=0123456789abcdefghijklmnopqrstuvwxyz"
                                       "ABCDEFGHIJKLMNOPQRSTUVWXYZ")) {
    allowed[static_cast<unsigned char>(c)] = true;
  }
  return allowed;
}();

bool is_hex(char c) {
  const char lower = ascii_lower(c);
  return is_digit(c) || (lower >= 'a' && lower <= 'f');
}

bool is_registered_name(std::string_view host) {
  for (std::size_t i = 0; i < host.size(); ++i) {
    if (host_chars[static_cast<unsigned char>(host[i])]) continue;
    if (host[i] != '%' || i + 2 >= host.size() || !is_hex(host[i + 1]) || !is_hex(host[i + 2])) {
      return false;
    }
    i += 2;
  }
  return !host.empty();
}

bool is_ipv6_address(std::string_view text) {
  char terminated[INET6_ADDRSTRLEN] = {};
  if (text.size() >= sizeof terminated) return false;
  std::copy(text.begin(), text.end(), terminated);
  in6_addr ignored;
  return text.find('\0') == text.npos && inet_pton(AF_INET6, terminated, &ignored) == 1;
}

bool is_port(std::string_view text) {
  const auto port = parse_decimal(text);
  return port && text.size() <= 5 && *port >= 1 && *port <= 65535;
}

/// Empty, or a colon and a port.
bool is_port_part(std::string_view text) {
  return text.empty() || (text.front() == ':' && is_port(text.substr(1)));
}

bool is_status_code(std::string_view code) {
  return code.size() == 3 && code[0] >= '1' && code[0] <= '5' && is_digit(code[1]) &&
         is_digit(code[2]);
}

}  // namespace

Result<RequestLine, Refusal> parse_request_line(std::string_view line, bool tunnels) {
  const std::size_t method_end = line.find(' ');
  const std::size_t target_end = line.rfind(' ');
  if (method_end == line.npos || method_end == target_end) {
    return refuse("the request line is not method, target and version");
  }
  const RequestLine parsed{line.substr(0, method_end),
                           line.substr(method_end + 1, target_end - method_end - 1),
                           minor_version_of(line.substr(target_end + 1))};
  const auto accepted = check_method(parsed.method, tunnels);
  if (!accepted) return unexpected(accepted.error());
  if (parsed.minor_version < 0) return refuse("the version is neither HTTP/1.1 nor HTTP/1.0");
  if (parsed.target.empty()) return refuse("the target is missing");
  if (!std::all_of(parsed.target.begin(), parsed.target.end(), is_target_char)) {
    return refuse("the target contains a character that it may not");
  }
  return parsed;
}

Result<Target, Refusal> split_target(std::string_view target, Method method) {
  // Browsers send a backslash in a query; in a path some readers take it for a slash.
  if (target.substr(0, target.find('?')).find('\\') != target.npos) {
    return refuse("the path contains a backslash");
  }
  if (method == Method::connect) {
    const bool has_port = target.rfind(':') != target.npos && !target.ends_with(']');
    if (is_authority(target) && has_port) return Target{target, ""};
    return refuse("the target of CONNECT is not a host and a port");
  }
  if (target.starts_with('/')) return Target{"", target};
  if (target == "*" && method == Method::options) return Target{"", target};
  constexpr std::string_view scheme = "http://";
  if (!iequals(target.substr(0, scheme.size()), scheme)) {
    return refuse("the target is neither a path nor an http URI");
  }
  const std::string_view after_scheme = target.substr(scheme.size());
  const std::size_t end = std::min(after_scheme.find_first_of("/?"), after_scheme.size());
  const Target parts{after_scheme.substr(0, end), after_scheme.substr(end)};
  if (!is_authority(parts.authority)) return refuse("the target's authority is not valid");
  return parts;
}

bool is_authority(std::string_view text) {
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    return end != text.npos && is_ipv6_address(text.substr(1, end - 1)) &&
           is_port_part(text.substr(end + 1));
  }
  const std::size_t host_end = std::min(text.find(':'), text.size());
  return is_registered_name(text.substr(0, host_end)) && is_port_part(text.substr(host_end));
}

Result<StatusLine, Refusal> parse_status_line(std::string_view line) {
  const std::size_t version_end = std::min(line.find(' '), line.size());
  const int minor_version = minor_version_of(line.substr(0, version_end));
  if (minor_version < 0) return refuse("the version is neither HTTP/1.1 nor HTTP/1.0");
  line.remove_prefix(std::min(version_end + 1, line.size()));
  const std::size_t code_end = std::min(line.find(' '), line.size());
  if (!is_status_code(line.substr(0, code_end))) {
    return refuse("the status is not a number from 100 to 599");
  }
  return StatusLine{static_cast<int>(*parse_decimal(line.substr(0, code_end))),
                    line.substr(std::min(code_end + 1, line.size())), minor_version};
}

Result<FieldLine, Refusal> parse_field_line(std::string_view line) {
  std::size_t name_end = 0;
  while (name_end < line.size() && is_token_char(line[name_end])) ++name_end;
  if (name_end == line.size()) return refuse("a field line has no colon");
  if (line[name_end] != ':') {
    return refuse(name_end == 0 ? "a field line begins with white space or no name"
                                : "a field name contains a character that it may not");
  }
  if (name_end == 0) return refuse("a field has no name");
  return FieldLine{line.substr(0, name_end), trim(line.substr(name_end + 1))};
}

}  // namespace holdfast::http
