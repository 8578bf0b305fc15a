// From a configuration file to a checked proxy::Config.
//
// The stages: read the file (config_file), parse it (config_tree), expand ${ENVIRONMENT}, read
// every table and collect every error (config_sections), and only when there is none merge the
// policies of each route: [defaults], then [upstream.NAME], then [[route]], the nearest winning key
// by key.
//
// Contract: all errors of a file come in one ConfigFailure, by line. Loading touches nothing but
// the file and the body_files it names. Limits: 4 MiB for the file, 1 MiB for a body_file.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "holdfast/app/config_values.h"
#include "holdfast/base/result.h"
#include "holdfast/proxy/config.h"

namespace holdfast::app {

/// Where a value of the effective configuration was set.
struct Origin {
  std::uint32_t line = 0;
  bool from_environment = false;
};

/// By JSON pointer into the effective configuration: "/route/0/timeout/total". A value that is not
/// here has its default.
using Origins = std::map<std::string, Origin, std::less<>>;

struct LoadedConfig {
  std::shared_ptr<const proxy::Config> config;
  Origins origins;
  /// "FILE:LINE:COLUMN: warning: MESSAGE" with source line and caret, for stderr; "" if there is
  /// none.
  std::string warnings;
};

class ConfigFailure {
 public:
  ConfigFailure(std::string text, std::string first)
      : text_(std::move(text)), first_(std::move(first)) {}

  /// Every error, for stderr.
  const std::string& render() const { return text_; }
  /// "FILE:LINE:COLUMN: MESSAGE" of the first error and how many more there are, for one line of a
  /// log.
  const std::string& first_place() const { return first_; }

 private:
  std::string text_;
  std::string first_;
};

/// `in_use`: what a reload replaces. Contexts of TLS whose options and files are as before stay,
/// and the sessions with them.
Result<LoadedConfig, ConfigFailure> load_config(const std::string& path,
                                                const Environment& environment,
                                                const proxy::Config* in_use = nullptr);

/// load_config for a document that has been read; `path` is for messages and relative paths.
Result<LoadedConfig, ConfigFailure> load_document(const std::string& path,
                                                  std::string_view document,
                                                  const Environment& environment,
                                                  const proxy::Config* in_use = nullptr);

/// Escapes one step of a JSON pointer (RFC 6901).
std::string pointer_step(std::string_view name);

}  // namespace holdfast::app
