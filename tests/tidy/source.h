// Source files as text, and the few questions the rules ask of text. No C++ parser: the rules are
// such that a reader's eye, and so a scan of characters, can check them.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::tidy {

struct Source {
  std::string path;  // from the root of the repository
  std::string text;
  std::string
      code;  // `text`, with what stands in comments and literals blanked: same lines and columns
};

Source make_source(std::string path, std::string text);

/// Every .h and .cc below the folders given, sorted by path. REQUIRES: the folders exist.
std::vector<Source> read_tree(const std::string& root, const std::vector<std::string>& folders);

/// The lines of a text, without their ends.
std::vector<std::string_view> lines_of(std::string_view text);

/// One finding, as a compiler would print it; `position` is a place in the text of `source`.
std::string finding(const Source& source, std::size_t position, std::string_view message);

bool is_word_character(char c);

/// The positions where `word` stands in `code` by itself, not as a part of a longer identifier.
std::vector<std::size_t> find_word(std::string_view code, std::string_view word);

/// The position after the bracket that closes the one at `open`; npos if there is none.
std::size_t after_closing(std::string_view code, std::size_t open);

std::string_view trimmed(std::string_view text);

}  // namespace holdfast::tidy
