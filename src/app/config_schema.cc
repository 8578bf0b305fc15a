#include "holdfast/app/config_schema.h"

#include "holdfast/app/config_sections.h"
#include "holdfast/base/text.h"
#include "holdfast/http/fields.h"

namespace holdfast::app {

/// Via takes any token; Proxy-Status wants one that begins so (RFC 8941 §3.3.4).
bool is_pseudonym(std::string_view text) {
  const char lower = text.empty() ? ' ' : ascii_lower(text.front());
  return ((lower >= 'a' && lower <= 'z') || lower == '*') && http::is_token(text);
}

bool is_field_name_or_empty(std::string_view text) {
  return text.empty() || http::is_token(text);
}

bool is_some_text(std::string_view text) {
  return !text.empty();
}

bool is_name_or_empty(std::string_view text) {
  return text.empty() || is_name(text);
}

bool is_key_header(std::string_view text) {
  return http::is_token(text) && !is_framing_header(text);
}

/// The methods that change something; a key of any other is none of holdfast's business.
bool is_keyed_method(std::string_view text) {
  return text == "POST" || text == "PATCH" || text == "PUT" || text == "DELETE";
}

}  // namespace holdfast::app
