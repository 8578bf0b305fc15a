// The version of libuv, for `holdfast version`.
#pragma once

#include <string>

namespace holdfast::runtime {

/// "1.2.3", of the library that is loaded, which need not be the one this was built with.
std::string libuv_version();

}  // namespace holdfast::runtime
