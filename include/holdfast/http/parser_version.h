// The version of llhttp, for `holdfast version`.
#pragma once

#include <string>

namespace holdfast::http {

/// "1.2.3".
std::string llhttp_version();

}  // namespace holdfast::http
