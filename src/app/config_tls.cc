#include "holdfast/app/config_tls.h"

#include <string>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "holdfast/base/assert.h"
#include "holdfast/base/text.h"
#include "holdfast/net/address.h"

namespace holdfast::app {
namespace {

void make_absolute(std::string& file, const std::filesystem::path& folder) {
  if (file.empty()) return;
  std::error_code no_working_directory;
  const auto path = std::filesystem::absolute(folder / file, no_working_directory);
  if (!no_working_directory) file = path.lexically_normal().string();
}

void report(Reader& keys, const net::TlsFileError& error) {
  const Node& value = keys.find(error.key)->value;
  keys.error(value.place,
             fmt::format("cannot use {} {}: {}", error.key, describe(value), error.reason));
}

bool is_pair(const net::TlsClientOptions& tls) {
  return tls.cert.empty() == tls.key.empty();
}

}  // namespace

bool is_server_name(std::string_view text) {
  if (net::Address::from_ip(text, 0)) return true;
  const auto url = net::Endpoint::parse("http://" + std::string(text));
  return url && url->is_named() && iequals(url->host, text);
}

TlsContexts::TlsContexts(const proxy::Config* in_use) {
  if (in_use == nullptr) return;
  for (const auto& listener : in_use->listeners) of_listeners.add(listener.credentials);
  for (const auto& [name, upstream] : in_use->upstreams) {
    for (const auto& endpoint : upstream.endpoints) of_upstreams.add(endpoint.credentials);
  }
}

void read_server_tls(Reader& keys, proxy::ListenerConfig& listener,
                     const std::filesystem::path& folder, TlsContexts& contexts) {
  net::TlsServerOptions& tls = listener.tls.emplace();
  server_tls_keys(keys, tls);
  if (!keys.has("cert") || !keys.has("key")) {
    keys.error(keys.place(), R"(a listener's "tls" needs "cert" and "key")");
    return;
  }
  for (std::string* file : {&tls.cert, &tls.key, &tls.client_ca}) make_absolute(*file, folder);
  if (tls.cert.empty() || tls.key.empty()) return;  // reported already
  auto found = contexts.of_listeners.find(tls, [&] { return net::TlsServerContext::make(tls); });
  if (!found) return report(keys, found.error());
  listener.credentials = std::move(*found);
}

void read_client_tls(Reader& keys, net::TlsClientOptions& tls,
                     const std::filesystem::path& folder) {
  client_tls_keys(keys, tls);
  for (std::string* file : {&tls.ca, &tls.cert, &tls.key}) make_absolute(*file, folder);
  if (keys.has("cert") != keys.has("key")) {
    keys.error(keys.place(), R"("cert" and "key" need each other)");
  }
}

void check_tls_files(Reader& keys, const net::TlsClientOptions& tls) {
  if (!is_pair(tls)) return;  // reported already
  net::TlsClientOptions own = tls;
  own.verify = !own.ca.empty();  // the system's CAs are not ours to check
  const auto made = net::TlsClientContext::make(own);
  if (!made) report(keys, made.error());
}

std::shared_ptr<net::TlsClientCredentials> upstream_credentials(const net::TlsClientOptions& tls,
                                                                Reader* table,
                                                                TlsContexts& contexts) {
  if (!is_pair(tls)) return nullptr;  // reported already
  auto found = contexts.of_upstreams.find(
      tls, [&] { return net::TlsClientContext::make(tls, proxy::upstream_protocol); });
  if (found) return std::move(*found);
  HOLDFAST_ASSERT(table != nullptr);
  report(*table, found.error());
  return nullptr;
}

}  // namespace holdfast::app
