#include "holdfast/proxy/balance_key.h"

#include <algorithm>
#include <ranges>
#include <string>

#include "holdfast/base/text.h"
#include "holdfast/policy/balancer.h"

namespace holdfast::proxy {
namespace {

constexpr std::string_view header_prefix = "header:";

/// What a trusted proxy says of its client, who may have said anything in front of it.
std::string_view forwarded_for(const http::Fields& fields, std::string_view peer,
                               const std::vector<net::Cidr>& trusted_proxies) {
  std::vector<std::string_view> hops;
  for (const http::Field& field : fields) {
    if (field.id != http::FieldName::x_forwarded_for) continue;
    http::for_each_element(field.value, [&](std::string_view hop) {
      hops.push_back(hop);
      return true;
    });
  }
  std::string_view nearest = peer;
  for (const std::string_view hop : std::views::reverse(hops)) {
    const auto address = net::Address::from_ip(hop, 0);
    if (!address) break;
    nearest = hop;
    const bool trusted = std::ranges::any_of(
        trusted_proxies, [&](const net::Cidr& range) { return range.contains(*address); });
    if (!trusted) break;
  }
  return nearest;
}

std::string_view header_value(const http::Fields& fields, std::string_view name) {
  const auto found = std::ranges::find_if(
      fields, [name](const http::Field& field) { return iequals(field.name, name); });
  return found == fields.end() ? std::string_view() : found->value;
}

}  // namespace

std::optional<std::uint64_t> balance_key(std::string_view hash_key, const http::Fields& fields,
                                         std::string_view client_ip, bool client_trusted,
                                         const std::vector<net::Cidr>& trusted_proxies) {
  std::string_view value = client_ip;
  if (hash_key.starts_with(header_prefix)) {
    value = header_value(fields, hash_key.substr(header_prefix.size()));
  } else if (client_trusted) {
    value = forwarded_for(fields, client_ip, trusted_proxies);
  }
  if (value.empty()) return std::nullopt;
  return policy::stable_hash(value);
}

}  // namespace holdfast::proxy
