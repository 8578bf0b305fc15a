#include "holdfast/proxy/route_pattern.h"

#include <re2/re2.h>

namespace holdfast::proxy {

std::string pattern_error(std::string_view pattern) {
  const re2::StringPiece text(pattern.data(), pattern.size());
  const re2::RE2 compiled(text, re2::RE2::Quiet);
  return compiled.ok() ? std::string() : compiled.error();
}

}  // namespace holdfast::proxy
