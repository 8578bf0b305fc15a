// The picture of a latency distribution: an SVG with the percentile from left to right, every nine
// more as far as the one before, and the latency upwards.
#pragma once

#include <string>
#include <string_view>

#include "loadtest/histogram.h"

namespace loadtest {

/// REQUIRES: something is recorded. `title` may hold any text.
std::string plot_of(const Histogram& latency, std::string_view title);

}  // namespace loadtest
