#include "holdfast/app/config_tree.h"

#include <algorithm>
#include <optional>
#include <utility>

#include <toml++/toml.h>

namespace holdfast::app {
namespace {

constexpr std::size_t max_key_parts = 500;

Place place_of(const toml::source_region& source) {
  return {static_cast<std::uint32_t>(source.begin.line),
          static_cast<std::uint32_t>(source.begin.column)};
}

Node convert(const toml::node& source);

Node convert_table(const toml::table& table) {
  Node node;
  for (const auto& [key, value] : table) {
    node.entries.push_back({std::string(key.str()), place_of(key.source()), convert(value)});
  }
  const auto by_key = [](const Entry& a, const Entry& b) { return a.key < b.key; };
  std::sort(node.entries.begin(), node.entries.end(), by_key);
  return node;
}

Node convert_array(const toml::array& array) {
  Node node;
  node.kind = Node::Kind::array;
  for (const toml::node& item : array) node.items.push_back(convert(item));
  return node;
}

Node convert_scalar(const toml::node& source) {
  Node node;
  if (const auto* text = source.as_string()) {
    node.kind = Node::Kind::text;
    node.text = text->get();
  } else if (const auto* integer = source.as_integer()) {
    node.kind = Node::Kind::integer;
    node.integer = integer->get();
  } else if (const auto* number = source.as_floating_point()) {
    node.kind = Node::Kind::number;
    node.number = number->get();
  } else if (const auto* boolean = source.as_boolean()) {
    node.kind = Node::Kind::boolean;
    node.boolean = boolean->get();
  } else {
    node.kind = Node::Kind::date;
  }
  return node;
}

Node convert(const toml::node& source) {
  Node node = source.is_table()   ? convert_table(*source.as_table())
              : source.is_array() ? convert_array(*source.as_array())
                                  : convert_scalar(source);
  node.place = place_of(source.source());
  return node;
}

bool may_stand_in_dotted_key(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-' || c == '.' || c == '"' || c == '\'' || c == ' ' || c == '\t';
}

/// toml++ bounds the nesting of values but not of dotted keys, and takes its trees down
/// recursively: a key of a million parts would overflow the stack.
std::optional<SyntaxError> find_endless_key(std::string_view document) {
  Place place{1, 1};
  std::size_t dots = 0;
  for (const char c : document) {
    if (c == '.' && ++dots > max_key_parts) return SyntaxError{place, "a key of too many parts"};
    if (!may_stand_in_dotted_key(c)) dots = 0;
    if (c == '\n') {
      place = {place.line + 1, 1};
    } else {
      ++place.column;
    }
  }
  return std::nullopt;
}

}  // namespace

const Entry* Node::find(std::string_view key) const {
  const auto before = [](const Entry& entry, std::string_view wanted) {
    return entry.key < wanted;
  };
  const auto found = std::lower_bound(entries.begin(), entries.end(), key, before);
  return found != entries.end() && found->key == key ? &*found : nullptr;
}

Result<Node, SyntaxError> parse_toml(std::string_view document) {
  if (auto error = find_endless_key(document)) return unexpected(*std::move(error));
  try {
    return convert(toml::parse(document));
  } catch (const toml::parse_error& error) {
    return unexpected(SyntaxError{place_of(error.source()), std::string(error.description())});
  }
}

Node merge(const Node& far, const Node& near) {
  if (far.kind != Node::Kind::table || near.kind != Node::Kind::table) return near;
  Node merged = far;
  for (const Entry& entry : near.entries) {
    const auto before = [](const Entry& a, const Entry& b) { return a.key < b.key; };
    const auto at = std::lower_bound(merged.entries.begin(), merged.entries.end(), entry, before);
    if (at != merged.entries.end() && at->key == entry.key) {
      *at = Entry{entry.key, entry.place, merge(at->value, entry.value)};
    } else {
      merged.entries.insert(at, entry);
    }
  }
  return merged;
}

}  // namespace holdfast::app
