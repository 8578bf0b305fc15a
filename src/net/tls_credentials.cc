#include "holdfast/net/tls_credentials.h"

#include "holdfast/net/tls_context.h"

namespace holdfast::net {

template class TlsCredentials<TlsClientContext>;

}  // namespace holdfast::net
