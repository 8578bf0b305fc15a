// WireBench: one holdfast and one upstream, on which cases of the table are run one after the
// other.
//
// Contract: run() plays one case in one way and says what was not as it should be, a line each. It
// also holds every case to what is true of all of them: an upstream never reads a request that is
// not holdfast's own making or that hides in another's body, nothing is answered after an error, a
// connection that was told to close closes, one that saw an irregularity is not used again, and the
// next client is served. log_findings() compares the access log with what the upstream saw; call it
// last. A bench belongs to one thread at a time. HOLDFAST_WIRE_TLS in the environment says
// who speaks TLS with holdfast: "upstream" or "client"; without it nobody does.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/support/holdfast_process.h"
#include "tests/support/scripted_upstream.h"
#include "tests/support/tls_front.h"
#include "tests/support/tls_relay.h"
#include "tests/wire/wire_case.h"

namespace holdfast::testing {

using Findings = std::vector<std::string>;

bool clients_speak_tls();

class WireBench {
 public:
  /// A patient bench gives clients the usual time; an impatient one a second, for the cases that
  /// wait for a time limit.
  enum class Pace { patient, impatient };

  explicit WireBench(Pace pace);

  Findings run(const WireCase& one, Cutting cutting);
  Findings log_findings();
  Holdfast& holdfast() { return holdfast_; }
  /// Where clients connect to.
  const std::string& address() const { return relay_ ? relay_->address() : holdfast_.address(); }
  /// Where whoever only asks whether it still serves does: without TLS.
  const std::string& plain_address() const { return relay_ ? plain_address_ : address(); }
  ScriptedUpstream& upstream() { return upstream_; }
  std::string port() const;

 private:
  const std::string plain_address_;
  ScriptedUpstream upstream_;
  std::unique_ptr<TlsFront> front_;  // nullptr: without TLS
  Holdfast holdfast_;
  std::unique_ptr<TlsRelay> relay_;  // nullptr: clients without TLS
  int runs_ = 0;
};

}  // namespace holdfast::testing
