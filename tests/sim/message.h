// Reading HTTP/1.1 as an upstream or a client of a simulation does: whole messages out of bytes
// that come in any cut. Strict, small, and with no line of the product in it.
//
// Contract: what is not exactly as RFC 9112 writes it, or has a body that lasts until close, is
// malformed, and nothing more is read. Names of fields are compared as holdfast and this folder
// spell them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast::sim {

struct Message {
  std::string head;  // from the first line to the empty one
  std::string body;

  /// Of a request: "POST", "/pay"; of a response: "HTTP/1.1", "200".
  std::string_view word(int index) const;
  int status() const;
  /// "" without one.
  std::string_view field(std::string_view name) const;
  /// The value of that field as a number; 0 without one.
  std::uint64_t number(std::string_view name) const;
};

/// Digits; 0 for anything else.
std::uint64_t number_in(std::string_view text);

class MessageReader {
 public:
  void feed(std::string_view bytes) { text_.append(bytes); }
  /// The next whole message. `bodiless`: it is the answer to a HEAD.
  std::optional<Message> next(bool bodiless = false);
  /// True if there is a head that next() waits to see the rest of.
  bool has_head() const { return text_.find("\r\n\r\n") != std::string::npos; }
  std::string_view rest() const { return text_; }
  bool malformed() const { return malformed_; }

 private:
  /// The end of the body that begins at `from`; npos: it has not come yet.
  std::size_t read_body(Message& message, std::size_t from, bool bodiless);
  std::size_t read_chunks(Message& message, std::size_t from);

  std::string text_;
  bool malformed_ = false;
};

}  // namespace holdfast::sim
