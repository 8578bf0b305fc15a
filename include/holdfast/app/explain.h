// `holdfast explain`: which route takes a request, where a forward proxy's request goes, and every
// policy value that then holds, with the line that set it.
//
// Contract: asks nobody; reads only the configuration. Uses the RouteTable that the proxy uses.
#pragma once

#include <string>
#include <vector>

#include "holdfast/app/config_loader.h"
#include "holdfast/base/result.h"

namespace holdfast::app {

struct ExplainRequest {
  std::string method;
  std::string url;                   // "http://host:port/path?query", or "/path" with a Host
                                     // header; for CONNECT "host:port"
  std::vector<std::string> headers;  // "Name: value"
  std::string listener;              // "": the one whose port the URL has, else the first; for
                                     // CONNECT the first in forward mode
};

/// The explanation as lines of TOML with comments; the error says what is wrong with the request.
/// `file` is how the configuration's path is shown.
Result<std::string, std::string> explain(const LoadedConfig& loaded, const std::string& file,
                                         const ExplainRequest& request);

}  // namespace holdfast::app
