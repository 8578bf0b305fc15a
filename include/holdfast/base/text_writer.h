// TextWriter: appends to a string without asking it for room at every piece.
//
// Contract: while it lives, the string is its own: nobody else reads or changes it. Its destructor
// leaves the string with what was there before and what was appended. Room is taken once, for
// `guess` bytes; what goes beyond grows it as a string does. Appending is then a comparison and a
// copy, which is what heads and log lines of a dozen pieces need.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace holdfast {

class TextWriter {
 public:
  TextWriter(std::string& out, std::size_t guess) : out_(out), size_(out.size()) {
    out_.resize(size_ + guess);
  }
  TextWriter(const TextWriter&) = delete;
  TextWriter& operator=(const TextWriter&) = delete;
  ~TextWriter() { out_.resize(size_); }

  TextWriter& append(std::string_view text) {
    std::copy_n(text.data(), text.size(), room(text.size()));
    size_ += text.size();
    return *this;
  }

  void push_back(char c) {
    *room(1) = c;
    ++size_;
  }

  /// In decimal digits.
  void append_number(std::uint64_t number) {
    constexpr std::size_t most_digits = 20;
    char* at = room(most_digits);
    size_ += static_cast<std::size_t>(std::to_chars(at, at + most_digits, number).ptr - at);
  }

 private:
  char* room(std::size_t bytes) {
    if (out_.size() - size_ < bytes) [[unlikely]]
      grow(bytes);
    return out_.data() + size_;
  }

  void grow(std::size_t bytes);

  std::string& out_;
  std::size_t size_;  // of what was written; the rest of the string is room
};

}  // namespace holdfast
