#include "holdfast/http/date.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>

#include "holdfast/base/text.h"

namespace holdfast::http {
namespace {

using std::chrono::days;
using std::chrono::floor;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using std::chrono::sys_days;
using std::chrono::year_month_day;

constexpr std::string_view weekdays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
constexpr std::string_view long_weekdays[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                              "Thursday", "Friday", "Saturday"};
constexpr std::string_view months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

// WallTime counts nanoseconds in 64 bits, so it holds the years 1678 to 2261 whole.
constexpr int first_year = 1678;
constexpr int last_year = 2261;

/// Reads a date from left to right; after the first mismatch everything fails.
class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}

  void literal(std::string_view expected) {
    ok_ = ok_ && rest_.starts_with(expected);
    if (ok_) rest_.remove_prefix(expected.size());
  }

  int number(std::size_t width) {
    ok_ = ok_ && rest_.size() >= width && parse_decimal(rest_.substr(0, width)).has_value();
    if (!ok_) return 0;
    const auto value = static_cast<int>(*parse_decimal(rest_.substr(0, width)));
    rest_.remove_prefix(width);
    return value;
  }

  /// Two characters, the first of which may be a space: asctime's day of the month.
  int padded_number() {
    if (!rest_.starts_with(' ')) return number(2);
    literal(" ");
    return number(1);
  }

  template <class Names>
  unsigned one_of(const Names& names) {
    for (unsigned i = 0; ok_ && i < std::size(names); ++i) {
      if (!rest_.starts_with(names[i])) continue;
      rest_.remove_prefix(names[i].size());
      return i;
    }
    ok_ = false;
    return 0;
  }

  bool finished() const { return ok_ && rest_.empty(); }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

struct DateTime {
  int year = 0;
  unsigned month = 0;  // 1 to 12
  int day = 0;
  int hour = 0;
  int minute = 0;
  int second = 0;  // 60 is a leap second
};

void read_time(Reader& reader, DateTime& date) {
  date.hour = reader.number(2);
  reader.literal(":");
  date.minute = reader.number(2);
  reader.literal(":");
  date.second = reader.number(2);
}

std::optional<DateTime> read_imf_fixdate(std::string_view text) {
  Reader reader(text);
  DateTime date;
  reader.one_of(weekdays);
  reader.literal(", ");
  date.day = reader.number(2);
  reader.literal(" ");
  date.month = reader.one_of(months) + 1;
  reader.literal(" ");
  date.year = reader.number(4);
  reader.literal(" ");
  read_time(reader, date);
  reader.literal(" GMT");
  return reader.finished() ? std::optional(date) : std::nullopt;
}

int year_of(WallTime time) {
  return static_cast<int>(year_month_day(floor<days>(time)).year());
}

std::optional<DateTime> read_rfc850_date(std::string_view text, WallTime now) {
  Reader reader(text);
  DateTime date;
  reader.one_of(long_weekdays);
  reader.literal(", ");
  date.day = reader.number(2);
  reader.literal("-");
  date.month = reader.one_of(months) + 1;
  reader.literal("-");
  const int this_year = year_of(now);
  date.year = this_year - this_year % 100 + reader.number(2);
  if (date.year > this_year + 50) date.year -= 100;
  reader.literal(" ");
  read_time(reader, date);
  reader.literal(" GMT");
  return reader.finished() ? std::optional(date) : std::nullopt;
}

std::optional<DateTime> read_asctime_date(std::string_view text) {
  Reader reader(text);
  DateTime date;
  reader.one_of(weekdays);
  reader.literal(" ");
  date.month = reader.one_of(months) + 1;
  reader.literal(" ");
  date.day = reader.padded_number();
  reader.literal(" ");
  read_time(reader, date);
  reader.literal(" ");
  date.year = reader.number(4);
  return reader.finished() ? std::optional(date) : std::nullopt;
}

std::optional<WallTime> to_wall_time(const DateTime& date) {
  const year_month_day day(std::chrono::year(date.year), std::chrono::month(date.month),
                           std::chrono::day(static_cast<unsigned>(date.day)));
  if (!day.ok() || date.hour > 23 || date.minute > 59 || date.second > 60) return std::nullopt;
  if (date.year > last_year) return WallTime::max();
  if (date.year < first_year) return WallTime::min();
  return WallTime(sys_days(day)) + hours(date.hour) + minutes(date.minute) + seconds(date.second);
}

using Second = std::chrono::sys_seconds;

struct WrittenDate {
  Second second = Second::min();
  std::array<char, 29> text{};
};

WrittenDate written(Second second) {
  const auto day = floor<days>(second);
  const year_month_day date(day);
  const std::chrono::hh_mm_ss clock(second - day);
  WrittenDate written{second, {}};
  char* at = written.text.data();
  const auto put = [&at](std::string_view text) { at = std::copy(text.begin(), text.end(), at); };
  const auto put_number = [&at](auto value, int width) {
    auto rest = static_cast<unsigned>(value);
    for (int i = width; i-- > 0; rest /= 10) at[i] = static_cast<char>('0' + rest % 10);
    at += width;
  };
  put(weekdays[std::chrono::weekday(day).c_encoding()]);
  put(", ");
  put_number(static_cast<unsigned>(date.day()), 2);
  put(" ");
  put(months[static_cast<unsigned>(date.month()) - 1]);
  put(" ");
  put_number(static_cast<int>(date.year()), 4);
  put(" ");
  put_number(clock.hours().count(), 2);
  put(":");
  put_number(clock.minutes().count(), 2);
  put(":");
  put_number(clock.seconds().count(), 2);
  put(" GMT");
  return written;
}

}  // namespace

std::string_view http_date(WallTime time) {
  thread_local WrittenDate last;
  const auto second = floor<seconds>(time);
  if (second != last.second) last = written(second);
  return {last.text.data(), last.text.size()};
}

std::optional<WallTime> parse_http_date(std::string_view text, WallTime now) {
  std::optional<DateTime> date = read_imf_fixdate(text);
  if (!date) date = read_rfc850_date(text, now);
  if (!date) date = read_asctime_date(text);
  return date ? to_wall_time(*date) : std::nullopt;
}

std::optional<Duration> parse_retry_after(std::string_view value, WallTime now) {
  if (!value.empty() && std::all_of(value.begin(), value.end(), is_digit)) {
    constexpr auto most = static_cast<std::uint64_t>(floor<seconds>(Duration::max()).count());
    const std::uint64_t delay = parse_decimal(value).value_or(most);
    return seconds(std::min(delay, most));
  }
  const std::optional<WallTime> date = parse_http_date(value, now);
  if (!date) return std::nullopt;
  return *date <= now ? Duration::zero() : *date - now;
}

}  // namespace holdfast::http
