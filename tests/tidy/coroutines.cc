#include <algorithm>
#include <cctype>
#include <string_view>

#include "tests/tidy/rules.h"

namespace holdfast::tidy {
namespace {

/// Where a keyword of coroutines stands.
std::vector<std::size_t> coroutine_keywords(std::string_view code) {
  std::vector<std::size_t> found = find_word(code, "co_await");
  for (const std::string_view word : {"co_return", "co_yield"}) {
    const auto more = find_word(code, word);
    found.insert(found.end(), more.begin(), more.end());
  }
  std::ranges::sort(found);
  return found;
}

bool is_digit(char c) {
  return std::isdigit(static_cast<unsigned char>(c)) != 0;
}

/// Takes `word` off the beginning of `text`, with the spaces after it.
bool take_word(std::string_view& text, std::string_view word) {
  if (!text.starts_with(word)) return false;
  if (text.size() > word.size() && is_word_character(text[word.size()])) return false;
  text = trimmed(text.substr(word.size()));
  return true;
}

/// name, a.b, a->b, a::b; with accessors on the way: a.b().c
bool is_name(std::string_view text) {
  bool word_wanted = true;
  std::size_t i = 0;
  while (i < text.size()) {
    if (word_wanted) {
      if (!is_word_character(text[i]) || is_digit(text[i])) return false;
      while (i < text.size() && is_word_character(text[i])) ++i;
      if (text.substr(i, 2) == "()") i += 2;
    } else if (text[i] == '.') {
      ++i;
    } else if (text.substr(i, 2) == "->" || text.substr(i, 2) == "::") {
      i += 2;
    } else {
      return false;
    }
    word_wanted = !word_wanted;
  }
  return !word_wanted;
}

bool is_constant(std::string_view text) {
  if (text.starts_with('"') || text.starts_with('\'')) {
    return text.find(text.front(), 1) == text.size() - 1;
  }
  if (text.empty() || !is_digit(text.front())) return false;
  return std::ranges::all_of(text,
                             [](char c) { return is_word_character(c) || c == '.' || c == '\''; });
}

/// A name, a constant, or a sum of them: nothing that makes an object.
bool is_plain_argument(std::string_view text) {
  if (const std::size_t sign = text.find_first_of("+-", 1);
      sign != std::string_view::npos && text[sign - 1] == ' ') {
    return is_plain_argument(trimmed(text.substr(0, sign))) &&
           is_plain_argument(trimmed(text.substr(sign + 1)));
  }
  if (text.starts_with('*') || text.starts_with('&') || text.starts_with('-')) {
    text.remove_prefix(1);
  }
  return is_name(text) || is_constant(text);
}

bool are_plain_arguments(std::string_view text) {
  if (trimmed(text).empty()) return true;
  for (;;) {
    const std::size_t comma = text.find(',');
    if (!is_plain_argument(trimmed(text.substr(0, comma)))) return false;
    if (comma == std::string_view::npos) return true;
    text.remove_prefix(comma + 1);
  }
}

/// `name` or `f(names)`.
bool is_plain_operand(std::string_view text) {
  if (is_name(text)) return true;
  std::size_t open = text.find('(');
  while (open != std::string_view::npos && after_closing(text, open) != text.size()) {
    open = text.find('(', open + 1);  // that was an accessor's: a.b().f(names)
  }
  if (open == std::string_view::npos) return false;
  const std::string_view arguments = text.substr(open + 1, text.size() - open - 2);
  return is_name(trimmed(text.substr(0, open))) && are_plain_arguments(arguments);
}

/// `T x =`: a type and a name, nothing that is evaluated. Not `x =`: an assignment is no
/// declaration.
bool is_declaration(std::string_view text) {
  if (!text.ends_with('=')) return false;
  text = trimmed(text.substr(0, text.size() - 1));
  const bool plain = std::ranges::all_of(text, [](char c) {
    return is_word_character(c) || std::string_view(":<>,&* \n").find(c) != std::string_view::npos;
  });
  const std::size_t name = text.find_last_of(" &*>\n");
  return plain && name != std::string_view::npos && is_name(trimmed(text.substr(name + 1)));
}

/// What may stand before `co_await` in its statement.
bool is_plain_beginning(std::string_view text) {
  take_word(text, "else");
  if (take_word(text, "if") || take_word(text, "while")) {
    const std::size_t end = text.starts_with('(') ? after_closing(text, 0) : std::string_view::npos;
    if (end == std::string_view::npos) return false;  // the co_await is within the condition
    text = trimmed(text.substr(end));
  }
  take_word(text, "co_return");
  return text.empty() || is_declaration(text);
}

/// Where the statement around `position` begins: after the last `;`, brace, or label.
std::size_t statement_begin(std::string_view code, std::size_t position) {
  for (std::size_t i = position; i > 0; --i) {
    const char c = code[i - 1];
    if (c == ';' || c == '{' || c == '}') return i;
    const bool single_colon = c == ':' && code[i] != ':' && (i < 2 || code[i - 2] != ':');
    const std::string_view label = trimmed(code.substr(0, i - 1));
    if (single_colon && code.substr(0, position).find('?', i > 80 ? i - 80 : 0) >= position &&
        !label.empty() && is_word_character(label.back())) {
      return i;
    }
  }
  return 0;
}

bool is_lambda_begin(std::string_view code, std::size_t bracket) {
  if (code.substr(bracket, 2) == "[[" || (bracket > 0 && code[bracket - 1] == '[')) return false;
  const std::string_view before = trimmed(code.substr(0, bracket));
  if (before.empty()) return true;
  if (before.ends_with("return")) return true;
  const char last = before.back();
  return !is_word_character(last) && last != ')' && last != ']' && last != '>';
}

/// The body of the lambda that begins at `bracket`; empty if it is none.
std::string_view lambda_body(std::string_view code, std::size_t bracket) {
  const std::size_t after_captures = after_closing(code, bracket);
  if (after_captures == std::string_view::npos) return {};
  const std::size_t open = code.find_first_of("({", after_captures);
  if (open == std::string_view::npos) return {};
  std::size_t brace = open;
  if (code[open] == '(') {
    const std::size_t after_parameters = after_closing(code, open);
    if (after_parameters == std::string_view::npos) return {};
    brace = code.find_first_of("{;,)", after_parameters);
  }
  if (brace == std::string_view::npos || code[brace] != '{') return {};
  const std::size_t end = after_closing(code, brace);
  return end == std::string_view::npos ? code.substr(brace) : code.substr(brace, end - brace);
}

}  // namespace

Findings check_co_await(const Source& source) {
  Findings findings;
  const std::string_view code = source.code;
  for (const std::size_t at : find_word(code, "co_await")) {
    const std::string_view before = trimmed(code.substr(0, at));
    if (before.ends_with("operator")) continue;  // Task's own
    const std::size_t begin = statement_begin(code, at);
    const std::size_t operand = at + std::string_view("co_await").size();
    const std::size_t end = code.find(';', operand);
    if (!is_plain_beginning(trimmed(code.substr(begin, at - begin))) ||
        !is_plain_operand(trimmed(code.substr(operand, end - operand)))) {
      findings.push_back(finding(source, at,
                                 "forms of co_await: `co_await name;`, `co_await f(names);`, "
                                 "`T x = co_await f(names);`, `co_return co_await f(names);`"));
    }
  }
  return findings;
}

Findings check_lambda_coroutines(const Source& source) {
  Findings findings;
  const std::string_view code = source.code;
  for (std::size_t at = code.find('['); at != std::string_view::npos; at = code.find('[', at + 1)) {
    if (is_lambda_begin(code, at) && !coroutine_keywords(lambda_body(code, at)).empty()) {
      findings.push_back(finding(source, at, "a lambda may not be a coroutine"));
    }
  }
  return findings;
}

}  // namespace holdfast::tidy
