// How a body leaves holdfast, towards the client as towards the upstream: pieces as they come,
// framed.
//
// Contract: pure but for the Stream it writes to. One call is one send(): the head that may stand
// in front, the pieces and their frame go to the kernel together, without a copy unless there are
// very many pieces.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "holdfast/http/message.h"
#include "holdfast/net/stream.h"

namespace holdfast::proxy {

/// How holdfast frames the body it sends.
enum class BodyMode : std::uint8_t { none, length, chunked, until_close };

/// How a request's body goes to the upstream.
BodyMode request_body_mode(const http::Framing& framing);

using Pieces = std::span<const std::string_view>;

/// Trailers as they came, the names of those that may pass, and the fields of their head: what
/// Connection names there does not pass (RFC 9110 §7.6.1).
struct TrailerPass {
  const http::Fields* fields = nullptr;
  std::span<const std::string> allowed;
  const http::Fields* head = nullptr;
};

/// Sends `head` (may be empty) and then `pieces` of a body in that mode; `last` ends the body.
/// Returns the body's bytes sent, without framing: 0 for BodyMode::none, whatever the pieces hold.
/// REQUIRES: !stream.sending().
std::uint64_t write_body(net::Stream& stream, std::string_view head, BodyMode mode, Pieces pieces,
                         bool last, const TrailerPass& trailers);

}  // namespace holdfast::proxy
