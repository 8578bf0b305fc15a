#include "holdfast/app/config_schema.h"

#include "holdfast/http/fields.h"

namespace holdfast::app {

bool is_pseudonym(std::string_view text) {
  return http::is_token(text);
}

bool is_field_name_or_empty(std::string_view text) {
  return text.empty() || http::is_token(text);
}

}  // namespace holdfast::app
