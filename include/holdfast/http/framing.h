// What the fields of a head say about its message: where the body ends, whether the connection
// stays, whom it is for, what it expects (wire.md G5 to G7, G10, G12).
//
// Pure functions over fields whose syntax is known to be right. Where two fields, or two readers of
// one field, could disagree, the message is refused.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "holdfast/base/result.h"
#include "holdfast/http/message.h"
#include "holdfast/http/syntax.h"

namespace holdfast::http {

/// What Content-Length or Transfer-Encoding declare; Kind::none if neither is there.
/// Refused: both; a Transfer-Encoding other than the one word chunked, or in HTTP/1.0; a
/// Content-Length that is a list, is there twice or is no number (content_too_large if it is one
/// beyond max_length).
Result<Framing, Refusal> declared_framing(const Fields& fields, int minor_version);

/// The framing of a response with that declared framing (RFC 9112 §6.3). Beyond the RFC, nothing is
/// read of the content a 205 may not have; a 1xx that declares a body is refused.
Result<Framing, Refusal> response_framing(Framing declared, int status, Method request_method);

/// True if bytes may follow a response that `response_framing` says has no body: whoever sent it
/// may count them as a body, so that the connection is of no more use.
bool leaves_content_unread(Framing declared, int status);

/// The value of the one Host field; "" if an HTTP/1.0 request has none.
Result<std::string_view, Refusal> host_of(const Fields& fields, int minor_version);

/// A Connection field may name fields of this hop and unknown ones, which then are of this hop. To
/// name one that is meant for the far end (Host, Content-Length, Idempotency-Key …) would have it
/// removed.
Result<void, Refusal> check_connection(const Fields& fields);

/// RFC 9112 §9.3, for either side's word: HTTP/1.1 stays unless it says close, HTTP/1.0 stays only
/// if it says keep-alive.
bool wants_persistence(const Fields& fields, int minor_version);

/// True if there is an expectation that cannot be met: anything but 100-continue.
bool has_unknown_expectation(const Fields& fields);

}  // namespace holdfast::http
