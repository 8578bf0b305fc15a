#include "holdfast/app/config_tls.h"

#include <string>
#include <system_error>

#include <fmt/format.h>

namespace holdfast::app {
namespace {

void make_absolute(std::string& file, const std::filesystem::path& folder) {
  if (file.empty()) return;
  std::error_code no_working_directory;
  const auto path = std::filesystem::absolute(folder / file, no_working_directory);
  if (!no_working_directory) file = path.lexically_normal().string();
}

}  // namespace

void read_client_tls(Reader& keys, net::TlsClientOptions& tls) {
  client_tls_keys(keys, tls);
  if (keys.has("cert") != keys.has("key")) {
    keys.error(keys.place(), R"("cert" and "key" need each other)");
  }
}

void check_tls_files(Reader& keys, net::TlsClientOptions& tls,
                     const std::filesystem::path& folder) {
  for (std::string* file : {&tls.ca, &tls.cert, &tls.key}) make_absolute(*file, folder);
  if (tls.cert.empty() != tls.key.empty()) return;  // reported already
  net::TlsClientOptions own = tls;
  own.verify = !own.ca.empty();  // the system's CAs are not ours to check
  const auto made = net::TlsClientContext::make(own);
  if (made) return;
  const net::TlsFileError& error = made.error();
  const Node& value = keys.find(error.key)->value;
  keys.error(value.place,
             fmt::format("cannot use {} {}: {}", error.key, describe(value), error.reason));
}

}  // namespace holdfast::app
