#include "holdfast/app/config_tls.h"

#include <string>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "holdfast/base/assert.h"

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

void read_server_tls(Reader& keys, proxy::ListenerConfig& listener,
                     const std::filesystem::path& folder) {
  net::TlsServerOptions& tls = listener.tls.emplace();
  server_tls_keys(keys, tls);
  if (!keys.has("cert") || !keys.has("key")) {
    keys.error(keys.place(), R"(a listener's "tls" needs "cert" and "key")");
    return;
  }
  for (std::string* file : {&tls.cert, &tls.key, &tls.client_ca}) make_absolute(*file, folder);
  if (tls.cert.empty() || tls.key.empty()) return;  // reported already
  auto made = net::TlsServerContext::make(tls);
  if (!made) return report(keys, made.error());
  listener.credentials = std::make_shared<net::TlsServerCredentials>(std::move(*made));
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

std::shared_ptr<net::TlsClientCredentials> UpstreamCredentials::find(
    const net::TlsClientOptions& tls, Reader* table) {
  for (const auto& made : made_) {
    if (made->current()->options() == tls) return made;
  }
  if (!is_pair(tls)) return nullptr;  // reported already
  auto context = net::TlsClientContext::make(tls, proxy::upstream_protocol);
  if (!context) {
    HOLDFAST_ASSERT(table != nullptr);
    report(*table, context.error());
    return nullptr;
  }
  return made_.emplace_back(std::make_shared<net::TlsClientCredentials>(std::move(*context)));
}

}  // namespace holdfast::app
