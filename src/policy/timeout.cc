#include "holdfast/policy/timeout.h"

#include "holdfast/base/text.h"

namespace holdfast::policy {

std::optional<Duration> parse_deadline(std::string_view value) {
  constexpr auto longest = std::chrono::floor<std::chrono::milliseconds>(Duration::max()).count();
  const auto count = parse_decimal(value);
  if (!count || *count > static_cast<std::uint64_t>(longest)) return std::nullopt;
  return std::chrono::milliseconds(static_cast<std::int64_t>(*count));
}

}  // namespace holdfast::policy
