// Conditions: the one vocabulary of retry.on, breaker.failures and fallback.on (contract §2).
//
// A condition is a group of errors ("connect", "reset", "timeout", "open", "overload",
// "rate_limited") or a status that the upstream sent ("500" to "599", "429", "4xx", "5xx").
// Contract: a status that holdfast made never matches a status condition; its error's group does.
#pragma once

#include <bitset>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "holdfast/base/error.h"

namespace holdfast::policy {

class ConditionSet {
 public:
  ConditionSet() = default;

  /// Adds one condition by its name. Returns false, and changes nothing, for an unknown name.
  bool add(std::string_view condition);

  bool matches(ErrorType type) const;
  bool matches_status(int status) const;

  /// True if `group` itself is listed.
  bool has(ErrorGroup group) const { return groups_[static_cast<std::size_t>(group)]; }

  bool operator==(const ConditionSet&) const = default;

 private:
  std::bitset<8> groups_;
  std::bitset<200> statuses_;  // 400 to 599
};

/// The group words, for "did you mean".
inline constexpr std::string_view condition_words[] = {
    "connect", "reset", "timeout", "open", "overload", "rate_limited", "429", "4xx", "5xx"};

}  // namespace holdfast::policy
