#include "holdfast/app/config_reader.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "holdfast/base/text.h"
#include "holdfast/http/fields.h"
#include "holdfast/http/method.h"

namespace holdfast::app {
namespace {

constexpr std::string_view duration_what = R"(a duration such as "250ms", "3s", "5m" or "24h")";
constexpr std::string_view size_what = R"(a size such as "512B", "64KiB", "1MiB" or "1GiB")";
constexpr std::string_view condition_what =
    R"(a condition ("connect", "reset", "timeout", "5xx", "503"…))";

std::string or_off(std::string_view what) {
  return fmt::format(R"({}, or "off")", what);
}

std::string range_what(Range range, std::string_view word) {
  const bool bounded = range.max < std::numeric_limits<std::int32_t>::max();
  std::string what = bounded ? fmt::format("an integer from {} to {}", range.min, range.max)
                             : fmt::format("an integer of at least {}", range.min);
  if (!word.empty()) what += fmt::format(R"(, or "{}")", word);
  return what;
}

/// Why `condition` cannot come to pass where it is listed; "" where it can.
std::string_view pointless_because(std::string_view condition, ConditionUse use) {
  const bool refused_by_us = condition == "open" || condition == "overload";
  if (condition == "rate_limited" && use == ConditionUse::retry) {
    return "a request over the limit is refused before its first attempt";
  }
  if (use == ConditionUse::breaker && (refused_by_us || condition == "rate_limited")) {
    return "what holdfast itself refuses never counts for the breaker";
  }
  return "";
}

}  // namespace

std::string describe(const Node& node) {
  switch (node.kind) {
    case Node::Kind::text:
      return node.from_environment ? "the value that the environment gives" : in_quotes(node.text);
    case Node::Kind::integer:
      return fmt::format("{}", node.integer);
    case Node::Kind::number:
      return fmt::format("{}", node.number);
    case Node::Kind::boolean:
      return node.boolean ? "true" : "false";
    case Node::Kind::date:
      return "a date or time";
    case Node::Kind::array:
      return "an array";
    case Node::Kind::table:
      return "a table";
    case Node::Kind::broken:
      break;
  }
  return "a broken value";
}

Reader::Reader(Diagnostics& diagnostics, const Node& table, std::string title, bool item)
    : diagnostics_(diagnostics), table_(table), title_(std::move(title)), item_(item) {}

const Entry* Reader::find(std::string_view key) {
  asked_.push_back(key);
  const Entry* entry = table_.find(key);
  return entry != nullptr && entry->value.kind != Node::Kind::broken ? entry : nullptr;
}

const Entry* Reader::find(std::string_view key, Node::Kind kind, std::string_view what) {
  const Entry* entry = find(key);
  if (entry == nullptr || entry->value.kind == kind) return entry;
  must_be(key, what, entry->value);
  return nullptr;
}

void Reader::error(Place place, std::string message, std::string_view suggestion) {
  diagnostics_.error(place, std::move(message), suggestion);
}

void Reader::must_be(std::string_view key, std::string_view what, const Node& value,
                     std::string_view suggestion) {
  if (value.kind == Node::Kind::broken) return;
  error(value.place, fmt::format("{} must be {}, not {}", in_quotes(key), what, describe(value)),
        suggestion);
}

void Reader::item_must_be(std::string_view key, std::string_view what, const Node& item) {
  if (item.kind == Node::Kind::broken) return;
  error(item.place,
        fmt::format("each item of {} must be {}, not {}", in_quotes(key), what, describe(item)));
}

void Reader::refuse(std::string_view key) {
  const Entry* entry = table_.find(key);
  if (entry != nullptr)
    error(entry->place, fmt::format("{} is not in this version", in_quotes(key)));
}

void Reader::finish() {
  for (const Entry& entry : table_.entries) {
    if (std::find(asked_.begin(), asked_.end(), entry.key) != asked_.end()) continue;
    error(entry.place, fmt::format("unknown key {}{}", in_quotes(entry.key), in_title()),
          nearest(entry.key, asked_));
  }
}

// ---- one value ----

void Reader::boolean(std::string_view key, bool& field) {
  const Entry* entry = find(key, Node::Kind::boolean, "true or false");
  if (entry != nullptr) field = entry->value.boolean;
}

bool Reader::is_off(std::string_view key, std::string_view word) {
  const Entry* entry = find(key);
  return entry != nullptr && entry->value.kind == Node::Kind::text && entry->value.text == word;
}

std::optional<Duration> Reader::duration_text(std::string_view key, Zero zero, bool may_be_off) {
  const std::string what = may_be_off ? or_off(duration_what) : std::string(duration_what);
  const Entry* entry = find(key, Node::Kind::text, what);
  if (entry == nullptr) return std::nullopt;
  const auto duration = parse_duration(entry->value.text);
  if (!duration) {
    must_be(key, what, entry->value);
  } else if (*duration == Duration::zero() && zero == Zero::refused) {
    must_be(key, may_be_off ? R"(more than 0 ("off" switches it off))" : "more than 0",
            entry->value);
    return std::nullopt;
  }
  return duration;
}

void Reader::duration(std::string_view key, Duration& field, Zero zero) {
  if (const auto value = duration_text(key, zero, false)) field = *value;
}

void Reader::duration(std::string_view key, std::optional<Duration>& field, Zero zero) {
  if (is_off(key, "off")) {
    field.reset();
  } else if (const auto value = duration_text(key, zero, true)) {
    field = value;
  }
}

void Reader::size(std::string_view key, std::uint64_t& field, Zero zero) {
  const Entry* entry = find(key, Node::Kind::text, size_what);
  if (entry == nullptr) return;
  const auto bytes = parse_size(entry->value.text);
  if (!bytes) {
    must_be(key, size_what, entry->value);
  } else if (*bytes == 0 && zero == Zero::refused) {
    must_be(key, "more than 0", entry->value);
  } else {
    field = *bytes;
  }
}

void Reader::size(std::string_view key, std::optional<std::uint64_t>& field) {
  if (is_off(key, "off")) {
    field.reset();
    return;
  }
  const std::string what = or_off(size_what);
  const Entry* entry = find(key, Node::Kind::text, what);
  if (entry == nullptr) return;
  const auto bytes = parse_size(entry->value.text);
  if (bytes) {
    field = bytes;
  } else {
    must_be(key, what, entry->value);
  }
}

void Reader::byte_rate(std::string_view key, std::optional<std::uint64_t>& field) {
  if (is_off(key, "off")) {
    field.reset();
    return;
  }
  const std::string what = or_off(R"(bytes a second such as "240B/s" or "1KiB/s")");
  const Entry* entry = find(key, Node::Kind::text, what);
  if (entry == nullptr) return;
  const auto rate = parse_byte_rate(entry->value.text);
  if (rate) {
    field = rate;
  } else {
    must_be(key, what, entry->value);
  }
}

void Reader::rate(std::string_view key, std::optional<Rate>& field) {
  if (is_off(key, "off")) {
    field.reset();
    return;
  }
  const std::string what = or_off(R"(a rate such as "100/s" or "6000/m")");
  const Entry* entry = find(key, Node::Kind::text, what);
  if (entry == nullptr) return;
  const auto value = parse_rate(entry->value.text);
  if (value) {
    field = value;
  } else {
    must_be(key, what, entry->value);
  }
}

std::optional<std::int64_t> Reader::integer(std::string_view key, Range range,
                                            std::string_view word) {
  const Entry* entry = find(key);
  if (entry == nullptr) return std::nullopt;
  const Node& value = entry->value;
  if (value.kind == Node::Kind::integer && value.integer >= range.min &&
      value.integer <= range.max) {
    return value.integer;
  }
  must_be(key, range_what(range, word), value);
  return std::nullopt;
}

std::optional<double> Reader::real(std::string_view key, double max, std::string_view what) {
  const Entry* entry = find(key);
  if (entry == nullptr) return std::nullopt;
  const Node& value = entry->value;
  const bool is_number = value.kind == Node::Kind::number || value.kind == Node::Kind::integer;
  const double number =
      value.kind == Node::Kind::integer ? static_cast<double>(value.integer) : value.number;
  // Written so that a NaN fails.
  if (is_number && number >= 0 && number <= max) return number;
  must_be(key, what, value);
  return std::nullopt;
}

void Reader::ratio(std::string_view key, double& field) {
  if (const auto value = real(key, 1, "a number from 0 to 1")) field = *value;
}

void Reader::number(std::string_view key, double& field) {
  constexpr double max = 1e9;
  if (const auto value = real(key, max, "a number from 0 to 1000000000")) field = *value;
}

void Reader::text(std::string_view key, std::string& field, const TextRule& rule) {
  const Entry* entry = find(key, Node::Kind::text, rule.what);
  if (entry == nullptr) return;
  if (rule.accepts(entry->value.text)) {
    field = entry->value.text;
  } else {
    must_be(key, rule.what, entry->value);
  }
}

void Reader::jitter(std::string_view key, policy::BackoffOptions& field) {
  using policy::JitterKind;
  constexpr std::string_view what = R"("full", "equal", "none" or a number from 0 to 1)";
  constexpr std::string_view names[] = {"full", "equal", "none"};
  constexpr JitterKind kinds[] = {JitterKind::full, JitterKind::equal, JitterKind::none};
  const Entry* entry = find(key);
  if (entry == nullptr) return;
  if (entry->value.kind != Node::Kind::text) {
    const auto value = real(key, 1, what);
    if (!value) return;
    field.jitter = JitterKind::ratio;
    field.jitter_ratio = *value;
    return;
  }
  const auto* found = std::find(std::begin(names), std::end(names), entry->value.text);
  if (found == std::end(names)) {
    must_be(key, what, entry->value, nearest(entry->value.text, names));
  } else {
    field.jitter = kinds[found - std::begin(names)];
  }
}

std::size_t Reader::choose(std::string_view key, std::span<const std::string_view> names) {
  std::string what = names.size() > 1 ? "one of " : "";
  for (std::size_t i = 0; i < names.size(); ++i) {
    what += (i == 0 ? "" : ", ") + in_quotes(names[i]);
  }
  const Entry* entry = find(key, Node::Kind::text, what);
  if (entry == nullptr) return names.size();
  const auto found = std::find(names.begin(), names.end(), entry->value.text);
  if (found == names.end()) must_be(key, what, entry->value, nearest(entry->value.text, names));
  return static_cast<std::size_t>(found - names.begin());
}

// ---- arrays of strings ----

std::vector<const Node*> Reader::strings(std::string_view key, std::string_view what) {
  std::vector<const Node*> found;
  const Entry* entry = find(key, Node::Kind::array, "an array of strings");
  if (entry == nullptr) return found;
  for (const Node& item : entry->value.items) {
    if (item.kind == Node::Kind::text) {
      found.push_back(&item);
    } else {
      item_must_be(key, what, item);
    }
  }
  return found;
}

void Reader::texts(std::string_view key, std::vector<std::string>& field, const TextRule& rule) {
  std::vector<std::string> values;
  for (const Node* item : strings(key, rule.what)) {
    if (rule.accepts(item->text)) {
      values.push_back(item->text);
    } else {
      item_must_be(key, rule.what, *item);
    }
  }
  if (has(key)) field = std::move(values);
}

void Reader::conditions(std::string_view key, policy::ConditionSet& field, ConditionUse use) {
  policy::ConditionSet set;
  for (const Node* item : strings(key, condition_what)) {
    const std::string_view pointless = pointless_because(item->text, use);
    if (!pointless.empty()) {
      error(item->place,
            fmt::format("{} makes no sense in {}: {}", describe(*item), in_quotes(key), pointless));
    } else if (!set.add(item->text)) {
      error(item->place, fmt::format("unknown condition {} in {}", describe(*item), in_quotes(key)),
            nearest(item->text, policy::condition_words));
    }
  }
  if (has(key)) field = set;
}

void Reader::methods(std::string_view key, std::uint32_t& field) {
  std::uint32_t bits = 0;
  for (const Node* item : strings(key, "a method")) {
    const http::Method method = http::method_of(item->text);
    if (method != http::Method::other) {
      bits |= http::bit(method);
      continue;
    }
    std::string upper = item->text;
    for (char& c : upper) {
      if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 32);
    }
    error(item->place, fmt::format("unknown method {} in {}", describe(*item), in_quotes(key)),
          nearest(upper, http::method_names));
  }
  if (has(key)) field = bits;
}

void Reader::ranges(std::string_view key, std::vector<net::Cidr>& field) {
  constexpr std::string_view what = R"(an address or a range such as "10.0.0.0/8")";
  std::vector<net::Cidr> values;
  for (const Node* item : strings(key, what)) {
    if (auto range = net::Cidr::parse(item->text)) {
      values.push_back(*std::move(range));
    } else {
      item_must_be(key, what, *item);
    }
  }
  if (has(key)) field = std::move(values);
}

void Reader::scope(std::string_view key, std::vector<policy::ScopeSource>& field) {
  using Kind = policy::ScopeSource::Kind;
  constexpr std::string_view what = R"("authorization", "header:NAME", "client_cert" or "none")";
  constexpr std::string_view header = "header:";
  std::vector<policy::ScopeSource> sources;
  for (const Node* item : strings(key, what)) {
    const std::string_view text = item->text;
    if (text == "authorization") {
      sources.push_back({Kind::authorization, ""});
    } else if (text == "none") {
      sources.push_back({Kind::none, ""});
    } else if (text == "client_cert") {
      sources.push_back({Kind::client_cert, ""});
    } else if (text.starts_with(header) && http::is_token(text.substr(header.size()))) {
      sources.push_back({Kind::header, to_lower(text.substr(header.size()))});
    } else {
      item_must_be(key, what, *item);
    }
  }
  if (has(key)) field = std::move(sources);
}

// ---- tables ----

const Node* Reader::find_table(std::string_view key) {
  const Entry* entry = find(key, Node::Kind::table, "a table");
  return entry != nullptr ? &entry->value : nullptr;
}

const Node* Reader::find_tables(std::string_view key) {
  const Entry* entry =
      find(key, Node::Kind::array, fmt::format("an array of tables ([[{}]])", child(key)));
  return entry != nullptr ? &entry->value : nullptr;
}

bool Reader::is_table(std::string_view key, const Node& node) {
  if (node.kind == Node::Kind::table) return true;
  must_be(key, "a table", node);
  return false;
}

std::string Reader::in_title() const {
  if (title_.empty()) return "";
  return item_ ? fmt::format(" in [[{}]]", title_) : fmt::format(" in [{}]", title_);
}

std::string Reader::child(std::string_view key) const {
  return title_.empty() ? std::string(key) : fmt::format("{}.{}", title_, key);
}

}  // namespace holdfast::app
