// Reading a file that a person named: the configuration and what it points to.
//
// Contract: only regular files are read, so that a FIFO or a device can never hang the program. The
// error is a sentence's end: "No such file or directory", "it is a directory", "larger than 4 MiB".
#pragma once

#include <cstddef>
#include <string>

#include "holdfast/base/result.h"

namespace holdfast::app {

inline constexpr std::size_t max_config_bytes = std::size_t{4} << 20;
inline constexpr std::size_t max_body_file_bytes = std::size_t{1} << 20;

Result<std::string, std::string> read_regular_file(const std::string& path, std::size_t max_bytes);

}  // namespace holdfast::app
