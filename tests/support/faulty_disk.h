// FaultyDisk: the disk under SQLite, which a test can make fail, or hold, or count. It takes the
// place of SQLite's default access to files for as long as it lives.
//
// Contract: one at a time; made before the file is opened and gone after it is closed. The switches
// may be thrown from any thread.
#pragma once

#include <doctest/doctest.h>
#include <sqlite3.h>

#include <atomic>
#include <condition_variable>
#include <list>
#include <mutex>

namespace holdfast::test {

class FaultyDisk {
 public:
  FaultyDisk() : system_(sqlite3_vfs_find(nullptr)), vfs_(*system_) {
    REQUIRE(instance_ == nullptr);
    instance_ = this;
    vfs_.zName = "faulty";
    vfs_.xOpen = &FaultyDisk::open;
    REQUIRE(sqlite3_vfs_register(&vfs_, 1) == SQLITE_OK);
  }
  ~FaultyDisk() {
    sqlite3_vfs_unregister(&vfs_);
    sqlite3_vfs_register(system_, 1);
    instance_ = nullptr;
  }
  FaultyDisk(const FaultyDisk&) = delete;
  FaultyDisk& operator=(const FaultyDisk&) = delete;

  /// From now on, with an error of SQLite: SQLITE_FULL, SQLITE_IOERR_WRITE, SQLITE_IOERR_FSYNC, …
  std::atomic<int> write_error = SQLITE_OK;
  std::atomic<int> sync_error = SQLITE_OK;
  std::atomic<int> syncs = 0;

  /// Every write waits until release().
  void hold() {
    const std::lock_guard lock(mutex_);
    held_ = true;
  }
  void release() {
    {
      const std::lock_guard lock(mutex_);
      held_ = false;
    }
    released_.notify_all();
  }
  /// Waits until a write waits.
  void wait_for_held_write() {
    std::unique_lock lock(mutex_);
    arrived_.wait(lock, [this] { return waiting_; });
  }

 private:
  static int open(sqlite3_vfs*, sqlite3_filename path, sqlite3_file* file, int flags, int* out) {
    const int code = instance_->system_->xOpen(instance_->system_, path, file, flags, out);
    if (code != SQLITE_OK || file->pMethods == nullptr) return code;
    file->pMethods = instance_->wrapped(file->pMethods);
    return SQLITE_OK;
  }

  static int write(sqlite3_file* file, const void* bytes, int size, sqlite3_int64 offset) {
    instance_->wait_while_held();
    const int error = instance_->write_error;
    return error != SQLITE_OK ? error : original(file).xWrite(file, bytes, size, offset);
  }
  static int sync(sqlite3_file* file, int flags) {
    ++instance_->syncs;
    const int error = instance_->sync_error;
    return error != SQLITE_OK ? error : original(file).xSync(file, flags);
  }

  // The system has other methods for a database than for its log. Files are opened on one thread at
  // a time, and what is in the list stays where it is.
  struct Wrapped {
    const sqlite3_io_methods* original;
    sqlite3_io_methods methods;
  };
  const sqlite3_io_methods* wrapped(const sqlite3_io_methods* methods) {
    for (const Wrapped& each : wrapped_) {
      if (each.original == methods) return &each.methods;
    }
    Wrapped& added = wrapped_.emplace_back(Wrapped{methods, *methods});
    added.methods.xWrite = &FaultyDisk::write;
    added.methods.xSync = &FaultyDisk::sync;
    return &added.methods;
  }
  static const sqlite3_io_methods& original(sqlite3_file* file) {
    for (const Wrapped& each : instance_->wrapped_) {
      if (&each.methods == file->pMethods) return *each.original;
    }
    return *file->pMethods;
  }

  void wait_while_held() {
    std::unique_lock lock(mutex_);
    if (!held_) return;
    waiting_ = true;
    arrived_.notify_all();
    released_.wait(lock, [this] { return !held_; });
    waiting_ = false;
  }

  inline static FaultyDisk* instance_ = nullptr;
  sqlite3_vfs* const system_;
  sqlite3_vfs vfs_;
  std::list<Wrapped> wrapped_;

  std::mutex mutex_;
  std::condition_variable arrived_;
  std::condition_variable released_;
  bool held_ = false;
  bool waiting_ = false;
};

}  // namespace holdfast::test
