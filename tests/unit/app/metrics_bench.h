// Bench: Metrics with workers whose logs go nowhere, and questions about what they tell.
#pragma once

#include <sstream>
#include <string>

#include "holdfast/app/metrics.h"
#include "tests/support/capture_file.h"

namespace holdfast::app {

inline constexpr proxy::LogConfig quiet = {LogLevel::error, LogFormat::json, proxy::AccessLog::off};

/// Metrics with workers whose logs go nowhere.
class Bench {
 public:
  WorkerMetrics& add_worker() { return metrics.add_worker(access_log_, logger_); }

  /// The value of a sample by its name and labels as written; -1 if it is not there.
  double value(const std::string& sample) {
    std::istringstream text(metrics.render());
    for (std::string line; std::getline(text, line);) {
      if (line.starts_with(sample + " ")) return std::stod(line.substr(sample.size()));
    }
    return -1;
  }

  Metrics metrics{"0.1.0", "abc123"};

 private:
  holdfast::testing::CaptureFile file_;
  LogSink sink_{file_.fd()};
  AccessLog access_log_{sink_, quiet};
  Logger logger_{sink_, LogLevel::error, LogFormat::json};
};

}  // namespace holdfast::app
