// HTTP methods (RFC 9110 §9). Any token is a method; those without a name of their own are `other`.
#pragma once

#include <cstdint>
#include <string_view>

namespace holdfast::http {

enum class Method : std::uint8_t {
  get,
  head,
  post,
  put,
  delete_,
  connect,
  options,
  trace,
  patch,
  other
};

inline constexpr std::string_view method_names[] = {"GET",     "HEAD",    "POST",  "PUT",  "DELETE",
                                                    "CONNECT", "OPTIONS", "TRACE", "PATCH"};

/// Case-sensitive, as methods are; `other` for any token that is not registered above.
Method method_of(std::string_view token);

/// The name, "OTHER" for `other`: bounded, so that it may be a metric's label.
std::string_view label(Method method);

constexpr std::uint32_t bit(Method method) {
  return 1u << static_cast<unsigned>(method);
}

}  // namespace holdfast::http
