// Context: what waiting code is given instead of globals: the time, the timers and chance of the loop it
// runs on. A simulation hands out its own.
#pragma once

#include "holdfast/base/clock.h"
#include "holdfast/base/rng.h"
#include "holdfast/runtime/timers.h"

namespace holdfast::runtime {

struct Context {
  const Clock& clock;
  Timers& timers;
  Rng& rng;

  TimePoint now() const { return clock.now(); }
};

}  // namespace holdfast::runtime
