// What holdfast says about a keyed request that it answers by itself: the problems of idempotency.
// A client reads `code`, and two promises: `retry_same_key` (the same request with the same key is
// worth sending again) and `safe_new_key` (a new key cannot repeat an effect that may exist).
//
// Contract: pure. Names, titles and promises are the project's specification of idempotency §3.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace holdfast::http {

enum class IdempotencyProblem : std::uint8_t {
  key_missing,
  key_invalid,
  scope_missing,
  key_reused,
  in_progress,
  outcome_unknown,
  execution_pending,
  result_unavailable,
  key_expired,
  request_too_large,
  store_unavailable,
  capacity,
};

/// "key-missing", …: the end of `type`, the `code`, and the value of Idempotency-Status.
std::string_view name(IdempotencyProblem problem);
std::string_view title(IdempotencyProblem problem);
/// Of a repetition, for the two that have another one at first: see `first_status_of`.
int status_of(IdempotencyProblem problem);
/// What the client gets whose own request led to it: 502 for outcome_unknown and for
/// result_unavailable, whose answer broke off; for all others status_of.
int first_status_of(IdempotencyProblem problem);
bool retry_same_key(IdempotencyProblem problem);
bool safe_new_key(IdempotencyProblem problem);

/// Members that only some problems have; an empty one is left out.
struct IdempotencyMembers {
  std::string_view reason = {};  // key_invalid, outcome_unknown, result_unavailable
  std::string_view id = {};      // outcome_unknown: of the record, in hex
  int original_status = 0;       // result_unavailable: what the upstream said
};

/// Appends the JSON body. `status` is one of the two that the problem may have.
void append_idempotency_problem(std::string& out, IdempotencyProblem problem, int status,
                                std::string_view request_id,
                                const IdempotencyMembers& members = {});

}  // namespace holdfast::http
