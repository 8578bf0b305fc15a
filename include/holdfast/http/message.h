// The heads of messages as the proxy sees them: parsed, checked, unambiguous.
//
// Contract: views point into the parser's own copy of the head and are valid until its begin().
#pragma once

#include <cstdint>
#include <string_view>

#include "holdfast/http/fields.h"
#include "holdfast/http/method.h"

namespace holdfast::http {

/// How the end of a body is found (RFC 9112 §6.3).
struct Framing {
  enum class Kind : std::uint8_t { none, length, chunked, until_close } kind = Kind::none;
  std::uint64_t length = 0;  // for Kind::length

  /// False if it is certain that no byte of a body follows.
  bool has_body() const { return kind != Kind::none && !(kind == Kind::length && length == 0); }
  bool operator==(const Framing&) const = default;
};

struct RequestHead {
  Method method = Method::get;
  std::string_view method_text;
  /// Origin-form ("/path?query") or "*": of an absolute-form, what follows the authority ("/" if
  /// nothing does; "*" for OPTIONS without a path). Of CONNECT, the authority; so is its path.
  std::string_view target;
  std::string_view path;   // target up to '?'
  std::string_view query;  // after '?', "" if there is none
  /// Host as the client means it: the target's authority where it was absolute, else the Host
  /// field.
  /// "" only for HTTP/1.0 without Host.
  std::string_view authority;
  /// The target was absolute-form.
  bool absolute = false;
  int minor_version = 1;  // 1 or 0
  Fields fields;
  Framing framing;
  /// The client's wish after RFC 9112 §9.3: false for HTTP/1.0 and for Connection: close.
  bool keep_alive = true;
  /// Expect: 100-continue in HTTP/1.1 on a request with a body.
  bool expect_continue = false;
  /// Connection: upgrade with an Upgrade field, in HTTP/1.1, on a request without a body.
  bool upgrade = false;
  /// Fields left out because of `underscore_headers = "drop"`.
  std::uint32_t dropped_fields = 0;
};

struct ResponseHead {
  int status = 0;
  std::string_view reason;
  int minor_version = 1;
  Fields fields;
  Framing framing;
  /// True if the connection may carry another exchange after this message.
  bool keep_alive = true;

  bool informational() const { return status >= 100 && status < 200; }
};

}  // namespace holdfast::http
