#include "holdfast/proxy/key_waiter.h"

#include <utility>

namespace holdfast::proxy {

KeyWaiter::KeyWaiter(KeyBoard& board, const Digest& id, Services& services)
    : board_(board),
      id_(id),
      services_(services),
      since_(services.context.now()),
      number_(board.new_waiter()),
      state_(std::make_shared<State>()) {
  const auto wake = [post = services.context.post,
                     weak = std::weak_ptr(state_)](std::shared_ptr<const SharedAnswer> answer) {
    post([weak, answer = std::move(answer)] {
      const std::shared_ptr<State> state = weak.lock();
      if (!state) return;
      if (answer) state->answer = answer;
      state->woken = !state->signal.awaited();
      state->signal.notify();
    });
  };
  admitted_ = board_.wait(id_, number_, wake);
  if (admitted_) services_.observer.key_gauge(KeyGauge::waiters, 1);
}

KeyWaiter::~KeyWaiter() {
  if (!admitted_) return;
  board_.leave(id_, number_);
  services_.observer.key_gauge(KeyGauge::waiters, -1);
  services_.observer.key_waited(services_.context.now() - since_);
}

runtime::Wait KeyWaiter::until_woken(TimePoint deadline) {
  if (std::exchange(state_->woken, false)) return runtime::Wait::over(services_.context.timers);
  return runtime::wait_for(state_->signal, services_.context.timers, deadline);
}

}  // namespace holdfast::proxy
