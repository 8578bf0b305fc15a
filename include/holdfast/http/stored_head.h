// The fields of an answer as an idempotency record keeps them: lines "Name: value\r\n", in the
// order in which they came, repeated ones included.
//
// What is left out at capture: what belongs to a connection (the hop-by-hop fields, everything that
// Connection names, Proxy-*), what belongs to one delivery (Retry-After, Server-Timing, Alt-Svc,
// RateLimit*, X-RateLimit*, the ids of a trace and of a request), what belongs to one caller
// (Set-Cookie unless asked for, WWW-Authenticate, Authentication-Info), and what the replay says
// itself (Content-Length, Age, Idempotent-Replayed, Idempotency-Status).
//
// Contract: pure. Capture takes fields that a parser has accepted. The way back trusts nothing: the
// text has been in a store. Source: the project's specification of idempotency §2.10.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "holdfast/base/time.h"
#include "holdfast/http/fields.h"

namespace holdfast::http {

enum class StoredCookies : bool { dropped, kept };

/// The fields of a completed record. Date is added if there is none.
std::string stored_head(const Fields& fields, StoredCookies cookies, WallTime now);

/// True for Idempotency-Status and Idempotent-Replayed: what a holdfast says of an execution. Where
/// one behind another has said so, too, the nearer one's word holds.
bool tells_of_execution(std::string_view name);

/// The fields of an answer that several requests get at once and nobody keeps: all but those of the
/// connection, of the framing and of an execution.
std::string shared_head(const Fields& fields);

/// The fields of a tombstone: where the result is (Location), and which it was (ETag).
std::string tombstone_head(const Fields& fields);

/// The way back: views into `text`. nullopt if it is not what the functions above write.
std::optional<Fields> parse_stored_head(std::string_view text);

}  // namespace holdfast::http
