#include "holdfast/runtime/event_loop.h"

#include <uv.h>

#include <algorithm>
#include <mutex>
#include <utility>
#include <vector>

#include "holdfast/base/assert.h"
#include "holdfast/runtime/task.h"

namespace holdfast::runtime {
namespace {

template <class Handle>
uv_handle_t* as_handle(Handle& handle) {
  return reinterpret_cast<uv_handle_t*>(&handle);
}

// Drives the timer heap with one libuv timer, which is only touched when the earliest time moves
// forward of what it is set to. What is due already runs in the loop's next turn, by an idle
// handle: a libuv timer of 0 ms that sets itself again would not let the loop look at its sockets.
class UvTimers final : public Timers {
 public:
  UvTimers(uv_loop_t* loop, LoopClock& clock) : clock_(clock) {
    uv_timer_init(loop, &timer_);
    uv_idle_init(loop, &next_turn_);
    uv_check_init(loop, &io_seen_);
    uv_prepare_init(loop, &turn_);
    timer_.data = this;
    next_turn_.data = this;
    io_seen_.data = this;
    turn_.data = this;
    uv_prepare_start(&turn_, &UvTimers::on_turn);
  }
  void unreference() {
    uv_unref(as_handle(timer_));
    uv_unref(as_handle(next_turn_));
    uv_unref(as_handle(io_seen_));
    uv_unref(as_handle(turn_));
  }
  void close() {
    uv_close(as_handle(timer_), nullptr);
    uv_close(as_handle(next_turn_), nullptr);
    uv_close(as_handle(io_seen_), nullptr);
    uv_close(as_handle(turn_), nullptr);
  }

 private:
  void wake_at(TimePoint at) override {
    if (armed_for_ <= at) return;
    armed_for_ = at;
    // libuv counts whole milliseconds of the same clock (CLOCK_MONOTONIC): rounded up, never early.
    const auto due = static_cast<std::uint64_t>(
        std::chrono::ceil<std::chrono::milliseconds>(at.time_since_epoch()).count());
    // The loop's time may be ahead of the event's.
    const std::uint64_t loop_time = uv_now(timer_.loop);
    if (at <= clock_.now() || due <= loop_time) {
      uv_idle_start(&next_turn_, &UvTimers::on_next_turn);
    } else {
      uv_timer_start(&timer_, &UvTimers::on_timer, due - loop_time, 0);
    }
  }
  void begin_event() override { clock_.begin_event(); }

  // Just before the loop waits: what it then finds happened later than what is known.
  static void on_turn(uv_prepare_t* prepare) {
    static_cast<UvTimers*>(prepare->data)->clock_.begin_event();
  }

  static void on_timer(uv_timer_t* timer) { static_cast<UvTimers*>(timer->data)->run(); }

  static void on_next_turn(uv_idle_t* idle) {
    auto* self = static_cast<UvTimers*>(idle->data);
    if (uv_is_active(as_handle(self->io_seen_))) return;  // it only keeps the poll from waiting
    uv_idle_stop(idle);
    self->run();
  }

  static void on_io_seen(uv_check_t* check) {
    auto* self = static_cast<UvTimers*>(check->data);
    uv_check_stop(check);
    uv_idle_stop(&self->next_turn_);
    self->run_now();
  }

  // A loop that comes so late was itself stopped or starved: what arrived meanwhile was in time,
  // and is looked at before anybody's time is called up.
  void run() {
    clock_.begin_event();
    if (clock_.now() - armed_for_ <= held_up) return run_now();
    uv_idle_start(&next_turn_, &UvTimers::on_next_turn);
    uv_check_start(&io_seen_, &UvTimers::on_io_seen);
  }

  void run_now() {
    clock_.begin_event();
    armed_for_ = never;
    run_due(clock_.now());
  }

  static constexpr Duration held_up = std::chrono::milliseconds(50);
  LoopClock& clock_;
  uv_timer_t timer_;
  uv_idle_t next_turn_;
  uv_check_t io_seen_;
  uv_prepare_t turn_;
  TimePoint armed_for_ = never;
};

struct BlockingWork {
  uv_work_t request;
  std::function<void()> work;
  std::function<void()> done;
  LoopClock& clock;
};

struct SignalHandle {
  uv_signal_t handle;
  std::function<void()> handler;
  LoopClock& clock;
};

std::unique_ptr<uv_loop_t> make_loop() {
  auto loop = std::make_unique<uv_loop_t>();
  HOLDFAST_ASSERT(uv_loop_init(loop.get()) == 0);
  return loop;
}

// Runs until nothing but handles without a reference is left, through any stop() on the way.
void run_to_the_end(uv_loop_t* loop) {
  while (uv_run(loop, UV_RUN_DEFAULT) != 0) {
  }
}

}  // namespace

struct EventLoop::Impl {
  Impl(uv_loop_t* uv_loop, LoopClock& loop_clock) : clock(loop_clock), timers(uv_loop, loop_clock) {
    wake.data = this;
    HOLDFAST_ASSERT(uv_async_init(uv_loop, &wake, &Impl::on_wake) == 0);
  }

  static void on_wake(uv_async_t* async) { static_cast<Impl*>(async->data)->run_posted(); }

  /// True if there was anything to run.
  bool run_posted() {
    std::vector<std::function<void()>> functions;
    {
      const std::lock_guard lock(mutex);
      functions.swap(posted);
    }
    for (auto& function : functions) {
      clock.begin_event();
      function();
    }
    return !functions.empty();
  }

  void unreference() {
    timers.unreference();
    uv_unref(as_handle(wake));
    for (auto& signal : signals) uv_unref(as_handle(signal->handle));
  }

  void close() {
    timers.close();
    uv_close(as_handle(wake), nullptr);
    for (auto& signal : signals) uv_close(as_handle(signal->handle), nullptr);
  }

  LoopClock& clock;
  UvTimers timers;
  uv_async_t wake;
  std::mutex mutex;
  std::vector<std::function<void()>> posted;
  std::vector<std::unique_ptr<SignalHandle>> signals;
};

EventLoop::EventLoop()
    : loop_(make_loop()),
      rng_(Rng::from_entropy()),
      impl_(std::make_unique<Impl>(loop_.get(), clock_)),
      context_{clock_, impl_->timers, rng_,
               [this](std::function<void()> function) { post(std::move(function)); }} {}

EventLoop::~EventLoop() {
  impl_->run_posted();
  impl_->unreference();
  // With an open handle of somebody else the runs below would wait for ever.
  uv_walk(
      loop_.get(),
      [](uv_handle_t* handle, void*) {
        HOLDFAST_ASSERT(uv_is_closing(handle) || !uv_has_ref(handle));
      },
      nullptr);
  do {
    run_to_the_end(loop_.get());
  } while (impl_->run_posted());
  impl_->close();
  run_to_the_end(loop_.get());
  HOLDFAST_ASSERT(uv_loop_close(loop_.get()) == 0);
  release_free_frames();
}

bool EventLoop::run_posted() {
  return impl_->run_posted();
}

void EventLoop::run() {
  clock_.stand_still(true);
  uv_run(loop_.get(), UV_RUN_DEFAULT);
  clock_.stand_still(false);
}

void EventLoop::stop() {
  post([this] { uv_stop(loop_.get()); });
}

void EventLoop::post(std::function<void()> function) {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->posted.push_back(std::move(function));
  }
  uv_async_send(&impl_->wake);
}

void EventLoop::run_blocking(std::function<void()> work, std::function<void()> done) {
  auto* job = new BlockingWork{{}, std::move(work), std::move(done), clock_};
  job->request.data = job;
  const int queued = uv_queue_work(
      loop_.get(), &job->request,
      [](uv_work_t* request) { static_cast<BlockingWork*>(request->data)->work(); },
      [](uv_work_t* request, int) {
        const std::unique_ptr<BlockingWork> owned(static_cast<BlockingWork*>(request->data));
        owned->clock.begin_event();
        owned->done();
      });
  HOLDFAST_ASSERT(queued == 0);
}

void EventLoop::on_signal(int number, std::function<void()> handler) {
  auto& signal = *impl_->signals.emplace_back(
      std::make_unique<SignalHandle>(uv_signal_t{}, std::move(handler), clock_));
  signal.handle.data = &signal;
  HOLDFAST_ASSERT(uv_signal_init(loop_.get(), &signal.handle) == 0);
  const int started = uv_signal_start(
      &signal.handle,
      [](uv_signal_t* handle, int) {
        auto& given = *static_cast<SignalHandle*>(handle->data);
        given.clock.begin_event();
        given.handler();
      },
      number);
  HOLDFAST_ASSERT(started == 0);
}

}  // namespace holdfast::runtime
