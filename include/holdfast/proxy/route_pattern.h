// The check of a route's path_regex, so that the loader can refuse what RouteTable could not
// compile.
#pragma once

#include <string>
#include <string_view>

namespace holdfast::proxy {

/// Why RE2 does not take `pattern`, or "". Patterns that need more than RE2's default 8 MiB are
/// refused.
std::string pattern_error(std::string_view pattern);

}  // namespace holdfast::proxy
