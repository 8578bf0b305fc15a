#include "tests/tidy/source.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <utility>

namespace holdfast::tidy {
namespace {

void blank(std::string& code, std::size_t begin, std::size_t end) {
  for (std::size_t i = begin; i < std::min(end, code.size()); ++i) {
    if (code[i] != '\n') code[i] = ' ';
  }
}

/// The position after the literal's closing quote; `open` is that of the opening one.
std::size_t after_literal(std::string_view text, std::size_t open) {
  const char quote = text[open];
  std::size_t i = open + 1;
  while (i < text.size() && text[i] != quote) i += text[i] == '\\' ? 2 : 1;
  return std::min(i + 1, text.size());
}

/// The same for R"name(…)name".
std::size_t after_raw_literal(std::string_view text, std::size_t open) {
  const std::size_t bracket = text.find('(', open);
  if (bracket == std::string_view::npos) return text.size();
  const std::string closing = ")" + std::string(text.substr(open + 1, bracket - open - 1)) + "\"";
  const std::size_t end = text.find(closing, bracket);
  return end == std::string_view::npos ? text.size() : end + closing.size();
}

std::string without_comments_and_literals(const std::string& text) {
  std::string code = text;
  std::size_t i = 0;
  while (i < text.size()) {
    const std::string_view here = std::string_view(text).substr(i);
    const bool in_word = i > 0 && is_word_character(text[i - 1]);
    std::size_t end = i + 1;
    if (here.starts_with("//")) {
      end = std::min(text.find('\n', i), text.size());
      blank(code, i, end);
    } else if (here.starts_with("/*")) {
      end = std::min(text.find("*/", i + 2), text.size() - 2) + 2;
      blank(code, i, end);
    } else if (here.starts_with("R\"") && !in_word) {
      end = after_raw_literal(text, i + 1);
      blank(code, i + 2, end - 1);
      code[i] = ' ';
    } else if (text[i] == '"' || (text[i] == '\'' && !in_word)) {  // 1'000 is no literal
      end = after_literal(text, i);
      blank(code, i + 1, end - 1);
    }
    i = end;
  }
  return code;
}

std::string contents(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path.string());
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

Source make_source(std::string path, std::string text) {
  std::string code = without_comments_and_literals(text);
  return {std::move(path), std::move(text), std::move(code)};
}

std::vector<Source> read_tree(const std::string& root, const std::vector<std::string>& folders) {
  std::vector<Source> sources;
  for (const std::string& folder : folders) {
    const std::filesystem::path start = std::filesystem::path(root) / folder;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(start)) {
      const std::string extension = entry.path().extension().string();
      if (extension != ".h" && extension != ".cc") continue;
      const std::string path = std::filesystem::relative(entry.path(), root).generic_string();
      sources.push_back(make_source(path, contents(entry.path())));
    }
  }
  std::ranges::sort(sources, {}, &Source::path);
  return sources;
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    lines.push_back(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return lines;
}

std::string finding(const Source& source, std::size_t position, std::string_view message) {
  const std::size_t end = std::min(position, source.text.size());
  const auto line =
      std::count(source.text.begin(), source.text.begin() + static_cast<long>(end), '\n');
  return source.path + ":" + std::to_string(line + 1) + ": " + std::string(message);
}

bool is_word_character(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || c == '_';
}

std::vector<std::size_t> find_word(std::string_view code, std::string_view word) {
  std::vector<std::size_t> found;
  for (std::size_t at = code.find(word); at != std::string_view::npos;
       at = code.find(word, at + 1)) {
    const std::size_t end = at + word.size();
    const bool begins = at == 0 || !is_word_character(code[at - 1]);
    const bool ends = end == code.size() || !is_word_character(code[end]);
    if (begins && ends) found.push_back(at);
  }
  return found;
}

std::size_t after_closing(std::string_view code, std::size_t open) {
  int depth = 0;
  for (std::size_t i = open; i < code.size(); ++i) {
    const char c = code[i];
    if (c == '(' || c == '[' || c == '{') ++depth;
    if (c == ')' || c == ']' || c == '}') --depth;
    if (depth == 0) return i + 1;
  }
  return std::string_view::npos;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front()))) {
    text.remove_prefix(1);
  }
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) {
    text.remove_suffix(1);
  }
  return text;
}

}  // namespace holdfast::tidy
