#include "holdfast/app/config_future.h"

#include <fmt/format.h>

#include "holdfast/app/config_schema.h"
#include "holdfast/http/fields.h"

namespace holdfast::app {
namespace {

bool is_header_source(std::string_view text) {
  constexpr std::string_view prefix = "header:";
  return text.starts_with(prefix) && http::is_token(text.substr(prefix.size()));
}
bool is_limit_key(std::string_view text) {
  return text == "route" || text == "client_ip" || is_header_source(text);
}

constexpr TextRule limit_key_rule = {R"("route", "client_ip" or "header:NAME")", is_limit_key};

void check_text(Reader& keys, std::string_view key, const TextRule& rule) {
  std::string value;
  keys.text(key, value, rule);
}

void check_boolean(Reader& keys, std::string_view key) {
  bool value = false;
  keys.boolean(key, value);
}

void check_duration(Reader& keys, std::string_view key, Zero zero = Zero::refused) {
  Duration value{};
  keys.duration(key, value, zero);
}

void check_count(Reader& keys, std::string_view key, Range range) {
  std::int64_t value = 0;
  keys.count(key, value, range);
}

void check_rate_limit(Reader& keys) {
  std::optional<Rate> rate;
  keys.rate("rate", rate);
  check_count(keys, "burst", {0});
  check_text(keys, "key", limit_key_rule);
}

void check_concurrency(Reader& keys) {
  std::optional<std::int64_t> max;
  keys.count("max", max, at_least_one);
  check_count(keys, "queue", {0});
  check_duration(keys, "queue_timeout", Zero::allowed);
  check_boolean(keys, "adaptive");
  check_text(keys, "priority", some_text_rule);
}

}  // namespace

void refuse_policies(Reader& keys) {
  keys.refuse("rate_limit");
  keys.table("rate_limit", check_rate_limit);
  keys.refuse("concurrency");
  keys.table("concurrency", check_concurrency);
}

}  // namespace holdfast::app
