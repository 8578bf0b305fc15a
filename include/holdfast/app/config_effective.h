// The effective configuration as JSON: what the admin listener shows and `explain` prints.
//
// The shape is the file's: /server, /log, /admin, /listener/N, /upstream/NAME, /route/N, with every
// default filled in and every route's policies merged, so that a JSON pointer into it is also a key
// of LoadedConfig::origins. Values are written as the file would have them ("15s", "64KiB", "off").
//
// Contract: secrets are replaced by "[redacted]": headers that carry credentials, and every value
// that came from the environment.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "holdfast/app/config_loader.h"

namespace holdfast::app {

using Json = nlohmann::ordered_json;

/// The whole configuration, redacted.
Json effective_config(const LoadedConfig& loaded);

/// effective_config as text, for /config.
std::string effective_json(const LoadedConfig& loaded);

/// [{name, match, upstream | respond}], redacted as above, for /routes.
std::string routes_json(const LoadedConfig& loaded);

/// JSON text; bytes that are not UTF-8 are replaced. `indent` < 0: one line.
std::string to_text(const Json& json, int indent);

}  // namespace holdfast::app
