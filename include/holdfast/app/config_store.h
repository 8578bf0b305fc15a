// [store]: where idempotency records live.
//
// Contract: no store is opened; the files of `tls` are looked at. Paths become absolute, from the
// configuration's folder. No message repeats the URL: it may hold a password.
#pragma once

#include <filesystem>

#include "holdfast/app/config_reader.h"
#include "holdfast/store/store.h"

namespace holdfast::app {

void read_store(Reader& keys, store::StoreOptions& store, const std::filesystem::path& folder);

/// The path of a local store as the process opens it. REQUIRES: asked for once.
void resolve_store_path(store::StoreOptions& store, const std::filesystem::path& folder);

}  // namespace holdfast::app
