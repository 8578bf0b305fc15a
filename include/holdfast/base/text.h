// Small functions on ASCII text. HTTP is octets, so none of them knows a locale.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast {

constexpr char ascii_lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
}
constexpr bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/// Equal but for the case of A to Z.
bool iequals(std::string_view a, std::string_view b);
std::string to_lower(std::string_view text);

/// Without spaces and tabs at both ends (OWS, RFC 9110 §5.6.3).
std::string_view trim(std::string_view text);

/// All of `text` as 1*DIGIT; nullopt for anything else, and on overflow.
std::optional<std::uint64_t> parse_decimal(std::string_view text);

/// Appends `text` as the inside of a JSON string (RFC 8259 §7): quotes, backslashes and control
/// characters escaped, bytes that are not UTF-8 replaced by U+FFFD.
void append_json_escaped(std::string& out, std::string_view text);

/// True if `text` may stand in a JSON string as it is: printable ASCII without quotes and
/// backslashes. What append_json_escaped() is for where this says no.
bool is_plain_json(std::string_view text);

/// Letters to insert, delete, replace or swap with the next one to turn `a` into `b`.
std::size_t edit_distance(std::string_view a, std::string_view b);

/// The known name nearest to `word`, at most a third of its letters away (rounded up), or "".
/// For "did you mean" only.
template <class Names>
std::string_view nearest(std::string_view word, const Names& names) {
  std::string_view best;
  std::size_t best_distance = (word.size() + 2) / 3;
  for (std::string_view candidate : names) {
    const std::size_t distance = edit_distance(word, candidate);
    if (distance <= best_distance && (best.empty() || distance < best_distance)) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace holdfast
