// Context: what waiting code is given instead of globals: the time, the timers and chance of the
// loop it runs on, and the way to it from other threads. A simulation hands out its own.
#pragma once

#include <functional>

#include "holdfast/base/clock.h"
#include "holdfast/base/rng.h"
#include "holdfast/runtime/timers.h"

namespace holdfast::runtime {

struct Context {
  const Clock& clock;
  Timers& timers;
  Rng& rng;
  /// Runs a function on the loop's thread, in the order posted. The one member any thread may use.
  std::function<void(std::function<void()>)> post;

  TimePoint now() const { return clock.now(); }
};

}  // namespace holdfast::runtime
