// HTTP dates (RFC 9110 §5.6.7) and Retry-After (§10.2.3).
#pragma once

#include <optional>
#include <string_view>

#include "holdfast/base/time.h"

namespace holdfast::http {

/// IMF-fixdate: "Sun, 06 Nov 1994 08:49:37 GMT" (29 characters). The view lasts until the next call
/// on this thread, which remembers it: most dates are of the same second as the one before.
std::string_view http_date(WallTime time);

/// All three forms: IMF-fixdate, RFC 850, asctime. A two-digit year more than 50 years ahead of
/// `now` is in the past. nullopt for anything else.
std::optional<WallTime> parse_http_date(std::string_view text, WallTime now);

/// Seconds (1*DIGIT) or a date, as a delay from `now`; a past date is no delay. nullopt if it is
/// neither.
std::optional<Duration> parse_retry_after(std::string_view value, WallTime now);

}  // namespace holdfast::http
