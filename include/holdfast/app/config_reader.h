// Reader: walks one table of the configuration and turns its values into ours.
//
// Each method is asked for one key. A key that is absent leaves the field, and so its default,
// alone; a wrong value is reported with its place and leaves the field alone too. finish() then
// reports every key that nobody asked for, so that the calls themselves are the schema.
//
// Contract: never throws, never stops at the first error. std::nullopt stands for "off".
// Ownership: keeps references to the table and the diagnostics; both outlive it.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "holdfast/app/config_diagnostics.h"
#include "holdfast/app/config_tree.h"
#include "holdfast/app/config_values.h"
#include "holdfast/base/time.h"
#include "holdfast/net/address.h"
#include "holdfast/policy/backoff.h"
#include "holdfast/policy/condition.h"
#include "holdfast/policy/idempotency_options.h"

namespace holdfast::app {

/// What a string may be. `what` completes "must be …".
struct TextRule {
  std::string_view what;
  bool (*accepts)(std::string_view text);
};

/// One word of a choice and what it stands for.
template <class Value>
struct Choice {
  std::string_view name;
  Value value;
};

struct Range {
  std::int64_t min = 0;
  std::int64_t max = std::numeric_limits<std::int64_t>::max();
};

/// Whether a duration or a size may be 0.
enum class Zero : bool { refused, allowed };

/// Who lists conditions: not every one can come to pass everywhere.
enum class ConditionUse : std::uint8_t { retry, breaker, fallback };

class Reader {
 public:
  /// `title` is how messages call the table: "server", "route.retry"; "" for the file's root.
  /// `item` is true for an element of an array of tables.
  Reader(Diagnostics& diagnostics, const Node& table, std::string title, bool item = false);

  // One value each.
  void boolean(std::string_view key, bool& field);
  void duration(std::string_view key, Duration& field, Zero zero = Zero::refused);
  void duration(std::string_view key, std::optional<Duration>& field, Zero zero = Zero::refused);
  void size(std::string_view key, std::uint64_t& field, Zero zero = Zero::refused);
  void size(std::string_view key, std::optional<std::uint64_t>& field);
  void byte_rate(std::string_view key, std::optional<std::uint64_t>& field);
  void rate(std::string_view key, std::optional<Rate>& field);
  void ratio(std::string_view key, double& field);
  /// A number of at least 0, with or without a fraction.
  void number(std::string_view key, double& field);
  void text(std::string_view key, std::string& field, const TextRule& rule);
  void jitter(std::string_view key, policy::BackoffOptions& field);
  template <class Integer>
  void count(std::string_view key, Integer& field, Range range);
  /// An integer, or `word` for none.
  template <class Integer>
  void count(std::string_view key, std::optional<Integer>& field, Range range,
             std::string_view word = "off");
  template <class Value, std::size_t N>
  void choice(std::string_view key, Value& field, const Choice<Value> (&choices)[N]);

  // Arrays of strings.
  void texts(std::string_view key, std::vector<std::string>& field, const TextRule& rule);
  void conditions(std::string_view key, policy::ConditionSet& field, ConditionUse use);
  /// Registered methods, as bits of http::Method.
  void methods(std::string_view key, std::uint32_t& field);
  void ranges(std::string_view key, std::vector<net::Cidr>& field);
  /// Where an idempotency key's scope comes from.
  void scope(std::string_view key, std::vector<policy::ScopeSource>& field);

  // Tables below this one: body(Reader&) is called for each that is there.
  template <class Body>
  void table(std::string_view key, Body body);
  /// [[key]]
  template <class Body>
  void tables(std::string_view key, Body body);
  /// A table that is an item of the array `key`.
  template <class Body>
  void item(std::string_view key, const Node& table, Body body);
  /// [key.NAME]: body(const Entry&, Reader&).
  template <class Body>
  void named_tables(std::string_view key, Body body);

  // For values with rules of their own.
  /// The entry, or nullptr where it is absent or its error has been reported. Counts as asked for.
  const Entry* find(std::string_view key);
  /// As find, but only if it is of `kind`: else reports that it must be `what`.
  const Entry* find(std::string_view key, Node::Kind kind, std::string_view what);
  bool has(std::string_view key) const { return table_.find(key) != nullptr; }
  Place place() const { return table_.place; }
  const Node& node() const { return table_; }
  /// Reports `"key" must be WHAT, not VALUE` at the value.
  void must_be(std::string_view key, std::string_view what, const Node& value,
               std::string_view suggestion = {});
  /// The same for an item of the array `key`.
  void item_must_be(std::string_view key, std::string_view what, const Node& item);
  void error(Place place, std::string message, std::string_view suggestion = {});
  /// Reports a key of the contract whose work is not built yet.
  void refuse(std::string_view key);

  /// Reports the keys that were not asked for.
  void finish();

 private:
  std::optional<std::int64_t> integer(std::string_view key, Range range, std::string_view word);
  std::optional<double> real(std::string_view key, double max, std::string_view what);
  bool is_off(std::string_view key, std::string_view word);
  std::optional<Duration> duration_text(std::string_view key, Zero zero, bool may_be_off);
  std::size_t choose(std::string_view key, std::span<const std::string_view> names);
  std::vector<const Node*> strings(std::string_view key, std::string_view what);
  const Node* find_table(std::string_view key);
  const Node* find_tables(std::string_view key);
  bool is_table(std::string_view key, const Node& node);
  std::string in_title() const;
  std::string child(std::string_view key) const;

  Diagnostics& diagnostics_;
  const Node& table_;
  std::string title_;
  bool item_;
  std::vector<std::string_view> asked_;
};

/// A value as a message shows it: `"text"`, `3`, `an array`; never one from the environment.
std::string describe(const Node& node);

template <class Integer>
void Reader::count(std::string_view key, Integer& field, Range range) {
  if (const auto value = integer(key, range, "")) field = static_cast<Integer>(*value);
}

template <class Integer>
void Reader::count(std::string_view key, std::optional<Integer>& field, Range range,
                   std::string_view word) {
  if (is_off(key, word)) {
    field.reset();
  } else if (const auto value = integer(key, range, word)) {
    field = static_cast<Integer>(*value);
  }
}

template <class Value, std::size_t N>
void Reader::choice(std::string_view key, Value& field, const Choice<Value> (&choices)[N]) {
  std::string_view names[N];
  for (std::size_t i = 0; i < N; ++i) names[i] = choices[i].name;
  const std::size_t chosen = choose(key, names);
  if (chosen < N) field = choices[chosen].value;
}

template <class Body>
void Reader::table(std::string_view key, Body body) {
  const Node* node = find_table(key);
  if (node == nullptr) return;
  Reader reader(diagnostics_, *node, child(key));
  body(reader);
  reader.finish();
}

template <class Body>
void Reader::tables(std::string_view key, Body body) {
  const Node* array = find_tables(key);
  if (array == nullptr) return;
  for (const Node& node : array->items) {
    if (is_table(key, node)) item(key, node, body);
  }
}

template <class Body>
void Reader::item(std::string_view key, const Node& table, Body body) {
  Reader reader(diagnostics_, table, child(key), true);
  body(reader);
  reader.finish();
}

template <class Body>
void Reader::named_tables(std::string_view key, Body body) {
  const Node* outer = find_table(key);
  if (outer == nullptr) return;
  for (const Entry& entry : outer->entries) {
    if (!is_table(entry.key, entry.value)) continue;
    Reader reader(diagnostics_, entry.value, child(key) + "." + entry.key);
    body(entry, reader);
    reader.finish();
  }
}

}  // namespace holdfast::app
