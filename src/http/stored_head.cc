#include "holdfast/http/stored_head.h"

#include <algorithm>
#include <iterator>

#include "holdfast/base/text.h"
#include "holdfast/http/date.h"
#include "holdfast/http/syntax.h"

namespace holdfast::http {
namespace {

constexpr std::string_view line_end = "\r\n";

bool istarts_with(std::string_view text, std::string_view prefix) {
  return iequals(text.substr(0, prefix.size()), prefix);
}

/// Fields that mean one delivery or one caller, by their name or how it begins.
bool is_never_stored(std::string_view name) {
  constexpr std::string_view names[] = {
      "Age",         "Alt-Svc",          "Authentication-Info", "Content-Length", "Retry-After",
      "traceparent", "WWW-Authenticate", "X-Request-Id",        "tracestate",     "Server-Timing",
  };
  constexpr std::string_view beginnings[] = {"Proxy-", "RateLimit", "X-RateLimit"};
  return tells_of_execution(name) ||
         std::any_of(std::begin(names), std::end(names),
                     [&](std::string_view never) { return iequals(name, never); }) ||
         std::any_of(std::begin(beginnings), std::end(beginnings),
                     [&](std::string_view beginning) { return istarts_with(name, beginning); });
}

/// True for fields that end at this hop (RFC 9110 §7.6.1).
bool ends_here(const Fields& fields, const Field& field) {
  return is_hop_by_hop(field.id) || lists_token(fields, FieldName::connection, field.name);
}

void append_line(std::string& text, std::string_view name, std::string_view value) {
  text.append(name).append(": ").append(value).append(line_end);
}

}  // namespace

bool tells_of_execution(std::string_view name) {
  return iequals(name, "Idempotency-Status") || iequals(name, "Idempotent-Replayed");
}

std::string stored_head(const Fields& fields, StoredCookies cookies, WallTime now) {
  std::string text;
  bool has_date = false;
  for (const Field& field : fields) {
    if (ends_here(fields, field) || is_never_stored(field.name)) continue;
    if (field.id == FieldName::set_cookie && cookies == StoredCookies::dropped) continue;
    if (field.id == FieldName::date) has_date = true;
    append_line(text, field.name, field.value);
  }
  if (has_date) return text;
  text += "Date: ";
  text += http_date(now);
  text += line_end;
  return text;
}

std::string shared_head(const Fields& fields) {
  std::string text;
  for (const Field& field : fields) {
    const bool framing = field.id == FieldName::content_length;
    if (framing || tells_of_execution(field.name) || ends_here(fields, field)) continue;
    append_line(text, field.name, field.value);
  }
  return text;
}

std::string tombstone_head(const Fields& fields) {
  std::string text;
  for (const Field& field : fields) {
    const bool says_where = field.id == FieldName::location || iequals(field.name, "ETag");
    if (says_where && !ends_here(fields, field)) append_line(text, field.name, field.value);
  }
  return text;
}

std::optional<Fields> parse_stored_head(std::string_view text) {
  Fields fields;
  while (!text.empty()) {
    const std::size_t end = text.find(line_end);
    if (end == std::string_view::npos) return std::nullopt;
    const auto line = parse_field_line(text.substr(0, end));
    if (!line || !is_field_value(line->value)) return std::nullopt;
    fields.add(line->name, line->value);
    text.remove_prefix(end + line_end.size());
  }
  return fields;
}

}  // namespace holdfast::http
