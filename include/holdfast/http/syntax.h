// The grammar of single lines: request line, status line, field line, authority (wire.md G2 to G5).
//
// Pure functions over one line without its line end. The guard has already refused control bytes,
// so what is left to check is the grammar, byte by byte and without repair: exactly one space where
// one belongs, versions spelled out, nothing trimmed but the white space around a field value.
#pragma once

#include <cstddef>
#include <string_view>

#include "holdfast/base/result.h"
#include "holdfast/http/method.h"
#include "holdfast/http/problem.h"

namespace holdfast::http {

/// Why bytes are not a message. `reason` is a literal: it never quotes what came.
struct Refusal {
  std::string_view reason;
  Problem problem = Problem::bad_request;
};

struct RequestLine {
  std::string_view method;
  std::string_view target;  // raw; only its characters have been checked
  int minor_version = 1;
};

/// Problems: bad_request; not_implemented for a method of more than max_method_length characters;
/// method_not_allowed for TRACE, and for CONNECT unless `tunnels` allows it.
Result<RequestLine, Refusal> parse_request_line(std::string_view line, bool tunnels = false);

/// The parts of a request target (RFC 9112 §3.2).
struct Target {
  std::string_view authority;  // "" unless absolute-form, or authority-form
  std::string_view rest;       // what goes on: "/path?query", "?query", "*" or ""
};

/// One of origin-form, absolute-form with http, or "*" for OPTIONS; for CONNECT authority-form,
/// with its port.
Result<Target, Refusal> split_target(std::string_view target, Method method);

/// uri-host [ ":" port ] with a port from 1 to 65535, no userinfo and no comma (RFC 9110 §7.2).
bool is_authority(std::string_view text);

struct StatusLine {
  int status = 0;
  std::string_view reason;
  int minor_version = 1;
};

/// The space after the code may be missing with the reason: some servers leave both out.
Result<StatusLine, Refusal> parse_status_line(std::string_view line);

struct FieldLine {
  std::string_view name;
  std::string_view value;
};

Result<FieldLine, Refusal> parse_field_line(std::string_view line);

}  // namespace holdfast::http
