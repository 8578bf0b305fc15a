#include "holdfast/app/config_schema.h"

#include <algorithm>

#include "holdfast/app/config_sections.h"
#include "holdfast/base/text.h"
#include "holdfast/http/fields.h"

namespace holdfast::app {

/// Via takes any token; Proxy-Status wants one that begins so (RFC 8941 §3.3.4).
bool is_pseudonym(std::string_view text) {
  const char lower = text.empty() ? ' ' : ascii_lower(text.front());
  return ((lower >= 'a' && lower <= 'z') || lower == '*') && http::is_token(text);
}

bool is_some_text(std::string_view text) {
  return !text.empty();
}

bool is_name_or_empty(std::string_view text) {
  return text.empty() || is_name(text);
}

/// The methods that change something; a key of any other is none of holdfast's business.
bool is_keyed_method(std::string_view text) {
  return text == "POST" || text == "PATCH" || text == "PUT" || text == "DELETE";
}

bool is_hash_key(std::string_view text) {
  constexpr std::string_view prefix = "header:";
  return text == "client_ip" ||
         (text.starts_with(prefix) && http::is_token(text.substr(prefix.size())));
}

/// As a request line may have it, query and all.
bool is_check_path(std::string_view text) {
  const auto may_stand = [](char c) { return c > ' ' && c < 0x7f && c != '#'; };
  return text.starts_with('/') && std::ranges::all_of(text, may_stand);
}

}  // namespace holdfast::app
