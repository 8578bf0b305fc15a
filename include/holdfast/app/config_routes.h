// [[route]] with its match, respond and rewrite.
#pragma once

#include <cstddef>

#include "holdfast/app/config_reader.h"
#include "holdfast/app/config_sections.h"
#include "holdfast/proxy/config.h"

namespace holdfast::app {

/// Everything of a route but its policies, which are checked only: the loader merges them later.
/// `number` counts from 1 and makes the default name.
proxy::RouteConfig read_route(Reader& keys, std::size_t number, LoadContext& context);

}  // namespace holdfast::app
