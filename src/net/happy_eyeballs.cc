#include "holdfast/net/happy_eyeballs.h"

#include <optional>
#include <utility>

namespace holdfast::net {
namespace {

using Connected = Result<std::unique_ptr<Stream>>;

runtime::Task<void> pause_until(runtime::Context& context, TimePoint at) {
  co_await runtime::sleep_until(context.timers, at);
}

}  // namespace

runtime::Task<Result<RaceResult>> connect_to_either(Connector& connector, runtime::Context& context,
                                                    const Address& first, const Address& second,
                                                    TimePoint deadline) {
  runtime::Task<Connected> one = connector.connect(first, deadline);
  const TimePoint turn_of_second = after(context.now(), connection_attempt_delay);
  runtime::Task<void> pause = pause_until(context, turn_of_second);
  co_await runtime::first_of(one, pause);
  std::optional<Error> first_error;
  if (one.done()) {
    Connected connected = co_await one;
    if (connected) co_return RaceResult{std::move(*connected), false};
    first_error = std::move(connected.error());
  }
  runtime::Task<Connected> other = connector.connect(second, deadline);
  if (!first_error) {
    co_await runtime::first_of(one, other);
    if (one.done()) {
      Connected connected = co_await one;
      if (connected) co_return RaceResult{std::move(*connected), false};
      first_error = std::move(connected.error());
    }
  }
  Connected connected = co_await other;
  if (connected) co_return RaceResult{std::move(*connected), true};
  if (first_error) co_return unexpected(std::move(*first_error));
  Connected last = co_await one;
  if (last) co_return RaceResult{std::move(*last), false};
  co_return unexpected(std::move(last.error()));
}

}  // namespace holdfast::net
