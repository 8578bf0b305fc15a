// RequestParser and ResponseParser: one strict reading of HTTP/1.1 (RFC 9112; design: wire.md).
//
// Two readers look at every byte: a guard of our own that refuses whatever could be read in two
// ways, and llhttp. The guard scans the raw head (G1 to G8) before llhttp sees it and follows the
// chunk lines (G9) beside it; checks of our own come after it. Where the two disagree, the message
// is refused.
//
// Contract:
// - parse(input) takes bytes in any cut; the verdict never depends on the cut. It stops after a
//   head, after a message, and at the end of input; `consumed` says how far it went. Bytes that
//   were not consumed belong to the next message and must be passed again.
// - Bytes of a head are copied into the parser, which owns them until begin(). Bytes of a body are
//   never copied: body() are views of the input of the last parse().
// - After an error the parser stays in error: nothing more can be read from that connection.
// - Neither waits, logs nor reads a clock. llhttp's callbacks only append.
// Memory: a head buffer of at most max_header_bytes and one for trailers, and eight bytes a field;
// more than 8 KiB of either is given back between messages. Reading a message of usual size
// allocates nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "holdfast/base/error.h"
#include "holdfast/base/result.h"
#include "holdfast/http/message.h"
#include "holdfast/http/problem.h"

namespace holdfast::http {

enum class UnderscorePolicy : std::uint8_t { drop, reject, pass };

/// Bounds of one message. Beyond: the problem named here (requests) or http_protocol_error
/// (responses).
struct ParserLimits {
  std::uint64_t max_target_bytes = 16 * 1024;   // the request line → uri_too_long
  std::uint64_t max_header_bytes = 64 * 1024;   // the head, request line too → headers_too_large
  std::uint64_t max_headers = 128;              // fields of a head, and of a trailer section
  std::optional<std::uint64_t> max_body_bytes;  // → content_too_large
  UnderscorePolicy underscore_headers = UnderscorePolicy::drop;
  bool tunnels = false;  // CONNECT is read; else it is method_not_allowed

  bool operator==(const ParserLimits&) const = default;
};

/// Beyond these a message is refused; nobody needs more, so they are no options.
inline constexpr std::size_t max_method_length = 32;
inline constexpr std::size_t max_leading_empty_lines = 4;
inline constexpr std::size_t max_chunk_size_digits = 16;
inline constexpr std::size_t max_chunk_extension_bytes = 16 * 1024;  // over a whole body
inline constexpr std::size_t max_trailer_bytes = 16 * 1024;
inline constexpr int max_informational_responses = 16;

enum class ParseEvent : std::uint8_t {
  need_more,  // all input was consumed; the message goes on
  head,       // head() is there
  body,       // body() holds pieces of the body
  complete,   // the message has ended; body() may hold its last pieces
};

struct ParseStep {
  ParseEvent event;
  std::size_t consumed;
};

class RequestParser {
 public:
  explicit RequestParser(const ParserLimits& limits);
  ~RequestParser();
  RequestParser(const RequestParser&) = delete;
  RequestParser& operator=(const RequestParser&) = delete;

  Result<ParseStep, RequestError> parse(std::string_view input);

  /// True once a byte of the present message (an empty line before it does not count) was consumed.
  bool started() const;
  /// REQUIRES: ParseEvent::head was reported since begin(), parse() failed, or give_up() was
  /// called. Of a head that is not complete there is only what its request line said, as far as it
  /// was read and can be understood: the method, then the target. An unknown method is
  /// Method::other with no text.
  const RequestHead& head() const;
  /// The body pieces of the last parse(); may be empty.
  std::span<const std::string_view> body() const;
  /// Trailer fields; complete after ParseEvent::complete.
  const Fields& trailers() const;
  /// Gets ready for the next request on the connection. REQUIRES: ParseEvent::complete was
  /// reported.
  void begin();
  /// The head will not be read to its end: head() tells what there is of it.
  void give_up();
  /// Limits of the next request. REQUIRES: !started().
  void set_limits(const ParserLimits& limits);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

class ResponseParser {
 public:
  explicit ResponseParser(const ParserLimits& limits);
  ~ResponseParser();
  ResponseParser(const ResponseParser&) = delete;
  ResponseParser& operator=(const ResponseParser&) = delete;

  /// Gets ready for the response to a request of that method. HEAD has no body; `upgrade` says
  /// whether the request asked for one and the route allows it, else a 101 is an error.
  void begin(Method request_method, bool upgrade);

  /// As RequestParser::parse. An informational response is a head of its own, valid until the next
  /// parse(), which reads on; more than max_informational_responses are an error. After a 101,
  /// `complete` follows at once and the bytes not consumed are the tunnel's. Errors:
  /// http_protocol_error.
  Result<ParseStep, Error> parse(std::string_view input);

  /// The connection has ended. Completes a body that lasts until close (Framing::until_close); else
  /// connection_terminated if no byte of the response came, http_response_incomplete otherwise.
  Result<void, Error> finish();

  /// True once a byte of a response came since begin().
  bool started() const;
  const ResponseHead& head() const;
  std::span<const std::string_view> body() const;
  const Fields& trailers() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

/// Tries a few strings that a llhttp built without strict mode accepts. False: the build is wrong
/// and the program must not start.
bool parser_is_strict();

}  // namespace holdfast::http
