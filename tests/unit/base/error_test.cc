#include "holdfast/base/error.h"

#include <doctest/doctest.h>

#include <set>
#include <string>

using namespace holdfast;

namespace {

struct Row {
  ErrorType type;
  std::string_view name;
  std::string_view group;
  int status;
};

using enum ErrorType;

// Contract §2, Conditions.
constexpr Row contract[] = {
    {dns_error, "dns_error", "connect", 502},
    {connection_refused, "connection_refused", "connect", 502},
    {tls_protocol_error, "tls_protocol_error", "connect", 502},
    {tls_certificate_error, "tls_certificate_error", "connect", 502},
    {tls_alert_received, "tls_alert_received", "connect", 502},
    {destination_ip_unroutable, "destination_ip_unroutable", "connect", 502},
    {dns_timeout, "dns_timeout", "connect", 504},
    {connection_timeout, "connection_timeout", "connect", 504},
    {connection_terminated, "connection_terminated", "reset", 502},
    {http_response_incomplete, "http_response_incomplete", "reset", 502},
    {http_protocol_error, "http_protocol_error", "reset", 502},
    {http_response_timeout, "http_response_timeout", "timeout", 504},
    {connection_read_timeout, "connection_read_timeout", "timeout", 504},
    {connection_write_timeout, "connection_write_timeout", "timeout", 504},
    {destination_unavailable, "destination_unavailable", "open", 503},
    {connection_limit_reached, "connection_limit_reached", "overload", 503},
    {http_request_denied, "http_request_denied", "rate_limited", 429},
    {http_request_error, "http_request_error", "none", 400},
    {http_upgrade_failed, "http_upgrade_failed", "none", 502},
    {proxy_loop_detected, "proxy_loop_detected", "none", 502},
    {proxy_internal_error, "proxy_internal_error", "none", 500},
};

}  // namespace

TEST_CASE("every error type has the name, group and status of the contract") {
  std::set<ErrorType> seen;
  for (const Row& row : contract) {
    CAPTURE(row.name);
    CHECK(name(row.type) == row.name);
    CHECK(name(group_of(row.type)) == row.group);
    CHECK(status_of(row.type) == row.status);
    seen.insert(row.type);
  }
  CHECK(seen.size() == error_type_count);
}

TEST_CASE("an error knows its group, and is an internal one until told otherwise") {
  CHECK(Error{connection_refused, "no listener"}.group() == ErrorGroup::connect);
  CHECK(Error{}.type == proxy_internal_error);
}
