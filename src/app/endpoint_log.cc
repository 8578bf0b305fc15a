#include "holdfast/app/endpoint_log.h"

#include <algorithm>
#include <utility>

#include "holdfast/app/config_values.h"

namespace holdfast::app {
namespace {

std::string_view message(proxy::EndpointState state) {
  constexpr std::string_view messages[] = {"endpoint in service", "endpoint ejected",
                                           "endpoint unhealthy", "endpoint draining"};
  return messages[static_cast<std::size_t>(state)];
}

}  // namespace

bool EndpointLog::has_room(TimePoint now, int& left_out) {
  const std::lock_guard lock(mutex_);
  if (now > filled_at_) {
    room_ = std::min(most_at_once, room_ + to_seconds(now - filled_at_));
    filled_at_ = now;
  }
  if (room_ < 1) {
    ++left_out_;
    return false;
  }
  room_ -= 1;
  left_out = std::exchange(left_out_, 0);
  return true;
}

void EndpointLog::changed(std::string_view upstream, const proxy::EndpointChange& change) {
  int left_out = 0;
  if (!has_room(change.at, left_out)) return;
  const bool by_itself =
      change.to == proxy::EndpointState::ejected || change.to == proxy::EndpointState::unhealthy;
  const std::string lasts = change.lasts ? format_duration(*change.lasts) : "";
  logger_.log(by_itself ? LogLevel::warn : LogLevel::info, message(change.to),
              {{"upstream", upstream},
               {"endpoint", change.key},
               {"from", name(change.from)},
               {"to", name(change.to)},
               {"why", change.why},
               {"lasts", lasts},
               {"left_out", left_out}});
}

void EndpointLog::name_changed(std::string_view upstream, const proxy::NameChange& change) {
  int left_out = 0;
  if (!has_room(change.at, left_out)) return;
  const std::string_view message = change.found            ? "a name is found again"
                                   : change.addresses == 0 ? "a name is not found"
                                                           : "a name is not found, its last "
                                                             "addresses stay in use";
  logger_.log(change.found ? LogLevel::info : LogLevel::warn, message,
              {{"upstream", upstream},
               {"name", change.name},
               {"why", change.why},
               {"addresses", change.addresses},
               {"left_out", left_out}});
}

}  // namespace holdfast::app
