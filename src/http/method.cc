#include "holdfast/http/method.h"

#include <algorithm>
#include <iterator>

namespace holdfast::http {

Method method_of(std::string_view token) {
  const auto found = std::ranges::find(method_names, token);
  return static_cast<Method>(std::distance(std::begin(method_names), found));
}

std::string_view label(Method method) {
  return method == Method::other ? "OTHER" : method_names[static_cast<std::size_t>(method)];
}

}  // namespace holdfast::http
