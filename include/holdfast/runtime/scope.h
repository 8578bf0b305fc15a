// Scope: owns tasks that nobody awaits. Nothing in holdfast is detached: it is awaited, or it is
// here.
//
// Contract: single-threaded. spawn() starts the task at once; when it ends its frame is freed. The
// destructor destroys (cancels) what still runs; it must not run on the stack of one of those
// tasks.
#pragma once

#include <cstddef>

#include "holdfast/runtime/task.h"
#include "holdfast/runtime/timers.h"

namespace holdfast::runtime {

class Scope {
 public:
  Scope() = default;
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;
  ~Scope() { cancel_all(); }

  class Entry;
  /// Starts the task and owns it. The entry is valid until the task has ended.
  Entry* spawn(Task<void> task);
  /// Destroys one task that still runs. Not from that task's own stack.
  void cancel(Entry* entry);
  /// Destroys every task that still runs, newest first.
  void cancel_all();
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  /// Given when the last task has ended.
  Signal& emptied() { return emptied_; }

 private:
  static void ended(void* entry) noexcept;
  void unlink(Entry& entry);

  Entry* newest_ = nullptr;
  std::size_t size_ = 0;
  Signal emptied_;
};

}  // namespace holdfast::runtime
