#include "holdfast/app/config_values.h"

#include <unistd.h>

#include <algorithm>
#include <span>

#include <fmt/format.h>

#include "holdfast/base/text.h"

namespace holdfast::app {
namespace {

constexpr Duration max_duration = std::chrono::hours(24 * 365 * 100);
constexpr std::uint64_t max_size = std::uint64_t{1} << 53;

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

// The largest first: formatting takes the first that divides.
constexpr Unit duration_units[] = {
    {"h", 3'600'000'000'000}, {"m", 60'000'000'000}, {"s", 1'000'000'000}, {"ms", 1'000'000}};
constexpr Unit size_units[] = {{"GiB", 1u << 30}, {"MiB", 1u << 20}, {"KiB", 1u << 10}, {"B", 1}};

/// One integer and one of `units`, at most `limit` when multiplied out.
std::optional<std::uint64_t> parse_quantity(std::string_view text, std::span<const Unit> units,
                                            std::uint64_t limit) {
  const auto* digits_end = std::find_if_not(text.begin(), text.end(), is_digit);
  const auto digits = static_cast<std::size_t>(digits_end - text.begin());
  const auto number = parse_decimal(text.substr(0, digits));
  if (!number) return std::nullopt;
  const std::string_view name = text.substr(digits);
  for (const Unit& unit : units) {
    if (unit.name != name) continue;
    if (*number > limit / unit.factor) return std::nullopt;
    return *number * unit.factor;
  }
  return std::nullopt;
}

bool is_variable_name(std::string_view name) {
  const auto is_letter = [](char c) {
    const char lower = ascii_lower(c);
    return (lower >= 'a' && lower <= 'z') || c == '_';
  };
  if (name.empty() || !is_letter(name.front())) return false;
  return std::all_of(name.begin(), name.end(), [&](char c) { return is_letter(c) || is_digit(c); });
}

/// Appends what the inside of one ${…} stands for.
Result<void, std::string> append_variable(Expanded& out, std::string_view inside,
                                          const Environment& environment) {
  const std::size_t mark = inside.find(":-");
  const std::string_view name = inside.substr(0, mark);
  if (!is_variable_name(name)) {
    return unexpected(std::string("${…} needs the name of an environment variable"));
  }
  const auto found = environment.find(name);
  const bool has_default = mark != std::string_view::npos;
  if (has_default && (found == environment.end() || found->second.empty())) {
    out.text += inside.substr(mark + 2);
  } else if (found == environment.end()) {
    return unexpected(
        fmt::format("the environment variable {} is not set and has no default", name));
  } else {
    out.text += found->second;
    out.from_environment = true;
  }
  return {};
}

}  // namespace

std::optional<Duration> parse_duration(std::string_view text) {
  const auto quantity =
      parse_quantity(text, duration_units, static_cast<std::uint64_t>(max_duration.count()));
  if (!quantity) return std::nullopt;
  return Duration(static_cast<Duration::rep>(*quantity));
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
  return parse_quantity(text, size_units, max_size);
}

std::optional<std::uint64_t> parse_byte_rate(std::string_view text) {
  if (!text.ends_with("/s")) return std::nullopt;
  const auto bytes = parse_size(text.substr(0, text.size() - 2));
  return bytes && *bytes > 0 ? bytes : std::nullopt;
}

std::optional<Rate> parse_rate(std::string_view text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const auto count = parse_decimal(text.substr(0, slash));
  if (!count || *count == 0 || *count > max_size) return std::nullopt;
  const std::string_view unit = text.substr(slash + 1);
  if (unit == "s") return Rate{*count, std::chrono::seconds(1)};
  if (unit == "m") return Rate{*count, std::chrono::minutes(1)};
  return std::nullopt;
}

std::string format_duration(Duration duration) {
  // "60s" and "90s" read better than "1m" and "90s" side by side: minutes begin at five.
  constexpr Duration first_in_minutes = std::chrono::minutes(5);
  const auto count = static_cast<std::uint64_t>(duration.count());
  for (const Unit& unit : duration_units) {
    if (count == 0 && unit.name != "s") continue;
    if (unit.name == "m" && duration < first_in_minutes) continue;
    if (count % unit.factor == 0) return fmt::format("{}{}", count / unit.factor, unit.name);
  }
  return fmt::format("{}ms", to_milliseconds(duration));
}

std::string format_size(std::uint64_t bytes) {
  for (const Unit& unit : size_units) {
    if (bytes != 0 && bytes % unit.factor == 0) {
      return fmt::format("{}{}", bytes / unit.factor, unit.name);
    }
  }
  return "0B";
}

Environment process_environment() {
  Environment environment;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view text = *variable;
    const std::size_t equals = text.find('=');
    if (equals == std::string_view::npos) continue;
    environment.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return environment;
}

Result<Expanded, std::string> expand(std::string_view text, const Environment& environment) {
  Expanded out;
  while (true) {
    const std::size_t dollar = text.find('$');
    out.text += text.substr(0, dollar);
    if (dollar == std::string_view::npos) return out;
    text.remove_prefix(dollar + 1);
    if (text.starts_with('$')) {
      out.text += '$';
      text.remove_prefix(1);
    } else if (text.starts_with('{')) {
      const std::size_t close = text.find('}');
      if (close == std::string_view::npos) return unexpected(std::string("${ without its }"));
      if (auto done = append_variable(out, text.substr(1, close - 1), environment); !done) {
        return unexpected(std::move(done).error());
      }
      text.remove_prefix(close + 1);
    } else {
      out.text += '$';
    }
  }
}

}  // namespace holdfast::app
