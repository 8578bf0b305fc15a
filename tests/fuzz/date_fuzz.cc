// Dates and Retry-After: what is read and written again is the same moment; a delay is never
// negative.
#include <string>

#include "holdfast/http/date.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace holdfast;
  using namespace holdfast::fuzz;
  Input input(data, size);
  const WallTime now{std::chrono::hours(24 * 365 * (input.byte() % 80))};
  const std::string_view text = input.rest();
  const auto time = http::parse_http_date(text, now);
  // Beyond what WallTime can hold a date is the end of time, which cannot be written.
  if (time && *time != WallTime::max() && *time != WallTime::min()) {
    const std::string written(http::http_date(*time));
    promise(written.size() == 29, "a date has 29 characters");
    const auto again = http::parse_http_date(written, now);
    promise(again.has_value() && *again == *time, "what was read can be written and read");
  }
  if (const auto delay = http::parse_retry_after(text, now)) {
    promise(*delay >= Duration::zero(), "a delay is not negative");
  }
  return 0;
}
