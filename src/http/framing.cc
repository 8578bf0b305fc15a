#include "holdfast/http/framing.h"

#include <algorithm>

#include "holdfast/base/text.h"
#include "holdfast/http/guard.h"

namespace holdfast::http {
namespace {

Unexpected<Refusal> refuse(std::string_view reason, Problem problem = Problem::bad_request) {
  return unexpected(Refusal{reason, problem});
}

Result<Framing, Refusal> chunked_framing(const Field& coding, std::size_t lines,
                                         int minor_version) {
  if (minor_version == 0) return refuse("HTTP/1.0 has no Transfer-Encoding");
  if (lines > 1 || !iequals(coding.value, "chunked")) {
    return refuse("Transfer-Encoding is not the one word chunked");
  }
  return Framing{Framing::Kind::chunked, 0};
}

Result<Framing, Refusal> length_framing(const Field& length, std::size_t lines) {
  if (lines > 1) return refuse("Content-Length is there more than once");
  const auto value = parse_decimal(length.value);
  if (!value) return refuse("Content-Length is not a number");
  if (*value > max_length) {
    return refuse("Content-Length is beyond all limits", Problem::content_too_large);
  }
  return Framing{Framing::Kind::length, *value};
}

bool is_of_this_hop(FieldName id) {
  return id == FieldName::other || (is_hop_by_hop(id) && id != FieldName::transfer_encoding);
}

bool names_end_to_end_field(std::string_view connection) {
  std::string_view option;
  while (next_element(connection, option)) {
    if (!is_of_this_hop(field_name(option))) return true;
  }
  return false;
}

}  // namespace

Result<Framing, Refusal> declared_framing(const Fields& fields, int minor_version) {
  const Field* coding = fields.find(FieldName::transfer_encoding);
  const Field* length = fields.find(FieldName::content_length);
  if (coding != nullptr && length != nullptr) {
    return refuse("Content-Length and Transfer-Encoding are both there");
  }
  if (coding != nullptr) {
    return chunked_framing(*coding, fields.count(FieldName::transfer_encoding), minor_version);
  }
  if (length != nullptr) return length_framing(*length, fields.count(FieldName::content_length));
  return Framing{};
}

Result<Framing, Refusal> response_framing(Framing declared, int status, Method request_method) {
  if (status < 200 && declared.has_body()) return refuse("an informational response has a body");
  const bool no_body = request_method == Method::head || status < 200 || status == 204 ||
                       status == 205 || status == 304;
  if (no_body) return Framing{};
  if (declared.kind == Framing::Kind::none) return Framing{Framing::Kind::until_close, 0};
  return declared;
}

bool leaves_content_unread(Framing declared, int status) {
  if (status == 205) return declared.kind == Framing::Kind::none || declared.has_body();
  return status == 204 && declared.has_body();
}

Result<std::string_view, Refusal> host_of(const Fields& fields, int minor_version) {
  const Field* host = fields.find(FieldName::host);
  if (host == nullptr) {
    if (minor_version == 0) return std::string_view();
    return refuse("Host is missing");
  }
  if (fields.count(FieldName::host) > 1) return refuse("Host is there more than once");
  if (!is_authority(host->value)) return refuse("Host is not valid");
  return host->value;
}

Result<void, Refusal> check_connection(const Fields& fields) {
  if (!fields.has(FieldName::connection)) return {};
  for (const Field& field : fields) {
    if (field.id == FieldName::connection && names_end_to_end_field(field.value)) {
      return refuse("Connection names a field that is meant for the far end");
    }
  }
  return {};
}

bool wants_persistence(const Fields& fields, int minor_version) {
  if (lists_token(fields, FieldName::connection, "close")) return false;
  return minor_version == 1 || lists_token(fields, FieldName::connection, "keep-alive");
}

bool has_unknown_expectation(const Fields& fields) {
  return fields.has(FieldName::expect) &&
         std::any_of(fields.begin(), fields.end(), [](const Field& field) {
           return field.id == FieldName::expect && !iequals(field.value, "100-continue");
         });
}

}  // namespace holdfast::http
