// check_golden: compares a text with the file that says what it must be, in tests/unit/app/golden/.
//
// With HOLDFAST_UPDATE_GOLDEN set in the environment the files are written instead of compared;
// read the difference before you commit it.
#pragma once

#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>

namespace holdfast::testing {

inline void check_golden(std::string_view file_name, const std::string& actual) {
  const std::string path = HOLDFAST_SOURCE_DIR "/tests/unit/app/golden/" + std::string(file_name);
  if (std::getenv("HOLDFAST_UPDATE_GOLDEN") != nullptr) {
    std::ofstream(path) << actual;
    return;
  }
  std::ifstream file(path);
  REQUIRE_MESSAGE(file.is_open(), path);
  std::ostringstream expected;
  expected << file.rdbuf();
  CAPTURE(path);
  CHECK(actual == expected.str());
}

}  // namespace holdfast::testing
