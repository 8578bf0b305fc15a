#include "holdfast/app/worker.h"

#include <pthread.h>

#include <deque>
#include <future>
#include <map>
#include <utility>

#include "holdfast/base/assert.h"
#include "holdfast/net/uv_listener.h"
#include "holdfast/net/uv_network.h"
#include "holdfast/proxy/connection_set.h"
#include "holdfast/proxy/execution.h"
#include "holdfast/proxy/proxy.h"
#include "holdfast/runtime/event_loop.h"

namespace holdfast::app {

namespace {

std::string_view asked_of_clients(const WorkerListener& listener) {
  if (!listener.tls) return "";
  return listener.tls->current()->options().client_ca.empty() ? " tls" : " certificate";
}

}  // namespace

bool ConnectionGate::enter() {
  std::uint64_t open = open_.load(std::memory_order_relaxed);
  while (open < limit_.load(std::memory_order_relaxed)) {
    if (open_.compare_exchange_weak(open, open + 1, std::memory_order_acq_rel)) return true;
  }
  refused_.store(true);
  // A place that came free between the look and the mark would wake nobody: look again.
  if (open_.load() < limit_.load()) wake_all();
  return false;
}

void ConnectionGate::leave() {
  open_.fetch_sub(1);
  if (refused_.load()) wake_all();
}

void ConnectionGate::set_limit(std::uint64_t limit) {
  limit_.store(limit);
  if (refused_.load()) wake_all();
}

void ConnectionGate::on_free(const void* owner, std::function<void()> wake) {
  const std::lock_guard lock(mutex_);
  wakes_[owner] = std::move(wake);
}

void ConnectionGate::forget(const void* owner) {
  const std::lock_guard lock(mutex_);
  wakes_.erase(owner);
}

void ConnectionGate::wake_all() {
  refused_.store(false);
  const std::lock_guard lock(mutex_);
  for (const auto& [owner, wake] : wakes_) wake();
}

/// What lives on the worker's thread, in the order it is made and the reverse of which it is
/// destroyed.
class Worker::Loop {
 public:
  Loop(proxy::SharedUpstreams& upstreams, proxy::KeyBoard& board, std::string replica,
       WorkerMetrics& observer, AccessLog& log, ConnectionGate& gate,
       std::shared_ptr<net::NameService> names, const std::function<void()>& on_drained)
      : network_(loop_, std::move(names)),
        services_{loop_.context(), network_, network_, observer,
                  upstreams,       {},       nullptr,  &network_.clients_names()},
        board_(board),
        replica_(std::move(replica)),
        proxy_(services_),
        connections_(proxy_, loop_.context(), [this] { connection_closed(); }),
        log_(log),
        gate_(gate),
        on_drained_(on_drained) {
    gate_.on_free(this, [this] { loop_.post([this] { admit_waiting(); }); });
  }
  ~Loop() {
    gate_.forget(this);
    draining_ = told_drained_ = true;
    while (loop_.run_posted()) {  // functions that refer to what is about to go
    }
  }

  runtime::EventLoop& loop() { return loop_; }
  void update(const WorkerUpdate& update);
  void drain();
  void cut(std::function<void()> done);
  /// Serves what waited at the gate, and accepts again.
  void admit_waiting();

 private:
  /// What a connection comes in by.
  struct Door {
    const std::string* listener;  // its name, in listener_names_
    std::shared_ptr<net::TlsServerCredentials> tls;
  };
  struct Waiting {
    std::unique_ptr<net::Stream> stream;
    Door door;
  };

  void accept(std::unique_ptr<net::Stream> stream, const Door& door);
  void serve(std::unique_ptr<net::Stream> stream, const Door& door);
  void connection_closed();
  void close_idle_soon();
  void open_store(store::StoreBackend& backend);
  void executions_idle();
  void tell_if_drained();

  runtime::EventLoop loop_;
  net::UvNetwork network_;
  proxy::Services services_;
  proxy::KeyBoard& board_;
  const std::string replica_;
  proxy::Proxy proxy_;
  std::unique_ptr<store::Store> store_;
  std::unique_ptr<proxy::Executions> executions_;  // before those who wait for them
  // By a listener's identity and what it asks of clients, for good: connections outlive their
  // listener, and a reload may give it another name, or another certificate. But where it asks for
  // more than before, those that came in before stay with what they came by.
  std::map<std::string, std::string> listener_names_;
  std::map<std::string, std::unique_ptr<net::UvListener>> listeners_;  // by identity
  std::map<std::string, Door> doors_;                                  // of listeners_
  std::deque<Waiting> waiting_;  // accepted while another worker took the last place
  proxy::ConnectionSet connections_;
  AccessLog& log_;
  ConnectionGate& gate_;
  const std::function<void()>& on_drained_;
  bool draining_ = false;
  bool told_drained_ = false;
  std::function<void()> when_cut_;
};

void Worker::Loop::update(const WorkerUpdate& update) {
  log_.configure(update.published->config->log);
  if (update.store != nullptr && !store_) open_store(*update.store);
  proxy_.adopt(update.published);
  std::map<std::string, std::unique_ptr<net::UvListener>> next;
  for (const WorkerListener& wanted : update.listeners) {
    std::string& name = listener_names_[wanted.text + std::string(asked_of_clients(wanted))];
    name = wanted.name;
    doors_[wanted.text] = {&name, wanted.tls};
    if (wanted.descriptor < 0) {
      auto kept = listeners_.extract(wanted.text);
      HOLDFAST_ASSERT(!kept.empty());
      next.insert(std::move(kept));
      continue;
    }
    const auto on_accept = [this, text = wanted.text](std::unique_ptr<net::Stream> stream) {
      accept(std::move(stream), doors_.at(text));
    };
    next.emplace(wanted.text,
                 std::make_unique<net::UvListener>(network_, wanted.descriptor, on_accept));
  }
  for (auto& [text, listener] : listeners_) listener->close_after_queue();
  listeners_ = std::move(next);
  std::erase_if(doors_, [this](const auto& door) { return !listeners_.contains(door.first); });
}

void Worker::Loop::accept(std::unique_ptr<net::Stream> stream, const Door& door) {
  if (waiting_.empty() && gate_.enter()) {
    serve(std::move(stream), door);
    return;
  }
  waiting_.push_back({std::move(stream), door});
  for (auto& [text, open] : listeners_) open->pause();
}

void Worker::Loop::serve(std::unique_ptr<net::Stream> stream, const Door& door) {
  net::TlsSession tls = door.tls ? door.tls->current()->session() : nullptr;
  connections_.serve(std::move(stream), *door.listener, std::move(tls));
}

void Worker::Loop::admit_waiting() {
  while (!waiting_.empty() && gate_.enter()) {
    Waiting first = std::move(waiting_.front());
    waiting_.pop_front();
    serve(std::move(first.stream), first.door);
  }
  if (draining_) return close_idle_soon();
  if (!waiting_.empty()) return;
  for (auto& [text, listener] : listeners_) listener->resume();
}

void Worker::Loop::connection_closed() {
  gate_.leave();
  tell_if_drained();
}

void Worker::Loop::drain() {
  draining_ = true;
  proxy_.drain();
  if (executions_) executions_->drain();
  // What the kernel has accepted already is still served.
  for (auto& [text, listener] : listeners_) listener->close_after_queue();
  listeners_.clear();
  close_idle_soon();
}

void Worker::Loop::open_store(store::StoreBackend& backend) {
  store_ = backend.open(loop_.context(), network_, network_);
  executions_ = std::make_unique<proxy::Executions>(services_, *store_, board_, replica_);
  executions_->on_idle([this] { executions_idle(); });
  services_.executions = executions_.get();
}

void Worker::Loop::executions_idle() {
  if (when_cut_) std::exchange(when_cut_, nullptr)();
  tell_if_drained();
}

void Worker::Loop::cut(std::function<void()> done) {
  if (!executions_ || executions_->running() == 0) return done();
  when_cut_ = std::move(done);
  executions_->shut_down();
}

/// A request may lie in the kernel, unread, on a connection that looks idle: it gets two turns of
/// the loop to be seen.
void Worker::Loop::close_idle_soon() {
  loop_.post([this] {
    loop_.post([this] {
      connections_.close_idle();
      tell_if_drained();
    });
  });
}

void Worker::Loop::tell_if_drained() {
  if (!draining_ || told_drained_ || connections_.size() > 0 || !waiting_.empty()) return;
  if (executions_ && executions_->running() > 0) return;
  told_drained_ = true;
  on_drained_();
}

Worker::Worker(int number, proxy::SharedUpstreams& upstreams, proxy::KeyBoard& board,
               std::string_view replica, Metrics& metrics, LogSink& access_sink, Logger& logger,
               const proxy::LogConfig& log, ConnectionGate& gate,
               std::shared_ptr<net::NameService> names, std::function<void()> on_drained)
    : access_log_(access_sink, log) {
  WorkerMetrics& observer = metrics.add_worker(access_log_, logger);
  std::promise<void> ready;
  thread_ = std::thread([&, number, on_drained = std::move(on_drained)] {
    const std::string suffix = "w" + std::to_string(number);
    const std::string name = "holdfast-" + suffix;
    pthread_setname_np(pthread_self(), name.c_str());
    {
      Loop loop(upstreams, board, std::string(replica) + "-" + suffix, observer, access_log_, gate,
                names, on_drained);
      loop_ = &loop;
      ready.set_value();
      loop.loop().run();
    }
    HOLDFAST_ASSERT(runtime::live_frames() == 0);
    HOLDFAST_ASSERT(net::live_handles() == 0);
    runtime::release_free_frames();
  });
  ready.get_future().wait();
}

Worker::~Worker() {
  loop_->loop().stop();
  thread_.join();
}

void Worker::update(WorkerUpdate update, std::function<void()> done) {
  loop_->loop().post([loop = loop_, update = std::move(update), done = std::move(done)] {
    loop->update(update);
    done();
  });
}

void Worker::drain() {
  loop_->loop().post([loop = loop_] { loop->drain(); });
}

void Worker::cut(std::function<void()> done) {
  loop_->loop().post([loop = loop_, done = std::move(done)] { loop->cut(done); });
}

}  // namespace holdfast::app
