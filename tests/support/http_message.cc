#include "tests/support/http_message.h"

#include <algorithm>
#include <cctype>
#include <charconv>

namespace holdfast::testing {
namespace {

constexpr std::size_t max_head = 1 << 20;

[[noreturn]] void malformed(const std::string& what) {
  throw WireError(Fault::malformed, what);
}

char lower(char letter) {
  return static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
}

bool same_name(std::string_view left, std::string_view right) {
  return std::equal(left.begin(), left.end(), right.begin(), right.end(),
                    [](char a, char b) { return lower(a) == lower(b); });
}

bool is_token(std::string_view text) {
  constexpr std::string_view marks = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char letter) {
    return std::isalnum(static_cast<unsigned char>(letter)) || marks.find(letter) != marks.npos;
  });
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

template <typename Number>
Number parse_number(std::string_view text, int base) {
  Number value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) {
    malformed("number '" + std::string(text) + "'");
  }
  return value;
}

Headers read_fields(WireReader& reader, std::string& raw) {
  Headers fields;
  for (;;) {
    const std::string line = reader.read_line();
    raw += line + "\r\n";
    if (line.empty()) return fields;
    const auto colon = line.find(':');
    if (colon == line.npos || !is_token(line.substr(0, colon))) malformed("field '" + line + "'");
    fields.add(line.substr(0, colon), std::string(trim(std::string_view(line).substr(colon + 1))));
  }
}

Headers read_chunks(WireReader& reader, const BodySink& sink) {
  for (;;) {
    std::size_t left = parse_number<std::size_t>(reader.read_line(), 16);
    if (left == 0) break;
    while (left > 0) {
      const std::string piece = reader.read_some(left);
      left -= piece.size();
      sink(piece);
    }
    if (!reader.read_line().empty()) malformed("chunk is longer than its size");
  }
  std::string raw;
  return read_fields(reader, raw);
}

void read_length(WireReader& reader, std::size_t left, const BodySink& sink) {
  while (left > 0) {
    const std::string piece = reader.read_some(left);
    left -= piece.size();
    sink(piece);
  }
}

bool is_chunked(const Headers& headers) {
  if (!headers.has("Transfer-Encoding")) return false;
  if (headers.get("Transfer-Encoding") != "chunked") malformed("transfer coding");
  if (headers.has("Content-Length")) malformed("both framings");
  return true;
}

std::size_t content_length(const Headers& headers) {
  if (headers.count("Content-Length") != 1) malformed("several Content-Length");
  return parse_number<std::size_t>(headers.get("Content-Length"), 10);
}

Response read_one_head(WireReader& reader) {
  Response response;
  const std::string line = reader.read_line();
  // "HTTP/1.1 200 OK": the space after the code is there even without a reason (RFC 9112 §4).
  if (line.size() < 13 || !line.starts_with("HTTP/1.") || line[8] != ' ' || line[12] != ' ') {
    malformed("status line '" + line + "'");
  }
  response.version = line.substr(0, 8);
  response.status = parse_number<int>(std::string_view(line).substr(9, 3), 10);
  response.reason = line.substr(13);
  response.raw_head = line + "\r\n";
  response.headers = read_fields(reader, response.raw_head);
  return response;
}

}  // namespace

std::vector<std::string> Headers::all(std::string_view name) const {
  std::vector<std::string> values;
  for (const auto& [key, value] : fields_) {
    if (same_name(key, name)) values.push_back(value);
  }
  return values;
}

std::string Headers::get(std::string_view name) const {
  std::string joined;
  for (const std::string& value : all(name)) {
    if (!joined.empty()) joined += ", ";
    joined += value;
  }
  return joined;
}

std::string Headers::text() const {
  std::string lines;
  for (const auto& [key, value] : fields_) lines += key + ": " + value + "\r\n";
  return lines;
}

bool WireReader::fill() {
  const std::string more = socket_.receive(64 * 1024, within_);
  buffer_ += more;
  if (received_.size() < max_head) received_ += more;
  return !more.empty();
}

bool WireReader::wait_for_byte() {
  return !buffer_.empty() || fill();
}

std::string WireReader::read_line() {
  std::size_t searched = 0;
  for (;;) {
    const auto end = buffer_.find('\n', searched);
    if (end != buffer_.npos) {
      if (end == 0 || buffer_[end - 1] != '\r') malformed("a line that ends with a bare LF");
      const std::string line = buffer_.substr(0, end - 1);
      if (line.find('\r') != line.npos) malformed("a bare CR in a line");
      buffer_.erase(0, end + 1);
      return line;
    }
    searched = buffer_.size();
    if (searched > max_head) malformed("endless line");
    if (!fill()) throw WireError(Fault::end, "in a line after '" + buffer_ + "'");
  }
}

std::string WireReader::read_some(std::size_t at_most) {
  if (!wait_for_byte()) throw WireError(Fault::end, "in a body");
  const std::string bytes = buffer_.substr(0, at_most);
  buffer_.erase(0, bytes.size());
  return bytes;
}

std::string WireReader::read_exactly(std::size_t count) {
  std::string bytes;
  read_length(*this, count, [&](std::string_view piece) { bytes += piece; });
  return bytes;
}

std::string WireReader::read_to_end() {
  while (fill()) {
  }
  return std::exchange(buffer_, {});
}

Request read_request_head(WireReader& reader) {
  Request request;
  const std::string line = reader.read_line();
  const auto first = line.find(' ');
  const auto second = line.find(' ', first + 1);
  if (first == line.npos || second == line.npos || line.find(' ', second + 1) != line.npos) {
    malformed("request line '" + line + "'");
  }
  request.method = line.substr(0, first);
  request.target = line.substr(first + 1, second - first - 1);
  request.version = line.substr(second + 1);
  if (request.version != "HTTP/1.1") malformed("version '" + request.version + "'");
  request.raw_head = line + "\r\n";
  request.headers = read_fields(reader, request.raw_head);
  return request;
}

void read_request_body(WireReader& reader, Request& request) {
  const BodySink append = [&](std::string_view piece) { request.body += piece; };
  if (is_chunked(request.headers)) {
    request.trailers = read_chunks(reader, append);
  } else if (request.headers.has("Content-Length")) {
    read_length(reader, content_length(request.headers), append);
  }
  request.complete = true;
}

Response read_response_head(WireReader& reader) {
  std::vector<Response> interim;
  Response response = read_one_head(reader);
  while (response.status < 200 && response.status != 101) {
    interim.push_back(std::move(response));
    response = read_one_head(reader);
  }
  response.interim = std::move(interim);
  return response;
}

void read_response_body(WireReader& reader, Response& response, std::string_view request_method,
                        const BodySink& sink) {
  const bool chunked = is_chunked(response.headers);
  if (request_method == "CONNECT" && response.status / 100 == 2) {  // what follows is the tunnel
    if (chunked || response.headers.has("Content-Length")) malformed("a length of a tunnel");
  } else if (request_method == "HEAD" || response.status == 204 || response.status == 304) {
    if (chunked && response.status == 204) malformed("Transfer-Encoding in a 204");
  } else if (chunked) {
    response.trailers = read_chunks(reader, sink);
  } else if (response.headers.has("Content-Length")) {
    read_length(reader, content_length(response.headers), sink);
  } else {
    while (reader.wait_for_byte()) sink(reader.read_some(64 * 1024));
  }
  response.complete = true;
}

std::string chunk(std::string_view data) {
  char digits[16];
  const auto [end, error] = std::to_chars(digits, digits + sizeof digits, data.size(), 16);
  return std::string(digits, end) + "\r\n" + std::string(data) + "\r\n";
}

}  // namespace holdfast::testing
