#include "holdfast/app/config_store.h"

#include <string_view>
#include <system_error>

#include <fmt/format.h>

#include "holdfast/app/config_schema.h"
#include "holdfast/app/config_tls.h"
#include "holdfast/store/redis_url.h"

namespace holdfast::app {
namespace {

constexpr std::string_view url_what = R"(a URL such as "redis://127.0.0.1:6379/0")";

void read_url(Reader& keys, store::StoreOptions& store) {
  const Entry* entry = keys.find("url", Node::Kind::text, url_what);
  if (entry != nullptr) {
    const auto url = store::parse_redis_url(entry->value.text);
    if (!url) keys.error(entry->value.place, url.error());
    store.url = entry->value.text;
  } else if (store.kind == store::StoreKind::redis && !keys.has("url")) {
    keys.error(keys.place(), R"(a store of kind "redis" needs a "url")");
  }
}

/// To forget an "s" must not be to send passwords in clear.
void read_tls(Reader& keys, store::StoreOptions& store, const std::filesystem::path& folder) {
  keys.table("tls", [&](Reader& table) {
    read_client_tls(table, store.tls, folder);
    check_tls_files(table, store.tls);
  });
  const auto url = store::parse_redis_url(store.url);
  const bool used = url && url->transport == store::RedisUrl::Transport::tls;
  const Entry* tls = keys.find("tls");
  if (tls != nullptr && url && !used) {
    keys.error(tls->place, R"("tls" is only for a "url" that begins with rediss://)");
  }
}

/// The wait for the replicas is a part of the one operation that `timeout` bounds.
void check_wait(Reader& keys, const store::StoreOptions& store) {
  if (store.wait_replicas == 0 || store.wait_timeout < store.timeout) return;
  const Entry* entry = keys.find(keys.has("wait_timeout") ? "wait_timeout" : "timeout");
  if (entry == nullptr) return;  // both are defaults, which are right
  keys.error(entry->value.place,
             fmt::format(R"("wait_timeout" ({}) must be less than "timeout" ({}))",
                         format_duration(store.wait_timeout), format_duration(store.timeout)));
}

}  // namespace

void read_store(Reader& keys, store::StoreOptions& store, const std::filesystem::path& folder) {
  store_keys(keys, store);
  read_url(keys, store);
  read_tls(keys, store, folder);
  check_wait(keys, store);
}

void resolve_store_path(store::StoreOptions& store, const std::filesystem::path& folder) {
  std::error_code no_working_directory;
  const auto path = std::filesystem::absolute(folder / store.path, no_working_directory);
  if (!no_working_directory) store.path = path.lexically_normal().string();
}

}  // namespace holdfast::app
