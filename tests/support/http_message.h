// Reading HTTP/1.1 in tests: strict, small, and with no line of the product in it.
//
// Contract: a reader throws WireError for anything that is not exactly as RFC 9112 writes it, so
// that a test notices what a lenient client would not. Bodies are handed out as they arrive.
#pragma once

#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/support/socket.h"

namespace holdfast::testing {

/// Fields in their order; names are compared without case.
class Headers {
 public:
  Headers() = default;
  Headers(std::initializer_list<std::pair<std::string, std::string>> fields) : fields_(fields) {}

  void add(std::string name, std::string value) {
    fields_.emplace_back(std::move(name), std::move(value));
  }
  bool has(std::string_view name) const { return count(name) > 0; }
  std::size_t count(std::string_view name) const { return all(name).size(); }
  /// The values, joined by ", "; "" if there is none.
  std::string get(std::string_view name) const;
  std::vector<std::string> all(std::string_view name) const;
  auto begin() const { return fields_.begin(); }
  auto end() const { return fields_.end(); }
  std::size_t size() const { return fields_.size(); }
  /// As lines of a head.
  std::string text() const;

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

struct Request {
  std::string raw_head;
  std::string method;
  std::string target;
  std::string version;
  Headers headers;
  std::string body;
  Headers trailers;
  bool complete = false;       // its body came to its end
  std::size_t connection = 0;  // which connection of the server it came on, from 1
  std::size_t number = 0;      // which request of that connection it is, from 1
};

struct Response {
  std::string raw_head;
  std::string version;
  int status = 0;
  std::string reason;
  Headers headers;
  std::string body;
  Headers trailers;
  std::vector<Response> interim;  // 1xx that came before it
  bool complete = false;
  Fault fault = Fault::none;  // why it is not complete
};

/// Bytes of a socket with what was read too far.
class WireReader {
 public:
  explicit WireReader(Socket& socket) : socket_(socket) {}

  /// How long each read may wait.
  void set_patience(Milliseconds within) { within_ = within; }
  /// True if a byte came, false at the end of the stream.
  bool wait_for_byte();
  /// One line without its CRLF.
  std::string read_line();
  /// At least one and at most `at_most` bytes.
  std::string read_some(std::size_t at_most);
  /// Exactly `count` bytes.
  std::string read_exactly(std::size_t count);
  std::string read_to_end();
  const std::string& unread() const { return buffer_; }
  /// The first bytes that ever came, at most a mebibyte.
  const std::string& received() const { return received_; }

 private:
  bool fill();

  Socket& socket_;
  std::string buffer_;
  std::string received_;
  Milliseconds within_ = patience;
};

using BodySink = std::function<void(std::string_view)>;

Request read_request_head(WireReader& reader);
/// Reads the body into the request; sets `complete`.
void read_request_body(WireReader& reader, Request& request);

/// The head of the final response, with the interim ones in `interim`.
Response read_response_head(WireReader& reader);
/// Hands the body to `sink` piece by piece and sets `complete` at its end; that of a CONNECT has
/// none where it was granted. REQUIRES: no 101.
void read_response_body(WireReader& reader, Response& response, std::string_view request_method,
                        const BodySink& sink);

/// One chunk of a chunked body; an empty one is the last chunk with no trailer.
std::string chunk(std::string_view data);

}  // namespace holdfast::testing
