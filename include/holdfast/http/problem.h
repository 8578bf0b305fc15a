// Problems: what holdfast says when it answers by itself (RFC 9457).
//
// A Problem is a refusal of the client's request; failures towards the upstream are base/error.h's.
// Both are rendered here, and only here, into a status and an application/problem+json body:
// type = "urn:problem-type:holdfast:NAME", title, status, detail, request_id.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "holdfast/base/error.h"

namespace holdfast::http {

enum class Problem : std::uint8_t {
  bad_request,              // 400
  destination_not_allowed,  // 403
  no_route,                 // 404
  method_not_allowed,       // 405
  request_timeout,          // 408
  content_too_large,        // 413
  uri_too_long,             // 414
  expectation_failed,       // 417
  headers_too_large,        // 431
  not_implemented,          // 501
};

/// "bad-request", …
std::string_view name(Problem problem);
int status_of(Problem problem);
std::string_view title(Problem problem);
/// One plain sentence each.
std::string_view title(ErrorType type);
/// RFC 9110 §15 phrase for any status this program sends; "" for unknown ones.
std::string_view reason_phrase(int status);

/// Writes the JSON body of a problem, member by member: type, title, status and detail, then what
/// the caller adds, then request_id. Ownership: keeps `out`, which outlives it.
class ProblemWriter {
 public:
  /// `type_name`: see append_problem_json.
  ProblemWriter(std::string& out, std::string_view type_name, std::string_view title, int status,
                std::string_view detail);

  void text(std::string_view key, std::string_view value);
  void number(std::string_view key, int value);
  void boolean(std::string_view key, bool value);
  /// The last call.
  void finish(std::string_view request_id);

 private:
  std::string& out_;
};

/// Appends the JSON body. `type_name` is a Problem's or an ErrorType's name (`_` becomes `-`).
void append_problem_json(std::string& out, std::string_view type_name, std::string_view title,
                         int status, std::string_view detail, std::string_view request_id);

/// A request that is refused, and why.
struct RequestError {
  Problem problem = Problem::bad_request;
  std::string detail;
};

}  // namespace holdfast::http
