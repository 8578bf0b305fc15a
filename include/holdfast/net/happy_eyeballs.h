// Happy eyeballs (RFC 8305): a connection to the one of two addresses that answers first.
//
// Contract: the second address is tried when the first has failed, or has not connected within
// connection_attempt_delay; the first success wins, and the other attempt is closed with the task.
// If both fail, the first one's error is told. References outlive the task.
#pragma once

#include <memory>

#include "holdfast/base/result.h"
#include "holdfast/net/network.h"
#include "holdfast/runtime/context.h"
#include "holdfast/runtime/task.h"

namespace holdfast::net {

inline constexpr Duration connection_attempt_delay = std::chrono::milliseconds(250);  // §8

struct RaceResult {
  std::unique_ptr<Stream> stream;
  bool second_won = false;
};

runtime::Task<Result<RaceResult>> connect_to_either(Connector& connector, runtime::Context& context,
                                                    const Address& first, const Address& second,
                                                    TimePoint deadline);

}  // namespace holdfast::net
