// The `tls` tables: for connections that holdfast makes, and of a listener; and the contexts that
// are made of them.
//
// Contract: relative files start at the configuration's folder. What a file holds is read when the
// configuration is loaded, which takes its time: never on a loop's thread. It is read again when it
// has changed (app/certificates.h).
#pragma once

#include <filesystem>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "holdfast/app/config_reader.h"
#include "holdfast/app/config_schema.h"
#include "holdfast/base/result.h"
#include "holdfast/net/tls_context.h"
#include "holdfast/net/tls_credentials.h"
#include "holdfast/net/tls_server_context.h"
#include "holdfast/proxy/config.h"

namespace holdfast::app {

bool is_server_name(std::string_view text);
inline constexpr TextRule server_name_rule = {R"(a host's name or address such as "pay.local")",
                                              is_server_name};

/// The list of its keys, for Reader and EffectiveWriter.
template <class Keys>
void client_tls_keys(Keys& keys, net::TlsClientOptions& tls) {
  keys.text("ca", tls.ca, some_text_rule);
  keys.text("server_name", tls.server_name, server_name_rule);
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

/// The contexts of one configuration, by their options: those that have the same share one, which
/// costs time and memory to make. One that is in use already, of files that are as they were,
/// stays: a reload ends no session of TLS.
template <class Context>
class MadeCredentials {
 public:
  using Shared = std::shared_ptr<net::TlsCredentials<Context>>;

  /// What is in use before the configuration that is read.
  void add(const Shared& in_use) {
    if (in_use) made_.push_back(in_use);
  }
  /// `make` returns a Context::Made; its error is this one's.
  template <class Options, class Make>
  Result<Shared, net::TlsFileError> find(const Options& options, const Make& make) {
    for (const Shared& one : made_) {
      const std::shared_ptr<const Context> current = one->current();
      if (current->options() == options && !current->files_changed()) return one;
    }
    typename Context::Made made = make();
    if (!made) return unexpected(std::move(made.error()));
    made_.push_back(std::make_shared<net::TlsCredentials<Context>>(std::move(*made)));
    return made_.back();
  }

 private:
  std::vector<Shared> made_;
};

struct TlsContexts {
  /// `in_use`: the configuration before this one, or nullptr.
  explicit TlsContexts(const proxy::Config* in_use);

  MadeCredentials<net::TlsServerContext> of_listeners;
  MadeCredentials<net::TlsClientContext> of_upstreams;
};

/// A listener's `tls`, and the context of its files.
void read_server_tls(Reader& keys, proxy::ListenerConfig& listener,
                     const std::filesystem::path& folder, TlsContexts& contexts);

/// The values, with absolute files; no file is asked for.
void read_client_tls(Reader& keys, net::TlsClientOptions& tls, const std::filesystem::path& folder);
/// Reports the first file that cannot be used.
void check_tls_files(Reader& keys, const net::TlsClientOptions& tls);

/// What an upstream's https endpoints connect with; nullptr if a file cannot be used, which is
/// reported at its key of `table` (nullptr: there is no table, and so no file).
std::shared_ptr<net::TlsClientCredentials> upstream_credentials(const net::TlsClientOptions& tls,
                                                                Reader* table,
                                                                TlsContexts& contexts);

}  // namespace holdfast::app
