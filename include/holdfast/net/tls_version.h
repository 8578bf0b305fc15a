// The version of OpenSSL, for `holdfast version`.
#pragma once

#include <string>

namespace holdfast::net {

/// "1.2.3", of the headers this was built with.
std::string openssl_version();

}  // namespace holdfast::net
