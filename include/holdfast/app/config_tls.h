// A `tls` table for connections that holdfast makes.
//
// Contract: relative files start at the configuration's folder. Each file is read once to see that
// it can be used; what it holds is read again by who uses it.
#pragma once

#include <filesystem>

#include "holdfast/app/config_reader.h"
#include "holdfast/app/config_schema.h"
#include "holdfast/net/tls_context.h"

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

/// The values alone; no file is asked for.
void read_client_tls(Reader& keys, net::TlsClientOptions& tls);
/// Makes the files absolute, and reports the first that cannot be used.
void check_tls_files(Reader& keys, net::TlsClientOptions& tls, const std::filesystem::path& folder);

}  // namespace holdfast::app
