// One function for each table of the configuration: reads it, reports what is wrong with it, and
// fills its part of proxy::Config.
//
// Contract: a function fills what is right and reports the rest; whoever asked looks at the
// diagnostics before using the result. Tables whose work is not built yet are checked like the
// others and then refused (config_future.h).
#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "holdfast/app/config_reader.h"
#include "holdfast/app/config_tls.h"
#include "holdfast/base/result.h"
#include "holdfast/proxy/config.h"

namespace holdfast::app {

/// What the tables need to know of each other and of the file.
struct LoadContext {
  std::filesystem::path folder;                  // where relative paths start
  std::set<std::string, std::less<>> listeners;  // names that a match may use
  std::set<std::string, std::less<>> upstreams;  // names that a route or a fallback may use
  std::set<std::string, std::less<>> used_upstreams;
  /// A file that several routes inherit is read once.
  std::map<std::string, Result<std::string, std::string>> body_files;
  TlsContexts tls{nullptr};
};

void read_admin(Reader& keys, proxy::AdminConfig& admin);
/// `number` counts from 1.
proxy::ListenerConfig read_listener(Reader& keys, std::size_t number, LoadContext& context);
proxy::UpstreamConfig read_upstream(Reader& keys, const std::string& name, LoadContext& context);

// Rules that several tables share.
bool is_name(std::string_view text);
bool is_authority(std::string_view text);
inline constexpr TextRule authority_rule = {R"(a host's name or address, such as "pay.local")",
                                            is_authority};
inline constexpr TextRule name_rule = {"a name of 1 to 128 visible characters", is_name};

}  // namespace holdfast::app
