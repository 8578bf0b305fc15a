// Replica: one installation of holdfast: a process with its workers, breakers and board of keys,
// over the simulated network and store. It can be reloaded, drained as by SIGTERM and killed as by
// SIGKILL, and is then started again.
//
// Contract: while it is down nobody can connect. What a process holds when it ends goes back: the
// connections it counts are zero then, whatever ended it. must_be_idle(): long after the last
// request nothing is held and every breaker would admit a call.
// Ownership: the world, the name server, the store, the ledger and `tls` outlive it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "holdfast/proxy/connection_set.h"
#include "holdfast/proxy/execution.h"
#include "holdfast/proxy/proxy.h"
#include "tests/sim/faulty_store.h"
#include "tests/sim/ledger.h"
#include "tests/sim/monitor.h"
#include "tests/sim/names.h"
#include "tests/sim/scenario.h"
#include "tests/sim/tls_link.h"
#include "tests/sim/wellness.h"

namespace holdfast::sim {

class Replica {
 public:
  Replica(test::World& world, NameServer& names, FaultyStore& store, const Scenario& scenario,
          Ledger& ledger, std::size_t number, TlsLinks* tls);
  ~Replica();
  Replica(const Replica&) = delete;
  Replica& operator=(const Replica&) = delete;

  /// A connection to one of its workers, from its far end; without one while it is down.
  Approach connect(Chance& chance);
  void reload(proxy::Config config);
  void drain();
  /// As by POST /upstreams/drain: some endpoint, and after a while it is put back.
  void take_endpoint_out(Chance& chance);
  /// All that were taken out.
  void put_endpoints_back();
  void crash();
  void must_be_idle();
  /// What holds at any moment: connections within their bound, breakers as they were told to move.
  void must_be_sound();
  /// Who has been ill for long is not in service.
  void must_know_the_ill(const Wellness& wellness);
  /// Long after the faults every endpoint is. Nobody is asked again whether it is well, which would
  /// take most of the time.
  void must_be_in_service();
  /// Ends the process for good.
  void end();

 private:
  struct Worker;
  struct Process;

  void start();
  void drain_endpoint(const std::string& upstream, const std::string& key, bool draining);
  void cut();
  void stop(bool crashed);

  test::World& world_;
  NameServer& names_;
  FaultyStore& store_;
  const Scenario& scenario_;
  Ledger& ledger_;
  TlsLinks* const tls_;                                   // nullptr: everybody is spoken to without
  const std::optional<net::TlsServerOptions> listening_;  // nullopt: clients are
  const std::size_t number_;
  const std::string name_;
  const std::string listener_ = "main";
  int starts_ = 0;
  std::unique_ptr<Process> process_;
};

}  // namespace holdfast::sim
