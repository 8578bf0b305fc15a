#include "holdfast/runtime/scope.h"

#include <utility>

namespace holdfast::runtime {

class Scope::Entry {
 public:
  Scope* scope;
  Task<void> task;
  Entry* previous = nullptr;
  Entry* next = nullptr;
};

Scope::Entry* Scope::spawn(Task<void> task) {
  auto* entry = new Entry{this, std::move(task), nullptr, newest_};
  if (newest_ != nullptr) newest_->previous = entry;
  newest_ = entry;
  ++size_;
  entry->task.promise().on_done = &Scope::ended;
  entry->task.promise().on_done_argument = entry;
  entry->task.start();
  return entry;
}

void Scope::cancel(Entry* entry) {
  unlink(*entry);
  delete entry;
}

void Scope::ended(void* argument) noexcept {
  auto* entry = static_cast<Entry*>(argument);
  Scope& scope = *entry->scope;
  scope.unlink(*entry);
  delete entry;
  if (scope.size_ == 0) scope.emptied_.notify();
}

void Scope::unlink(Entry& entry) {
  if (entry.previous != nullptr) entry.previous->next = entry.next;
  if (entry.next != nullptr) entry.next->previous = entry.previous;
  if (newest_ == &entry) newest_ = entry.next;
  --size_;
}

void Scope::cancel_all() {
  while (newest_ != nullptr) {
    Entry* entry = newest_;
    unlink(*entry);
    delete entry;
  }
}

}  // namespace holdfast::runtime
