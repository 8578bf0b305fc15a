// EndpointLog: one line of the operational log for each change of an endpoint's state, and of a
// name's that endpoints come of.
//
// Contract: thread-safe; never blocks but for its own lock.
// Limits: 20 lines at once and one more each second, for all upstreams together: an endpoint that
// flaps must not fill a disk. What was left out is told by the next line, in `left_out`.
#pragma once

#include <mutex>
#include <string_view>

#include "holdfast/base/log.h"
#include "holdfast/proxy/shared_endpoints.h"

namespace holdfast::app {

class EndpointLog {
 public:
  explicit EndpointLog(Logger& logger) : logger_(logger) {}

  void changed(std::string_view upstream, const proxy::EndpointChange& change);
  void name_changed(std::string_view upstream, const proxy::NameChange& change);

 private:
  /// False: the line has no room. Else how many had none since the last one.
  bool has_room(TimePoint now, int& left_out);

  Logger& logger_;
  std::mutex mutex_;
  double room_ = most_at_once;
  TimePoint filled_at_{};
  int left_out_ = 0;

  static constexpr double most_at_once = 20;
};

}  // namespace holdfast::app
