#include "holdfast/app/config_diagnostics.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace holdfast::app {
namespace {

constexpr std::size_t max_quoted = 60;
// A longer source line is shown from shortly before the column on.
constexpr std::size_t max_shown = 200;
constexpr std::size_t shown_before_column = 40;

std::vector<Diagnostic> values_of(const std::multimap<Place, Diagnostic>& diagnostics) {
  std::vector<Diagnostic> values;
  for (const auto& [place, diagnostic] : diagnostics) values.push_back(diagnostic);
  return values;
}

/// Routes that inherit one value find the same wrong with it: that is told once.
void add(std::multimap<Place, Diagnostic>& diagnostics, Diagnostic diagnostic) {
  const auto [begin, end] = diagnostics.equal_range(diagnostic.place);
  const bool told = std::any_of(
      begin, end, [&](const auto& entry) { return entry.second.message == diagnostic.message; });
  if (!told) diagnostics.emplace(diagnostic.place, std::move(diagnostic));
}

std::vector<std::string_view> split_lines(std::string_view document) {
  if (document.starts_with("\xEF\xBB\xBF")) document.remove_prefix(3);
  std::vector<std::string_view> lines;
  while (true) {
    const std::size_t end = document.find('\n');
    std::string_view line = document.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines.push_back(line);
    if (end == std::string_view::npos) return lines;
    document.remove_prefix(end + 1);
  }
}

bool continues_character(char c) {
  return (static_cast<unsigned char>(c) & 0xC0u) == 0x80u;
}

bool is_control(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}

/// The start of each character of `line`, and its end.
std::vector<std::size_t> character_starts(std::string_view line) {
  std::vector<std::size_t> starts;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (!continues_character(line[i])) starts.push_back(i);
  }
  starts.push_back(line.size());
  return starts;
}

/// The line and a caret under `column`. A tab stays a tab in both, so that the caret is under its
/// character whatever the tab's width; other control characters would reach the terminal as
/// commands.
void append_source(std::string& out, std::string_view line, std::uint32_t column) {
  const std::vector<std::size_t> starts = character_starts(line);
  const std::size_t length = starts.size() - 1;
  const std::size_t caret = std::min<std::size_t>(column - 1, length);
  const bool cut = length > max_shown && caret > shown_before_column;
  const std::size_t first = cut ? caret - shown_before_column : 0;
  const std::size_t last = std::min(length, first + max_shown);

  std::string shown(line.substr(starts[first], starts[last] - starts[first]));
  for (char& c : shown) {
    if (is_control(c) && c != '\t') c = '?';
  }
  out += shown;
  out += '\n';
  for (std::size_t i = first; i < caret; ++i) out += line[starts[i]] == '\t' ? '\t' : ' ';
  out += "^\n";
}

std::string position(std::string_view file, Place place) {
  if (place.line == 0) return std::string(file);
  return fmt::format("{}:{}:{}", file, place.line, place.column);
}

}  // namespace

void Diagnostics::error(Place place, std::string message, std::string_view suggestion) {
  add(errors_, {place, std::move(message), std::string(suggestion)});
}

void Diagnostics::warning(Place place, std::string message) {
  add(warnings_, {place, std::move(message), {}});
}

std::vector<Diagnostic> Diagnostics::errors() const {
  return values_of(errors_);
}
std::vector<Diagnostic> Diagnostics::warnings() const {
  return values_of(warnings_);
}

std::string headline(std::string_view file, const Diagnostic& diagnostic) {
  return position(file, diagnostic.place) + ": " + diagnostic.message;
}

std::string render(std::string_view file, std::string_view document, std::string_view kind,
                   const std::vector<Diagnostic>& diagnostics) {
  const std::vector<std::string_view> lines = split_lines(document);
  std::string out;
  for (const Diagnostic& diagnostic : diagnostics) {
    const Place place = diagnostic.place;
    out += fmt::format("{}: {}: {}\n", position(file, place), kind, diagnostic.message);
    if (place.line >= 1 && place.line <= lines.size() && place.column >= 1) {
      append_source(out, lines[place.line - 1], place.column);
    }
    if (!diagnostic.suggestion.empty()) {
      out += fmt::format("did you mean {}?\n", in_quotes(diagnostic.suggestion));
    }
  }
  return out;
}

std::string in_quotes(std::string_view text) {
  std::string out = "\"";
  std::size_t characters = 0;
  for (const char c : text) {
    if (!continues_character(c) && ++characters > max_quoted) {
      out += "…";
      break;
    }
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (is_control(c)) {
      out += fmt::format("\\u{:04X}", static_cast<unsigned>(static_cast<unsigned char>(c)));
    } else {
      out += c;
    }
  }
  return out + "\"";
}

}  // namespace holdfast::app
