// idempotency, a policy table: its keys, and the rules between keys that may stand on different
// levels or in different tables.
//
// Contract: read_idempotency checks one level by itself. check_idempotency looks at the levels
// merged and speaks only of routes where idempotency is enabled. Both report; none decides.
#pragma once

#include <string>

#include "holdfast/app/config_reader.h"
#include "holdfast/policy/idempotency_options.h"
#include "holdfast/store/store.h"

namespace holdfast::app {

void read_idempotency(Reader& keys, policy::IdempotencyOptions& idempotency);

/// `policies` are the merged policy tables of one route. What is wrong with a single value has been
/// reported on its level and is not repeated.
void check_idempotency(const Node& policies, Diagnostics& diagnostics);

/// The defaults that depend on something else: namespace, on_unknown, on_store_error. `table` is
/// the merged idempotency table of the route, or nullptr.
void complete_idempotency(policy::IdempotencyOptions& idempotency, const Node* table,
                          const std::string& route, store::OnStoreError on_error);

}  // namespace holdfast::app
