// What the tests of the configuration share: documents in, errors or a Config out.
#pragma once

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <utility>

#include "holdfast/app/config_loader.h"

namespace holdfast::app {

inline LoadedConfig load(std::string_view document, const Environment& environment = {}) {
  auto loaded = load_document("f.toml", document, environment);
  INFO((loaded ? std::string() : loaded.error().render()));
  REQUIRE(loaded.has_value());
  return std::move(loaded).value();
}

/// Every error of `document`; "" if it is right.
inline std::string errors_of(std::string_view document, const Environment& environment = {}) {
  const auto loaded = load_document("f.toml", document, environment);
  return loaded ? std::string() : loaded.error().render();
}

/// True if `text` is part of one of the errors.
inline bool refuses(std::string_view document, std::string_view text) {
  const std::string errors = errors_of(document);
  if (errors.find(text) != std::string::npos) return true;
  MESSAGE(errors);
  return false;
}

/// An upstream and a route to it, which most documents need.
inline constexpr std::string_view some_upstream =
    "[upstream.app]\nendpoints = [\"http://127.0.0.1:3000\"]\n";

inline std::string with_route(const std::string& keys) {
  return std::string(some_upstream) + "[[route]]\nupstream = \"app\"\n" + keys;
}

}  // namespace holdfast::app
