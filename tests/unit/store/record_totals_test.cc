#include "holdfast/store/record_totals.h"

#include <doctest/doctest.h>

namespace holdfast::store {
namespace {

using policy::Command;
using policy::RecordState;

TEST_CASE("totals follow what comes and goes") {
  RecordTotals totals;
  totals.add(RecordState::inflight, 300);
  totals.add(RecordState::inflight, 20);
  totals.add(RecordState::completed, 4000);
  totals.add(RecordState::gone, 1);
  totals.add(RecordState::unknown, 2);
  totals.add(RecordState::revoked, 3);
  totals.remove(RecordState::inflight, 300);
  totals.add(RecordState::unknown, 301);
  StoreStats stats;
  totals.tell(stats);
  CHECK(stats.bytes == 4327);
  CHECK(stats.inflight == 1);
  CHECK(stats.completed == 1);
  CHECK(stats.gone == 1);
  CHECK(stats.unknown == 2);
}

TEST_CASE("a full store refuses claims and completions, nothing else") {
  for (const Command command : {Command::claim, Command::complete}) CHECK(may_be_refused(command));
  for (const Command command : {Command::peek, Command::renew, Command::tombstone, Command::release,
                                Command::mark_unknown, Command::inspect, Command::resolve}) {
    CHECK_FALSE(may_be_refused(command));
  }
}

}  // namespace
}  // namespace holdfast::store
