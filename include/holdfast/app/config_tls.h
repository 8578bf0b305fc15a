// The `tls` tables: for connections that holdfast makes, and of a listener; and the contexts that
// are made of them.
//
// Contract: relative files start at the configuration's folder. What a file holds is read when the
// configuration is loaded, which takes its time: never on a loop's thread. It is read again when it
// has changed (app/certificates.h).
#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "holdfast/app/config_reader.h"
#include "holdfast/app/config_schema.h"
#include "holdfast/net/tls_context.h"
#include "holdfast/net/tls_credentials.h"
#include "holdfast/proxy/config.h"

namespace holdfast::app {

/// The list of its keys, for Reader and EffectiveWriter.
template <class Keys>
void client_tls_keys(Keys& keys, net::TlsClientOptions& tls) {
  keys.text("ca", tls.ca, some_text_rule);
  keys.text("server_name", tls.server_name, some_text_rule);
  keys.boolean("verify", tls.verify);
  keys.text("cert", tls.cert, some_text_rule);
  keys.text("key", tls.key, some_text_rule);
}

template <class Keys>
void server_tls_keys(Keys& keys, net::TlsServerOptions& tls) {
  keys.text("cert", tls.cert, some_text_rule);
  keys.text("key", tls.key, some_text_rule);
  keys.text("client_ca", tls.client_ca, some_text_rule);
}

/// A listener's `tls`, and the context of its files.
void read_server_tls(Reader& keys, proxy::ListenerConfig& listener,
                     const std::filesystem::path& folder);

/// The values, with absolute files; no file is asked for.
void read_client_tls(Reader& keys, net::TlsClientOptions& tls, const std::filesystem::path& folder);
/// Reports the first file that cannot be used.
void check_tls_files(Reader& keys, const net::TlsClientOptions& tls);

/// What the upstreams of one configuration connect with. Those that have the same options share it:
/// a context costs time and memory.
class UpstreamCredentials {
 public:
  /// nullptr if a file cannot be used, which is reported at its key of `table` (nullptr: there is
  /// no table, and so no file).
  std::shared_ptr<net::TlsClientCredentials> find(const net::TlsClientOptions& tls, Reader* table);

 private:
  std::vector<std::shared_ptr<net::TlsClientCredentials>> made_;
};

}  // namespace holdfast::app
