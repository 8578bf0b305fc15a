// The configuration file as a tree of values that know their place, free of the TOML library.
//
// Contract: parse_toml is the one door to toml++. Places are as an editor counts them: lines and
// characters from 1. A table's entries are sorted by name; an array's items are in the file's
// order. Limits: values nest at most 256 deep, and a dotted key has at most 500 parts. Ownership: a
// Node owns everything below it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "holdfast/base/result.h"

namespace holdfast::app {

struct Place {
  std::uint32_t line = 0;  // 0: no place in the file
  std::uint32_t column = 0;

  auto operator<=>(const Place&) const = default;
};

struct Entry;

struct Node {
  enum class Kind : std::uint8_t {
    text,
    integer,
    number,
    boolean,
    date,  // any of TOML's dates and times: nothing in the schema takes one
    array,
    table,
    broken,  // an error in it has been reported; nothing more is to be said
  };

  Kind kind = Kind::table;
  Place place;
  std::string text;
  std::int64_t integer = 0;
  double number = 0;
  bool boolean = false;
  bool from_environment = false;  // text: part of it is the value of an environment variable
  std::vector<Node> items;
  std::vector<Entry> entries;

  /// The entry of a table, or nullptr.
  const Entry* find(std::string_view key) const;
};

struct Entry {
  std::string key;
  Place place;  // of the key
  Node value;
};

struct SyntaxError {
  Place place;
  std::string message;
};

/// The root table of a TOML document, or its first syntax error.
Result<Node, SyntaxError> parse_toml(std::string_view document);

/// `near` over `far`, key by key, sub-tables too; anything that is not a table is taken whole.
Node merge(const Node& far, const Node& near);

}  // namespace holdfast::app
