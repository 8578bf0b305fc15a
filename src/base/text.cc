#include "holdfast/base/text.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <vector>

namespace holdfast {
namespace {

/// Eight bytes at once, A to Z of them in lower case. A byte is upper case if it is below 0x80 and
/// adding what is missing from 'A' to 0x80 carries into its top bit while 'Z' + 1 does not.
std::uint64_t lower_word(const char* eight) {
  constexpr std::uint64_t ones = 0x0101010101010101;
  std::uint64_t word;
  std::memcpy(&word, eight, sizeof word);
  const std::uint64_t low_bits = word & (ones * 0x7f);
  const std::uint64_t from_a = low_bits + ones * (0x80 - 'A');
  const std::uint64_t beyond_z = low_bits + ones * (0x80 - 'Z' - 1);
  const std::uint64_t is_upper = from_a & ~beyond_z & ~word & (ones * 0x80);
  return word | (is_upper >> 2);  // 0x80 >> 2 is what lies between the cases
}

/// True if none of eight bytes needs an escape in JSON: control bytes, quotes, backslashes, and
/// what is not ASCII. The usual tests of a whole word for a byte below 0x20 and for a zero byte.
bool is_plain_word(std::uint64_t word) {
  constexpr std::uint64_t ones = 0x0101010101010101;
  const auto zeros = [](std::uint64_t bytes) { return (bytes - ones) & ~bytes; };
  const std::uint64_t controls = (word - ones * 0x20) & ~word;
  const std::uint64_t deletes = zeros(word ^ (ones * 0x7f));
  const std::uint64_t quotes = zeros(word ^ (ones * '"'));
  const std::uint64_t backslashes = zeros(word ^ (ones * '\\'));
  return ((controls | deletes | quotes | backslashes | word) & (ones * 0x80)) == 0;
}

bool is_continuation(unsigned char byte) {
  return (byte & 0xc0) == 0x80;
}

// The length of the UTF-8 sequence at the start of `text`, which has a first byte of 0x80 or more;
// 0 if there is none. Overlong forms, surrogates and what lies past U+10FFFF are none
// (RFC 3629 §4).
std::size_t utf8_length(std::string_view text) {
  const auto byte = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if (!is_continuation(byte(i))) return 0;
  }
  const unsigned char second = byte(1);
  const bool overlong = (lead == 0xe0 && second < 0xa0) || (lead == 0xf0 && second < 0x90);
  const bool surrogate = lead == 0xed && second > 0x9f;
  const bool too_large = lead == 0xf4 && second > 0x8f;
  return overlong || surrogate || too_large ? 0 : length;
}

void append_ascii_escaped(std::string& out, char c) {
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      break;
  }
  if (c >= ' ' && c != '\x7f') {
    out += c;
    return;
  }
  constexpr char hex_digits[] = "0123456789abcdef";
  out += "\\u00";
  out += hex_digits[c >> 4];
  out += hex_digits[c & 0xf];
}

}  // namespace

bool iequals(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  std::size_t at = 0;
  for (; a.size() - at >= sizeof(std::uint64_t); at += sizeof(std::uint64_t)) {
    if (lower_word(a.data() + at) != lower_word(b.data() + at)) return false;
  }
  for (; at < a.size(); ++at) {
    if (ascii_lower(a[at]) != ascii_lower(b[at])) return false;
  }
  return true;
}

std::string to_lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = ascii_lower(c);
  return lower;
}

std::string_view trim(std::string_view text) {
  const auto is_blank = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

std::optional<std::uint64_t> parse_decimal(std::string_view text) {
  std::uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, value);
  if (parsed.ec != std::errc() || parsed.ptr != end) return std::nullopt;
  return value;
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  // Three rows of the usual table: distances of all prefixes of `b` to the prefix of `a` that is
  // two letters shorter, one letter shorter, and the one at hand.
  std::vector<std::size_t> before_last(b.size() + 1);
  std::vector<std::size_t> last(b.size() + 1);
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;

  for (std::size_t i = 1; i <= a.size(); ++i) {
    before_last.swap(last);
    last.swap(row);
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, replaced});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
  }
  return row[b.size()];
}

bool is_plain_json(std::string_view text) {
  std::uint64_t word = 0;
  for (; text.size() >= sizeof word; text.remove_prefix(sizeof word)) {
    std::memcpy(&word, text.data(), sizeof word);
    if (!is_plain_word(word)) return false;
  }
  constexpr std::uint64_t spaces = 0x2020202020202020;
  word = spaces;
  std::copy_n(text.data(), text.size(), reinterpret_cast<char*>(&word));
  return is_plain_word(word);
}

void append_json_escaped(std::string& out, std::string_view text) {
  while (!text.empty()) {
    const bool ascii = static_cast<unsigned char>(text.front()) < 0x80;
    const std::size_t length = ascii ? 1 : utf8_length(text);
    if (ascii) {
      append_ascii_escaped(out, text.front());
    } else if (length > 0) {
      out += text.substr(0, length);
    } else {
      out += "\\ufffd";
    }
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
}

}  // namespace holdfast
