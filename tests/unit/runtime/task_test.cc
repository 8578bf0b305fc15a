#include "holdfast/runtime/task.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace holdfast::runtime {
namespace {

// Something to wait for by hand: each awaiter stands in line until release() resumes the oldest.
class Gate {
 public:
  class Awaiter {
   public:
    explicit Awaiter(Gate& gate) : gate_(gate) {}
    Awaiter(const Awaiter&) = delete;
    Awaiter& operator=(const Awaiter&) = delete;
    ~Awaiter() {
      if (waiting_) std::erase(gate_.waiters_, this);
    }
    bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> handle) {
      handle_ = handle;
      waiting_ = true;
      gate_.waiters_.push_back(this);
    }
    void await_resume() {}

   private:
    friend class Gate;
    Gate& gate_;
    std::coroutine_handle<> handle_;
    bool waiting_ = false;
  };

  Awaiter operator co_await() { return Awaiter(*this); }

  void release() {
    REQUIRE(!waiters_.empty());
    Awaiter* awaiter = waiters_.front();
    waiters_.erase(waiters_.begin());
    awaiter->waiting_ = false;
    awaiter->handle_.resume();
  }
  std::size_t waiting() const { return waiters_.size(); }

 private:
  std::vector<Awaiter*> waiters_;
};

// Counts how many of it are alive: destroyed twice or never shows.
class Tracked {
 public:
  explicit Tracked(int& alive) : alive_(&alive) { ++*alive_; }
  Tracked(Tracked&& other) noexcept : alive_(other.alive_) { ++*alive_; }
  Tracked(const Tracked&) = delete;
  Tracked& operator=(const Tracked&) = delete;
  ~Tracked() { --*alive_; }

 private:
  int* alive_;
  std::string heap_ = std::string(100, 'x');
};

Task<int> immediate(int value) {
  co_return value;
}

Task<int> gated(Gate& gate, int value) {
  co_await gate;
  co_return value;
}

Task<std::string> described(Gate& gate, int& alive) {
  const Tracked before(alive);
  const int first = co_await gated(gate, 1);
  const Tracked between(alive);
  const int second = co_await gated(gate, 2);
  const std::string text = std::to_string(first) + std::to_string(second);
  co_return text;
}

Task<std::size_t> measured(Gate& gate, int& alive) {
  const Tracked local(alive);
  const std::string text = co_await described(gate, alive);
  co_await gate;
  co_return text.size();
}

Task<Tracked> made(Gate& gate, int& alive) {
  co_await gate;
  co_return Tracked(alive);
}

TEST_CASE("a task is lazy, runs to its first suspension and gives its result once") {
  Gate gate;
  {
    Task<int> task = gated(gate, 7);
    CHECK_FALSE(task.started());
    CHECK(gate.waiting() == 0);
    task.start();
    CHECK(task.started());
    CHECK_FALSE(task.done());
    gate.release();
    REQUIRE(task.done());
    CHECK(task.take() == 7);
  }
  CHECK(live_frames() == 0);
}

TEST_CASE("a task that was never started is freed") {
  Gate gate;
  int alive = 0;
  {
    const Task<std::size_t> task = measured(gate, alive);
    CHECK(live_frames() == 1);
    CHECK(alive == 0);
  }
  CHECK(live_frames() == 0);
}

TEST_CASE("destroying a task at any of its suspensions frees everything below it") {
  const int suspensions = 3;
  for (int destroyed_at = 0; destroyed_at <= suspensions; ++destroyed_at) {
    CAPTURE(destroyed_at);
    Gate gate;
    int alive = 0;
    {
      Task<std::size_t> task = measured(gate, alive);
      task.start();
      for (int i = 0; i < destroyed_at; ++i) gate.release();
      CHECK(task.done() == (destroyed_at == suspensions));
      if (task.done()) CHECK(task.take() == 2);
    }
    CHECK(alive == 0);
    CHECK(gate.waiting() == 0);
    CHECK(live_frames() == 0);
  }
}

TEST_CASE("a result that nobody takes is freed with its task") {
  Gate gate;
  int alive = 0;
  {
    Task<Tracked> task = made(gate, alive);
    task.start();
    gate.release();
    CHECK(task.done());
    CHECK(alive == 1);
  }
  CHECK(alive == 0);
}

TEST_CASE("moving a task moves the ownership, assigning destroys what was there") {
  Gate gate;
  int alive = 0;
  Task<std::size_t> first = measured(gate, alive);
  first.start();
  Task<std::size_t> second = std::move(first);
  CHECK_FALSE(static_cast<bool>(first));
  CHECK(second.started());
  second = measured(gate, alive);
  CHECK(alive == 0);
  CHECK(gate.waiting() == 0);
  CHECK_FALSE(second.started());
  second.reset();
  second.reset();
  CHECK(live_frames() == 0);
}

Task<std::uint64_t> sum_of_immediate(int count) {
  std::uint64_t sum = 0;
  for (int i = 0; i < count; ++i) {
    const int value = co_await immediate(i);
    sum += static_cast<std::uint64_t>(value);
  }
  co_return sum;
}

TEST_CASE("a million synchronous completions do not grow the stack") {
  Task<std::uint64_t> task = sum_of_immediate(1'000'000);
  task.start();
  REQUIRE(task.done());
  CHECK(task.take() == 499'999'500'000u);
}

Task<int> gated_loop(Gate& gate, int count) {
  int sum = 0;
  for (int i = 0; i < count; ++i) {
    const int value = co_await gated(gate, 1);
    sum += value;
  }
  co_return sum;
}

TEST_CASE("a hundred thousand resumptions do not grow the stack") {
  Gate gate;
  Task<int> task = gated_loop(gate, 100'000);
  task.start();
  while (!task.done()) gate.release();
  CHECK(task.take() == 100'000);
}

Task<int> nested(Gate& gate, int depth) {
  if (depth == 0) {
    co_await gate;
    co_return 0;
  }
  const int below = co_await nested(gate, depth - 1);
  co_return below + 1;
}

TEST_CASE("a deep nest comes back up, and is freed when it is cancelled") {
  Gate gate;
  const int depth = 1000;
  {
    Task<int> task = nested(gate, depth);
    task.start();
    CHECK(live_frames() == depth + 1);
    gate.release();
    REQUIRE(task.done());
    CHECK(task.take() == depth);
  }
  CHECK(live_frames() == 0);
  {
    Task<int> task = nested(gate, depth);
    task.start();
  }
  CHECK(live_frames() == 0);
  CHECK(gate.waiting() == 0);
}

Task<int> awaits_named(Task<int>& child) {
  const int value = co_await child;
  co_return value;
}

TEST_CASE("a parent that is destroyed leaves a child that is not its own to go on") {
  Gate gate;
  Task<int> child = gated(gate, 5);
  {
    Task<int> parent = awaits_named(child);
    parent.start();
  }
  CHECK(live_frames() == 1);
  gate.release();
  REQUIRE(child.done());

  Task<int> second_parent = awaits_named(child);
  second_parent.start();
  REQUIRE(second_parent.done());
  CHECK(second_parent.take() == 5);
}

TEST_CASE("a child that was started by hand can be awaited later") {
  Gate gate;
  Task<int> child = gated(gate, 6);
  child.start();
  Task<int> parent = awaits_named(child);
  parent.start();
  gate.release();
  REQUIRE(parent.done());
  CHECK(parent.take() == 6);
}

// ---- first_of

struct Race {
  Gate gate_a;
  Gate gate_b;
  Task<int> a = gated(gate_a, 1);
  Task<int> b = gated(gate_b, 2);
};

Task<void> wait_first(Task<int>& a, Task<int>& b, int& rounds) {
  co_await first_of(a, b);
  ++rounds;
}

TEST_CASE("first_of ends with whichever ends first, and leaves the other running") {
  for (const bool a_first : {true, false}) {
    CAPTURE(a_first);
    Race race;
    int rounds = 0;
    Task<void> waiting = wait_first(race.a, race.b, rounds);
    waiting.start();
    CHECK(rounds == 0);
    (a_first ? race.gate_a : race.gate_b).release();
    CHECK(rounds == 1);
    CHECK(race.a.done() == a_first);
    CHECK(race.b.done() != a_first);
    // The other goes on and nobody is resumed by its end.
    (a_first ? race.gate_b : race.gate_a).release();
    CHECK(rounds == 1);
    CHECK(race.a.take() == 1);
    CHECK(race.b.take() == 2);
  }
}

TEST_CASE("first_of does not suspend when one has ended before") {
  for (const int done_before : {1, 2, 3}) {
    CAPTURE(done_before);
    Race race;
    if ((done_before & 1) != 0) {
      race.a.start();
      race.gate_a.release();
    }
    if ((done_before & 2) != 0) {
      race.b.start();
      race.gate_b.release();
    }
    int rounds = 0;
    Task<void> waiting = wait_first(race.a, race.b, rounds);
    waiting.start();
    CHECK(rounds == 1);
  }
}

TEST_CASE("first_of starts the second only if the first did not end at once") {
  Task<int> a = immediate(1);
  Task<int> b = immediate(2);
  int rounds = 0;
  Task<void> waiting = wait_first(a, b, rounds);
  waiting.start();
  CHECK(rounds == 1);
  CHECK(a.done());
  CHECK_FALSE(b.started());
}

TEST_CASE("first_of notices an immediate second") {
  Gate gate;
  Task<int> a = gated(gate, 1);
  Task<int> b = immediate(2);
  int rounds = 0;
  Task<void> waiting = wait_first(a, b, rounds);
  waiting.start();
  CHECK(rounds == 1);
  CHECK_FALSE(a.done());
  CHECK(b.done());
}

Task<int> releases(Gate& gate, Gate& own) {
  gate.release();
  co_await own;
  co_return 3;
}

TEST_CASE("first_of notices when the start of the second ends the first") {
  Gate gate;
  Gate own;
  Task<int> a = gated(gate, 1);
  Task<int> b = releases(gate, own);
  int rounds = 0;
  Task<void> waiting = wait_first(a, b, rounds);
  waiting.start();
  CHECK(rounds == 1);
  CHECK(a.done());
}

Task<void> wait_twice(Task<int>& a, Task<int>& b, int& rounds) {
  co_await first_of(a, b);
  ++rounds;
  if (a.done()) {
    co_await b;
  } else {
    co_await a;
  }
  ++rounds;
}

TEST_CASE("the task that lost is awaited again") {
  for (const bool a_first : {true, false}) {
    CAPTURE(a_first);
    Race race;
    int rounds = 0;
    Task<void> waiting = wait_twice(race.a, race.b, rounds);
    waiting.start();
    (a_first ? race.gate_a : race.gate_b).release();
    CHECK(rounds == 1);
    (a_first ? race.gate_b : race.gate_a).release();
    CHECK(rounds == 2);
  }
}

TEST_CASE("first_of destroyed while it waits is never resumed") {
  Race race;
  int rounds = 0;
  {
    Task<void> waiting = wait_first(race.a, race.b, rounds);
    waiting.start();
  }
  race.gate_a.release();
  race.gate_b.release();
  CHECK(rounds == 0);
  CHECK(race.a.done());
  CHECK(race.b.done());
}

Task<int> race_of_own(Gate& gate_a, Gate& gate_b) {
  Task<int> a = gated(gate_a, 1);
  Task<int> b = gated(gate_b, 2);
  co_await first_of(a, b);
  const int winner = a.done() ? a.take() : b.take();
  co_return winner;
}

TEST_CASE("the loser of a race in one frame is cancelled with it") {
  for (const bool a_first : {true, false}) {
    CAPTURE(a_first);
    Gate gate_a;
    Gate gate_b;
    {
      Task<int> task = race_of_own(gate_a, gate_b);
      task.start();
      (a_first ? gate_a : gate_b).release();
      REQUIRE(task.done());
      CHECK(task.take() == (a_first ? 1 : 2));
    }
    CHECK(gate_a.waiting() + gate_b.waiting() == 0);
    CHECK(live_frames() == 0);
  }
}

TEST_CASE("a race is cancelled as a whole") {
  Gate gate_a;
  Gate gate_b;
  {
    Task<int> task = race_of_own(gate_a, gate_b);
    task.start();
    CHECK(gate_a.waiting() + gate_b.waiting() == 2);
  }
  CHECK(gate_a.waiting() + gate_b.waiting() == 0);
  CHECK(live_frames() == 0);
}

TEST_CASE("frames of every size come back, from the free list or the heap") {
  for (int round = 0; round < 3; ++round) {
    std::vector<std::pair<void*, std::size_t>> frames;
    for (std::size_t size = 1; size < 8192; size += 61) {
      void* frame = allocate_frame(size);
      std::fill_n(static_cast<char*>(frame), size, static_cast<char>(round));
      frames.emplace_back(frame, size);
    }
    CHECK(live_frames() == frames.size());
    for (const auto& [frame, size] : frames) free_frame(frame, size);
    CHECK(live_frames() == 0);
    release_free_frames();
  }
}

}  // namespace
}  // namespace holdfast::runtime
