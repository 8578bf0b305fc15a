#include <llhttp.h>

#include "holdfast/http/parser.h"

namespace holdfast::http {

std::string_view llhttp_version() {
#define HOLDFAST_TEXT(x) #x
#define HOLDFAST_EXPANDED(x) HOLDFAST_TEXT(x)
  return HOLDFAST_EXPANDED(LLHTTP_VERSION_MAJOR) "." HOLDFAST_EXPANDED(
      LLHTTP_VERSION_MINOR) "." HOLDFAST_EXPANDED(LLHTTP_VERSION_PATCH);
#undef HOLDFAST_EXPANDED
#undef HOLDFAST_TEXT
}

}  // namespace holdfast::http
