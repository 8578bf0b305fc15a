// What is judged when a run is over: the promises of keys and of methods, over the whole history.
//
// Contract: pure over the ledger, to which it adds what it finds broken.
#pragma once

#include "tests/sim/ledger.h"
#include "tests/sim/scenario.h"

namespace holdfast::sim {

void judge(const Scenario& scenario, Ledger& ledger);

}  // namespace holdfast::sim
