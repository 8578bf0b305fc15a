// What the admin listener says of idempotency records: the texts of /idempotency, in and out.
//
// Contract: pure. A record's body and the values of its fields stay in the store, but for Location
// and ETag, which tell an operator where the result is.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "holdfast/base/digest.h"
#include "holdfast/base/result.h"
#include "holdfast/policy/idempotency.h"
#include "holdfast/proxy/config.h"

namespace holdfast::app {

/// 64 hexadecimal digits, in any case.
std::optional<Digest> parse_record_id(std::string_view text);

/// The body of GET /idempotency/{id} and of a resolution: a JSON object with id, state, age_ms,
/// attempt, lease_left_ms, status, reason, location and etag; null where a state has no such
/// thing.
std::string record_page(const Digest& id, const policy::Verdict& verdict);

/// What a person has found out of an unknown outcome.
struct Resolution {
  Digest id{};
  bool executed = false;
};

/// The body of POST /idempotency/resolve: {"id":"…","outcome":"executed"|"not_executed"}, and
/// nothing else. The error is a sentence for whoever sent it.
Result<Resolution, std::string> parse_resolution(std::string_view body);

/// How long a record that was resolved as executed is kept: which route made it is not known, so it
/// is the longest `ttl` of all, and no less than a day. A key is never forgotten too early.
Duration resolved_ttl(const proxy::Config& config);

}  // namespace holdfast::app
