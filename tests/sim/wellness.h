// Wellness: which addresses of the upstream are well, as active checks ask: an ill one fails every
// check, in one of the ways in which a check can fail. (One that is well fails those that the
// upstream's mood breaks.)
//
// Contract: everything is drawn from its own chance. calm(): from then on all are well.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "tests/sim/ledger.h"
#include "tests/sim/scenario.h"

namespace holdfast::sim {

class Wellness {
 public:
  Wellness(const test::World& world, const Scenario& scenario, Ledger& ledger);

  /// Others are ill from now on; some may stay so.
  void change();
  void calm();

  /// True for the first bytes of a check.
  static bool is_check(std::string_view request);
  /// How one check is answered: by bytes, by none ("") or by closing.
  struct Answer {
    std::string bytes = {};
    Duration delay{};
    bool closes = false;
  };
  Answer answer(const std::string& address);
  /// Since when every check that came to that address has failed; nullopt: it is well.
  std::optional<TimePoint> ill_since(const std::string& address) const;

 private:
  const test::World& world_;
  const Scenario& scenario_;
  Ledger& ledger_;
  Chance chance_;
  std::map<std::string, TimePoint, std::less<>> ill_;  // by address, as in "10.0.0.1:80"
};

}  // namespace holdfast::sim
