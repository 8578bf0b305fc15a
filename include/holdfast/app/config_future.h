// Tables and values of the contract whose work is not built yet. Each is checked like any other, so
// that a file is right the day its work is there, and refused by name: nothing is accepted and
// ignored.
#pragma once

#include "holdfast/app/config_reader.h"

namespace holdfast::app {

/// The policy tables rate_limit and concurrency.
void refuse_policies(Reader& keys);

}  // namespace holdfast::app
