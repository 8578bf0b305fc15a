// What is wrong with a configuration file, where, and how that is told to a person.
//
// Contract: errors are collected in any order and rendered by place; what is said twice of one
// place is kept once. The form is
//   FILE:LINE:COLUMN: error: MESSAGE
//   the source line
//   a caret under the column
//   did you mean "NAME"?          (where a known name is near)
// A message never holds a value that came from the environment: it may be a secret.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "holdfast/app/config_tree.h"

namespace holdfast::app {

struct Diagnostic {
  Place place;
  std::string message;
  std::string suggestion;  // "": no known name is near
};

class Diagnostics {
 public:
  void error(Place place, std::string message, std::string_view suggestion = {});
  void warning(Place place, std::string message);

  bool has_errors() const { return !errors_.empty(); }
  /// By place; those of one place in the order they were found.
  std::vector<Diagnostic> errors() const;
  std::vector<Diagnostic> warnings() const;

 private:
  std::multimap<Place, Diagnostic> errors_;  // keeps the order of equal places
  std::multimap<Place, Diagnostic> warnings_;
};

/// "FILE:LINE:COLUMN: MESSAGE", or "FILE: MESSAGE" for what has no place.
std::string headline(std::string_view file, const Diagnostic& diagnostic);

/// All of `diagnostics` in the form above. `kind` is "error" or "warning".
std::string render(std::string_view file, std::string_view document, std::string_view kind,
                   const std::vector<Diagnostic>& diagnostics);

/// `text` in quotes for a message: control characters escaped, cut after 60 characters.
std::string in_quotes(std::string_view text);

}  // namespace holdfast::app
