// A machine of the test's own: network and mount namespaces in which this program, its threads and
// the programs it starts see another loopback, another /etc/resolv.conf and another /etc/hosts.
//
// Contract: to be entered once, by a program that has no second thread yet. Everything it makes is
// gone when the program ends.
#pragma once

#include <string>
#include <string_view>

#include "tests/support/child_process.h"

namespace holdfast::testing {

class PrivateMachine {
 public:
  /// Enters it; `why_not()` says what the kernel refused.
  PrivateMachine();

  const std::string& why_not() const { return why_not_; }
  /// What /etc/resolv.conf and /etc/hosts hold from now on.
  void resolv_conf(std::string_view text) const { overwrite("resolv.conf", text); }
  void hosts(std::string_view text) const { overwrite("hosts", text); }

 private:
  bool enter();
  bool bring_loopback_up();
  bool put_over(const std::string& place, std::string_view text);
  /// In place: what is mounted is the file and not its name.
  void overwrite(const std::string& name, std::string_view text) const;

  TemporaryFolder files_;
  std::string why_not_;
};

}  // namespace holdfast::testing
