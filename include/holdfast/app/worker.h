// Worker: one thread with its event loop, listeners, client connections, pools and exchanges.
// Nothing on a request's path leaves it.
//
// Contract: made and destroyed on the main thread; all other functions post to the worker's own
// thread and return at once, unless they say otherwise. The destructor stops and joins the thread;
// connections that are still open are cut.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "holdfast/app/access_log.h"
#include "holdfast/app/metrics.h"
#include "holdfast/net/name_service.h"
#include "holdfast/net/tls_server_context.h"
#include "holdfast/proxy/cluster.h"
#include "holdfast/proxy/key_board.h"
#include "holdfast/store/store.h"

namespace holdfast::app {

/// The bound on client connections over all workers (server.max_connections). Thread-safe.
class ConnectionGate {
 public:
  explicit ConnectionGate(std::uint64_t limit) : limit_(limit) {}

  /// Takes a place; false at the limit: accepting pauses until `wake` was called.
  bool enter();
  void leave();
  void set_limit(std::uint64_t limit);

  /// Registers a worker's wake-up; called on any thread when a place may be free after enter()
  /// failed.
  void on_free(const void* owner, std::function<void()> wake);
  /// Afterwards the owner's wake-up is never called again.
  void forget(const void* owner);

 private:
  void wake_all();

  std::atomic<std::uint64_t> limit_;
  std::atomic<std::uint64_t> open_{0};
  std::atomic<bool> refused_{false};
  std::mutex mutex_;
  std::map<const void*, std::function<void()>> wakes_;
};

/// One socket that a worker shall listen on, or keep listening on.
struct WorkerListener {
  std::string text;                                // its identity over reloads
  std::string name;                                // for match.listener
  int descriptor = -1;                             // -1: the worker has it already
  std::shared_ptr<net::TlsServerCredentials> tls;  // nullptr: without TLS
};

/// What a worker is told at the start and by a reload.
struct WorkerUpdate {
  std::shared_ptr<const proxy::PublishedConfig> published;
  std::vector<WorkerListener> listeners;  // all of them: what is missing here is closed
  store::StoreBackend* store = nullptr;   // where some route keeps records; outlives the worker
};

class Worker {
 public:
  /// `on_drained` is called on the worker's thread after drain(), when its last connection has
  /// ended. `replica` is unique to this process.
  Worker(int number, proxy::SharedUpstreams& upstreams, proxy::KeyBoard& board,
         std::string_view replica, Metrics& metrics, LogSink& access_sink, Logger& logger,
         const proxy::LogConfig& log, ConnectionGate& gate, std::shared_ptr<net::NameService> names,
         std::function<void()> on_drained);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  /// Puts a configuration into use, then calls `done` on the worker's thread.
  void update(WorkerUpdate update, std::function<void()> done);
  /// Closes listeners and idle connections, and lets the others finish.
  void drain();
  /// Ends the executions of keyed requests that still run, and has their records say so; then calls
  /// `done` on the worker's thread.
  void cut(std::function<void()> done);

 private:
  class Loop;

  AccessLog access_log_;
  Loop* loop_ = nullptr;  // lives on the thread's stack, between start and join
  std::thread thread_;
};

}  // namespace holdfast::app
