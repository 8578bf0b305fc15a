// The small languages inside configuration strings: durations, sizes, rates, and ${ENVIRONMENT}.
//
// Contract: pure. The parsers take exactly what docs/configuration.md says and nothing near it: no
// spaces, signs or fractions. The formatters write what the parsers read.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "holdfast/base/result.h"
#include "holdfast/base/time.h"

namespace holdfast::app {

/// "250ms", "3s", "5m", "24h": at most a hundred years.
std::optional<Duration> parse_duration(std::string_view text);
/// "512B", "64KiB", "1MiB", "1GiB": at most 2^53 bytes, so that JSON can tell it.
std::optional<std::uint64_t> parse_size(std::string_view text);
/// "240B/s", "1KiB/s": bytes a second, at least 1.
std::optional<std::uint64_t> parse_byte_rate(std::string_view text);

/// "100/s", "6000/m": at least 1.
struct Rate {
  std::uint64_t count = 0;
  Duration per{};
};
std::optional<Rate> parse_rate(std::string_view text);

std::string format_duration(Duration duration);
std::string format_size(std::uint64_t bytes);

/// The environment as the loader is told it, so that tests can bring their own.
using Environment = std::map<std::string, std::string, std::less<>>;
Environment process_environment();

struct Expanded {
  std::string text;
  bool from_environment = false;  // the value of a variable is part of it
};

/// Replaces ${NAME}, ${NAME:-default} (for a variable that is missing or empty, as in a shell) and
/// $$; any other $ is itself. The error says what is missing or malformed.
Result<Expanded, std::string> expand(std::string_view text, const Environment& environment);

}  // namespace holdfast::app
