#include "holdfast/net/tls_version.h"

#include <openssl/opensslv.h>

namespace holdfast::net {

std::string openssl_version() {
  return OPENSSL_FULL_VERSION_STR;
}

}  // namespace holdfast::net
