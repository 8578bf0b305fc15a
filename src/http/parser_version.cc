#include "holdfast/http/parser_version.h"

#include <llhttp.h>

namespace holdfast::http {

std::string llhttp_version() {
  return std::to_string(LLHTTP_VERSION_MAJOR) + "." + std::to_string(LLHTTP_VERSION_MINOR) + "." +
         std::to_string(LLHTTP_VERSION_PATCH);
}

}  // namespace holdfast::http
