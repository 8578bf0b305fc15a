// The key by which balance = "consistent_hash" chooses an endpoint for a request.
//
// client_ip: the peer's address; where the peer is a trusted proxy, the last address in
// X-Forwarded-For that is none itself. header:NAME: the value of the first such field.
//
// Contract: pure. No key (an absent or empty header, a peer at a unix socket): the request is
// balanced as by least_request.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "holdfast/http/fields.h"
#include "holdfast/net/address.h"

namespace holdfast::proxy {

/// `hash_key` as the configuration has it. `client_ip` is the peer's, "" for a unix socket.
std::optional<std::uint64_t> balance_key(std::string_view hash_key, const http::Fields& fields,
                                         std::string_view client_ip, bool client_trusted,
                                         const std::vector<net::Cidr>& trusted_proxies);

}  // namespace holdfast::proxy
