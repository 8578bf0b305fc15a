// The cells that metrics are counted in: made for one thread that writes and any that reads.
//
// Contract: every cell and every SlotTable has one owner, the only thread that may write. The owner
// never waits for a reader but to add a row, and counts with plain loads and stores: no lock, no
// lock-prefixed instruction. A reader sees each number whole; numbers of one scrape may be moments
// apart, but none ever goes back.
// Limits: rows stay for the life of the table, so keys must come from the configuration or from a
// small closed set, never from a client.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "holdfast/base/time.h"
#include "holdfast/proxy/observer.h"

namespace holdfast::app {

class Counter {
 public:
  using Total = std::uint64_t;

  void add(std::uint64_t amount = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
  }
  void add_to(Total& total) const { total += value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

/// A worker's share of what there is at a moment; the sum over all workers is never below 0.
class Gauge {
 public:
  using Total = std::int64_t;

  void change(std::int64_t by) {
    value_.store(value_.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
  }
  void add_to(Total& total) const { total += value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::int64_t> value_{0};
};

/// Durations from half a millisecond to a minute, each bound about twice the one before: fine
/// enough for a sidecar's own share below, and for every time-out of the defaults above.
class Histogram {
 public:
  static constexpr std::array bounds = std::to_array<Duration>({
      std::chrono::microseconds(500),
      std::chrono::milliseconds(1),
      std::chrono::microseconds(2500),
      std::chrono::milliseconds(5),
      std::chrono::milliseconds(10),
      std::chrono::milliseconds(25),
      std::chrono::milliseconds(50),
      std::chrono::milliseconds(100),
      std::chrono::milliseconds(250),
      std::chrono::milliseconds(500),
      std::chrono::seconds(1),
      std::chrono::milliseconds(2500),
      std::chrono::seconds(5),
      std::chrono::seconds(10),
      std::chrono::seconds(30),
      std::chrono::seconds(60),
  });

  struct Total {
    /// Not cumulative; the last one counts what is longer than every bound.
    std::array<std::uint64_t, bounds.size() + 1> counts{};
    std::uint64_t nanoseconds = 0;

    std::uint64_t samples() const {
      std::uint64_t sum = 0;
      for (const std::uint64_t count : counts) sum += count;
      return sum;
    }
  };

  /// A bound belongs to its bucket, as Prometheus' `le` says.
  void observe(Duration duration) {
    const auto bucket = std::ranges::lower_bound(bounds, duration) - bounds.begin();
    counts_[static_cast<std::size_t>(bucket)].add();
    nanoseconds_.add(static_cast<std::uint64_t>(std::max(duration, Duration::zero()).count()));
  }

  void add_to(Total& total) const {
    for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i].add_to(total.counts[i]);
    nanoseconds_.add_to(total.nanoseconds);
  }

 private:
  std::array<Counter, bounds.size() + 1> counts_;
  Counter nanoseconds_;
};

/// Cells found by a slot and a key. A slot has few keys in use (a method, its statuses), so they
/// are searched one by one; that is some nanoseconds, and nothing is hashed or allocated but for a
/// new row.
template <class Key, class Cell>
class SlotTable {
 public:
  using KeyType = Key;
  using Total = typename Cell::Total;

  /// The owner's own: the cell of `slot` and `key`, made if it is new.
  template <class KeyView>
  Cell& at(proxy::Slot slot, const KeyView& key) {
    // No lock to look: nobody else ever changes the rows.
    if (slot < slots_.size()) {
      for (const Row& row : slots_[slot]) {
        if (row.key == key) return *row.cell;
      }
    }
    return insert(slot, Key(key));
  }

  /// Any thread: calls visit(slot, key, cell) for every row, in no certain order.
  template <class Visit>
  void for_each(Visit visit) const {
    const std::lock_guard lock(mutex_);
    for (std::size_t slot = 0; slot < slots_.size(); ++slot) {
      for (const Row& row : slots_[slot]) {
        visit(static_cast<proxy::Slot>(slot), row.key, *row.cell);
      }
    }
  }

 private:
  struct Row {
    Key key;
    std::unique_ptr<Cell> cell;  // stays where it is when the row moves
  };

  Cell& insert(proxy::Slot slot, Key key) {
    const std::lock_guard lock(mutex_);
    if (slot >= slots_.size()) slots_.resize(slot + 1);
    return *slots_[slot].emplace_back(Row{std::move(key), std::make_unique<Cell>()}).cell;
  }

  mutable std::mutex mutex_;  // held to add a row, and to read them from another thread
  std::vector<std::vector<Row>> slots_;
};

}  // namespace holdfast::app
