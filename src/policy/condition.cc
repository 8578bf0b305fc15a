#include "holdfast/policy/condition.h"

#include "holdfast/base/text.h"

namespace holdfast::policy {
namespace {

constexpr int first_status = 400;
constexpr int last_status = 599;

std::optional<ErrorGroup> group_named(std::string_view word) {
  using enum ErrorGroup;
  for (const ErrorGroup group : {connect, reset, timeout, open, overload, rate_limited}) {
    if (name(group) == word) return group;
  }
  return std::nullopt;
}

struct StatusRange {
  int first;
  int last;
};

std::optional<StatusRange> statuses_named(std::string_view word) {
  if (word == "4xx") return StatusRange{400, 499};
  if (word == "5xx") return StatusRange{500, 599};
  const auto status = word.size() == 3 ? parse_decimal(word) : std::nullopt;
  if (!status || (*status != 429 && (*status < 500 || *status > 599))) return std::nullopt;
  return StatusRange{static_cast<int>(*status), static_cast<int>(*status)};
}

}  // namespace

bool ConditionSet::add(std::string_view condition) {
  if (const auto group = group_named(condition)) {
    groups_.set(static_cast<std::size_t>(*group));
    return true;
  }
  const auto range = statuses_named(condition);
  if (!range) return false;
  for (int status = range->first; status <= range->last; ++status) {
    statuses_.set(static_cast<std::size_t>(status - first_status));
  }
  return true;
}

bool ConditionSet::matches(ErrorType type) const {
  return has(group_of(type));
}

bool ConditionSet::matches_status(int status) const {
  if (status < first_status || status > last_status) return false;
  return statuses_[static_cast<std::size_t>(status - first_status)];
}

}  // namespace holdfast::policy
