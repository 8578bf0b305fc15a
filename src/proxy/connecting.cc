#include "holdfast/proxy/connecting.h"

#include <algorithm>
#include <utility>

#include "holdfast/policy/timeout.h"

namespace holdfast::proxy {
namespace {

/// The list of endpoints has changed while the attempt waited.
void pick_again(Attempt& attempt, const Choice& choice) {
  attempt.pick(choice.tried, choice.key);
}

/// What began before a reload does not see the addresses that were found after it.
void use_known_address(Attempt& attempt) {
  if (attempt.error || attempt.pool->is_resolved()) return;
  const auto& known = attempt.cluster().names().addresses(attempt.pool->endpoint().endpoint);
  if (!known.empty()) attempt.pool->use_address(known.front());
}

/// Until the attempt's pool has an address, or there is an error.
runtime::Task<void> find_address(Attempt& attempt, Choice choice, TimePoint deadline,
                                 runtime::Context& context) {
  ClusterNames& names = attempt.cluster().names();
  names.refresh();
  bool waited = false;  // for a stale answer, once; what is picked then may know no address
  while (!attempt.error) {
    const PoolPin pool = attempt.pool;
    const net::Endpoint& endpoint = pool->endpoint().endpoint;
    if (!endpoint.is_named()) co_return;
    if (pool->is_resolved()) {
      if (waited || !names.is_stale(endpoint)) co_return;
      const TimePoint now = context.now();
      const TimePoint half = deadline == never ? never : now + policy::time_left(deadline, now) / 2;
      Result<void> ignored = co_await names.wait_for_answer(endpoint, half);
      waited = true;
      pick_again(attempt, choice);
      continue;
    }
    Result<void> found = co_await names.wait_for_answer(endpoint, deadline);
    if (!found) attempt.error = std::move(found.error());
    if (found) pick_again(attempt, choice);
    use_known_address(attempt);
  }
}

}  // namespace

runtime::Task<void> connect(Attempt& attempt, Choice choice, bool fresh,
                            std::optional<Duration> patience, TimePoint deadline,
                            runtime::Context& context) {
  while (!attempt.error && !attempt.lease) {
    if (attempt.pool->endpoint().endpoint.is_named()) {
      const TimePoint asked = context.now();
      const TimePoint answer_by = std::min(deadline, policy::deadline_after(asked, patience));
      co_await find_address(attempt, choice, answer_by, context);
      if (attempt.error) co_return;
      if (patience) *patience -= std::min(*patience, context.now() - asked);
    }
    const PoolPin rival(attempt.cluster().rival_of(*attempt.pool.get()));
    EndpointPool* const other = rival.get();
    PoolPin& pool = attempt.pool;
    Result<Lease> lease = co_await pool->acquire(fresh, patience, deadline, other, pool);
    if (!lease) {
      attempt.error = std::move(lease.error());
    } else if (!*lease) {
      pick_again(attempt, choice);
    } else {
      attempt.lease = std::move(*lease);
    }
  }
}

}  // namespace holdfast::proxy
