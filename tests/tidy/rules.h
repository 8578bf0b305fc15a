// The rules of the house that a scan of the text can check (docs/ARCHITECTURE.md says why they
// are). Each takes sources and returns its findings, none if all is well.
#pragma once

#include <string>
#include <vector>

#include "tests/tidy/source.h"

namespace holdfast::tidy {

using Findings = std::vector<std::string>;

// --- layers.cc: what may include what ---
/// A layer includes itself and the layers below it, by "holdfast/LAYER/x.h".
Findings check_layers(const Source& source);
/// A third party's header is included behind its one door only.
Findings check_doors(const Source& source);
/// The clock is read in base/clock, chance comes from base/rng.
Findings check_clock_and_chance(const Source& source);

// --- coroutines.cc: the safe subset of co_await ---
/// Statements with co_await have one of the forms that g++ 12 compiles soundly (docs/adr/0001).
Findings check_co_await(const Source& source);
/// No lambda is a coroutine: its captures die before its frame.
Findings check_lambda_coroutines(const Source& source);

// --- shape.cc: how files look ---
/// No mark that says that work is left.
Findings check_marks(const Source& source);
/// No line over 100 columns, no tab, no space at a line's end, no file over 600 lines (a test:
/// 800).
Findings check_size(const Source& source);
/// A header opens with a comment that says what it is, and has #pragma once.
Findings check_header_opening(const Source& source);
/// include/holdfast/LAYER/x.h, src/LAYER/x.cc and tests/unit/LAYER/x_test.cc go together.
Findings check_mirrored_trees(const std::vector<std::string>& paths);

}  // namespace holdfast::tidy
