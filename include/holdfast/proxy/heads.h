// Heads: the header sections that holdfast sends, towards the upstream and towards the client.
//
// Pure functions from what was read to the bytes that are written; RFC 9110 §7.6 and contract §3
// are the rules: hop-by-hop fields and those that Connection names go, Via comes, X-Forwarded-* and
// X-Request-Id are set, one canonical framing field is written. All other fields pass byte for
// byte, in their order.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "holdfast/base/time.h"
#include "holdfast/http/message.h"
#include "holdfast/proxy/body_writer.h"
#include "holdfast/proxy/config.h"

namespace holdfast::proxy {

/// What one attempt adds to the client's request.
struct RequestEdits {
  std::string_view server_name;
  std::string_view host;                // the Host to send
  std::string_view client_ip;           // of the peer; "" for a unix socket's
  bool peer_trusted = false;            // its X-Forwarded-* are believed and appended to
  bool over_tls = false;                // the client's connection
  std::string_view client_certificate;  // for X-Forwarded-Client-Cert; "": none
  std::string_view request_id;
  std::string_view strip_prefix;
  const RewriteConfig* rewrite = nullptr;  // nullptr: nothing to set or to remove
  std::string_view deadline_header;        // "" for none
  std::optional<Duration> deadline;        // what is left, for that header
  std::string_view upgrade;                // the protocol to ask for; "" for none
  bool close = false;                      // Connection: close
  BodyMode body = BodyMode::none;
  std::uint64_t body_length = 0;
  std::span<const std::string> trailers;  // names that may follow the body
};

void append_upstream_head(std::string& out, const http::RequestHead& request,
                          const RequestEdits& edits);

/// The target as the upstream gets it: a slash, if one must be made up, and the rest.
struct StrippedTarget {
  std::string_view slash;
  std::string_view rest;
};

/// The path without `prefix`, where it starts with it at a segment's end ("/v1" off "/v1/x" and
/// "/v1", not off "/v1x").
StrippedTarget strip_target(std::string_view target, std::string_view prefix);

/// What holdfast adds to a response that it passes on.
struct ResponseEdits {
  std::string_view server_name;
  int attempts = 1;  // more than one is told in Proxy-Status
  std::string_view
      fallback_of;  // the cause when this is a fallback's answer: "error=…" or "received-status=…"
  BodyMode body = BodyMode::none;
  std::uint64_t body_length = 0;
  bool close = false;      // Connection: close
  bool switching = false;  // a 101: Connection: upgrade and Upgrade pass
  WallTime now{};          // for Date where the response has none
  std::span<const std::string> trailers;
  std::string_view idempotency_status;  // "" for none
  std::string_view generated_key;       // the key that holdfast gave the request; "" for none
};

void append_downstream_head(std::string& out, const http::ResponseHead& response,
                            const ResponseEdits& edits);

/// An informational response as it is passed on.
void append_informational_head(std::string& out, const http::ResponseHead& response);

/// An answer of holdfast's own.
struct OwnResponse {
  int status = 500;
  std::string_view content_type;                                 // "" for none
  std::span<const std::pair<std::string, std::string>> headers;  // from the configuration
  std::optional<std::int64_t> retry_after;                       // seconds
  std::string_view proxy_status;             // parameters after the name: "error=…"; "" for none
  std::string_view allow;                    // for 405
  std::string_view idempotency_status = {};  // "" for none
  bool no_store = true;
  std::string_view body;
};

void append_own_head(std::string& out, const OwnResponse& response, std::string_view server_name,
                     bool close, WallTime now);

/// True for X-Forwarded-For, -Proto, -Host and -Client-Cert, which only holdfast may say, in every
/// spelling that an app may take for them: to CGI and its like "_" and "-" are one.
bool is_forwarding_name(std::string_view name);

/// How many times `name` stands in Via as a received-by (RFC 9110 §7.6.3).
int times_in_via(const http::Fields& fields, std::string_view name);

/// A request id that is kept: 1 to 128 visible characters (contract §3).
bool is_request_id(std::string_view value);

/// The trace-id of a valid traceparent (W3C Trace Context §3.2), or "".
std::string_view trace_id_of(std::string_view traceparent);

}  // namespace holdfast::proxy
