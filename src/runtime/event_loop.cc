#include "holdfast/runtime/event_loop.h"

#include <uv.h>

#include <mutex>
#include <utility>
#include <vector>

#include "holdfast/base/assert.h"

namespace holdfast::runtime {
namespace {

// Drives the timer heap with one libuv timer, which is only touched when the earliest time moves forward
// of what it is set to. libuv counts milliseconds: a time is rounded up, never early.
class UvTimers final : public Timers {
 public:
  UvTimers(uv_loop_t* loop, const Clock& clock) : clock_(clock) {
    uv_timer_init(loop, &timer_);
    timer_.data = this;
  }
  void close() { uv_close(reinterpret_cast<uv_handle_t*>(&timer_), nullptr); }

 private:
  void wake_at(TimePoint at) override {
    if (armed_for_ <= at) return;
    armed_for_ = at;
    const TimePoint now = clock_.now();
    uv_update_time(timer_.loop);
    const auto wait = at > now ? std::chrono::ceil<std::chrono::milliseconds>(at - now).count() : 0;
    uv_timer_start(&timer_, &UvTimers::on_timer, static_cast<std::uint64_t>(wait), 0);
  }

  static void on_timer(uv_timer_t* timer) {
    auto& self = *static_cast<UvTimers*>(timer->data);
    self.armed_for_ = never;
    self.run_due(self.clock_.now());
  }

  const Clock& clock_;
  uv_timer_t timer_;
  TimePoint armed_for_ = never;
};

struct BlockingWork {
  uv_work_t request;
  std::function<void()> work;
  std::function<void()> done;
};

struct SignalHandle {
  uv_signal_t handle;
  std::function<void()> handler;
};

}  // namespace

struct EventLoop::Impl {
  Impl(uv_loop_t* uv_loop, const Clock& clock) : timers(uv_loop, clock) {
    wake.data = this;
    HOLDFAST_ASSERT(uv_async_init(uv_loop, &wake, &Impl::on_wake) == 0);
  }

  static void on_wake(uv_async_t* async) { static_cast<Impl*>(async->data)->run_posted(); }

  void run_posted() {
    std::vector<std::function<void()>> functions;
    {
      const std::lock_guard lock(mutex);
      functions.swap(posted);
    }
    for (auto& function : functions) function();
  }

  UvTimers timers;
  uv_async_t wake;
  std::mutex mutex;
  std::vector<std::function<void()>> posted;
  std::vector<std::unique_ptr<SignalHandle>> signals;
};

EventLoop::EventLoop()
    : loop_(std::make_unique<uv_loop_t>()),
      rng_(Rng::from_entropy()),
      impl_((HOLDFAST_ASSERT(uv_loop_init(loop_.get()) == 0), std::make_unique<Impl>(loop_.get(), clock_))),
      context_{clock_, impl_->timers, rng_} {}

EventLoop::~EventLoop() {
  impl_->run_posted();
  impl_->timers.close();
  uv_close(reinterpret_cast<uv_handle_t*>(&impl_->wake), nullptr);
  for (auto& signal : impl_->signals) uv_close(reinterpret_cast<uv_handle_t*>(&signal->handle), nullptr);
  uv_run(loop_.get(), UV_RUN_DEFAULT);
  HOLDFAST_ASSERT(uv_loop_close(loop_.get()) == 0);
}

void EventLoop::run() { uv_run(loop_.get(), UV_RUN_DEFAULT); }

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
  auto* job = new BlockingWork{{}, std::move(work), std::move(done)};
  job->request.data = job;
  const int queued = uv_queue_work(
      loop_.get(), &job->request,
      [](uv_work_t* request) { static_cast<BlockingWork*>(request->data)->work(); },
      [](uv_work_t* request, int) {
        const std::unique_ptr<BlockingWork> owned(static_cast<BlockingWork*>(request->data));
        owned->done();
      });
  HOLDFAST_ASSERT(queued == 0);
}

void EventLoop::on_signal(int number, std::function<void()> handler) {
  auto& signal = *impl_->signals.emplace_back(std::make_unique<SignalHandle>());
  signal.handler = std::move(handler);
  signal.handle.data = &signal;
  HOLDFAST_ASSERT(uv_signal_init(loop_.get(), &signal.handle) == 0);
  const int started = uv_signal_start(
      &signal.handle, [](uv_signal_t* handle, int) { static_cast<SignalHandle*>(handle->data)->handler(); },
      number);
  HOLDFAST_ASSERT(started == 0);
}

}  // namespace holdfast::runtime
