#include "tests/sim/message.h"

#include <charconv>

namespace holdfast::sim {
namespace {

constexpr std::size_t not_yet = std::string::npos;

}  // namespace

std::uint64_t number_in(std::string_view text) {
  std::uint64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

std::string_view Message::word(int index) const {
  std::string_view line = std::string_view(head).substr(0, head.find("\r\n"));
  for (; index > 0; --index) line.remove_prefix(std::min(line.size(), line.find(' ') + 1));
  return line.substr(0, line.find(' '));
}

int Message::status() const {
  return static_cast<int>(number_in(word(1)));
}

std::string_view Message::field(std::string_view name) const {
  std::size_t at = head.find("\r\n");
  while (at != std::string::npos && at + 2 < head.size()) {
    const std::string_view line = std::string_view(head).substr(at + 2);
    if (line.starts_with(name) && line.substr(name.size()).starts_with(": ")) {
      const std::string_view value = line.substr(name.size() + 2);
      return value.substr(0, value.find("\r\n"));
    }
    at = head.find("\r\n", at + 2);
  }
  return "";
}

std::uint64_t Message::number(std::string_view name) const {
  return number_in(field(name));
}

std::optional<Message> MessageReader::next(bool bodiless) {
  if (malformed_) return std::nullopt;
  const std::size_t end = text_.find("\r\n\r\n");
  if (end == std::string::npos) return std::nullopt;
  Message message;
  message.head = text_.substr(0, end + 2);
  const std::size_t after = read_body(message, end + 4, bodiless);
  if (malformed_ || after == not_yet) return std::nullopt;
  text_.erase(0, after);
  return message;
}

std::size_t MessageReader::read_body(Message& message, std::size_t from, bool bodiless) {
  const bool response = message.head.starts_with("HTTP/1.1 ");
  const int status = response ? message.status() : 0;
  const bool never_any = response && (status < 200 || status == 204 || status == 304);
  if (bodiless || never_any) return from;
  if (message.field("Transfer-Encoding") == "chunked") return read_chunks(message, from);
  const std::string_view length = message.field("Content-Length");
  if (length.empty()) {
    malformed_ = response;  // until close: holdfast chunks it
    return from;
  }
  const std::size_t size = number_in(length);
  if (text_.size() < from + size) return not_yet;
  message.body = text_.substr(from, size);
  return from + size;
}

std::size_t MessageReader::read_chunks(Message& message, std::size_t from) {
  for (;;) {
    const std::size_t line_end = text_.find("\r\n", from);
    if (line_end == std::string::npos) return not_yet;
    std::size_t size = 0;
    const char* end = text_.data() + line_end;
    const auto parsed = std::from_chars(text_.data() + from, end, size, 16);
    malformed_ = parsed.ec != std::errc() || parsed.ptr != end;
    if (malformed_) return not_yet;
    const std::size_t data = line_end + 2;
    if (text_.size() < data + size + 2) return not_yet;
    malformed_ = text_.compare(data + size, 2, "\r\n") != 0;  // holdfast was asked for no trailers
    if (malformed_) return not_yet;
    message.body.append(text_, data, size);
    from = data + size + 2;
    if (size == 0) return from;
  }
}

}  // namespace holdfast::sim
