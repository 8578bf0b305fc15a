#include "holdfast/base/error.h"

#include <array>

#include "holdfast/base/assert.h"

namespace holdfast {
namespace {

struct Row {
  ErrorType type;
  std::string_view name;
  ErrorGroup group;
  int status;
};

using enum ErrorType;

constexpr std::array<Row, error_type_count> table{{
    {dns_error, "dns_error", ErrorGroup::connect, 502},
    {dns_timeout, "dns_timeout", ErrorGroup::connect, 504},
    {connection_refused, "connection_refused", ErrorGroup::connect, 502},
    {connection_timeout, "connection_timeout", ErrorGroup::connect, 504},
    {destination_ip_unroutable, "destination_ip_unroutable", ErrorGroup::connect, 502},
    {tls_protocol_error, "tls_protocol_error", ErrorGroup::connect, 502},
    {tls_certificate_error, "tls_certificate_error", ErrorGroup::connect, 502},
    {tls_alert_received, "tls_alert_received", ErrorGroup::connect, 502},
    {connection_terminated, "connection_terminated", ErrorGroup::reset, 502},
    {http_response_incomplete, "http_response_incomplete", ErrorGroup::reset, 502},
    {http_protocol_error, "http_protocol_error", ErrorGroup::reset, 502},
    {http_response_timeout, "http_response_timeout", ErrorGroup::timeout, 504},
    {connection_read_timeout, "connection_read_timeout", ErrorGroup::timeout, 504},
    {connection_write_timeout, "connection_write_timeout", ErrorGroup::timeout, 504},
    {destination_unavailable, "destination_unavailable", ErrorGroup::open, 503},
    {connection_limit_reached, "connection_limit_reached", ErrorGroup::overload, 503},
    {http_request_denied, "http_request_denied", ErrorGroup::rate_limited, 429},
    {http_request_error, "http_request_error", ErrorGroup::none, 400},
    {http_upgrade_failed, "http_upgrade_failed", ErrorGroup::none, 502},
    {proxy_loop_detected, "proxy_loop_detected", ErrorGroup::none, 502},
    {proxy_internal_error, "proxy_internal_error", ErrorGroup::none, 500},
}};

constexpr bool rows_stand_in_the_order_of_the_enum() {
  for (std::size_t i = 0; i < table.size(); ++i) {
    if (static_cast<std::size_t>(table[i].type) != i) return false;
  }
  return true;
}
static_assert(rows_stand_in_the_order_of_the_enum());

const Row& row(ErrorType type) {
  const auto index = static_cast<std::size_t>(type);
  HOLDFAST_ASSERT(index < table.size());
  return table[index];
}

}  // namespace

std::string_view name(ErrorType type) {
  return row(type).name;
}

std::string_view name(ErrorGroup group) {
  switch (group) {
    case ErrorGroup::connect:
      return "connect";
    case ErrorGroup::reset:
      return "reset";
    case ErrorGroup::timeout:
      return "timeout";
    case ErrorGroup::open:
      return "open";
    case ErrorGroup::overload:
      return "overload";
    case ErrorGroup::rate_limited:
      return "rate_limited";
    case ErrorGroup::none:
      break;
  }
  return "none";
}

ErrorGroup group_of(ErrorType type) {
  return row(type).group;
}

int status_of(ErrorType type) {
  return row(type).status;
}

}  // namespace holdfast
