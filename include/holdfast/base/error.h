// Error: a failure that has a name. The names are RFC 9209's proxy error types (§2.3) as far as
// they go; the contract (docs/contract: Conditions) sorts each into one group.
//
// Contract: an Error tells what failed and where to look; it never holds a header value, a query or
// a body. `detail` is for a person and may go to the client.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace holdfast {

enum class ErrorType : std::uint8_t {
  // connect: the upstream saw no byte of the request
  dns_error,
  dns_timeout,
  connection_refused,
  connection_timeout,
  destination_ip_unroutable,
  tls_protocol_error,
  tls_certificate_error,
  tls_alert_received,
  // reset: the upstream may have seen the request and gave no usable answer
  connection_terminated,
  http_response_incomplete,
  http_protocol_error,
  // timeout
  http_response_timeout,
  connection_read_timeout,
  connection_write_timeout,
  // open
  destination_unavailable,
  // overload
  connection_limit_reached,
  // rate_limited
  http_request_denied,
  // none of the groups: they are never retried and never counted
  http_request_error,
  http_upgrade_failed,
  proxy_loop_detected,
  proxy_internal_error,
};
inline constexpr int error_type_count = static_cast<int>(ErrorType::proxy_internal_error) + 1;

enum class ErrorGroup : std::uint8_t {
  connect,
  reset,
  timeout,
  open,
  overload,
  rate_limited,
  none
};

/// The name as it stands in Proxy-Status, logs and metrics, e.g. "connection_refused".
std::string_view name(ErrorType type);
std::string_view name(ErrorGroup group);

ErrorGroup group_of(ErrorType type);

/// The HTTP status a client sees for this failure when nothing else helped (contract §2,
/// Conditions).
int status_of(ErrorType type);

struct Error {
  ErrorType type = ErrorType::proxy_internal_error;
  std::string detail;
  /// True if holdfast gave up before the upstream was asked: says nothing about the upstream.
  bool local = false;

  ErrorGroup group() const { return group_of(type); }
};

}  // namespace holdfast
