// Task<T>: a coroutine that is awaited by its owner. The only form of waiting in holdfast.
//
// Contract:
// - A Task is lazy: it runs when it is awaited, or by start(), on the loop's thread, up to its
//   first suspension. A result is taken once, by the co_await or by take().
// - Direct resume: await_suspend runs the child and does not suspend if the child ends at once;
//   else the parent is resumed from the child's final_suspend. (Symmetric transfer overflows the
//   stack under sanitizers with g++ 12; docs/adr/0001.)
// - To cancel is to destroy, from the loop or from another task, never from the task's own stack.
//   An awaiter's destructor unregisters it.
// - Parameters of a coroutine are references, views or trivially destructible (checked below),
//   because the parameters' copies are destroyed with the frame and g++ 12 gets that wrong for
//   others.
// - A statement with co_await is `co_await name;`, `T x = co_await f(names);` or
//   `co_return co_await f(names);` (checked by tests/tidy): g++ 12 destroys other temporaries
//   twice.
// - No exception leaves a coroutine: it terminates the program.
// Memory: frames come from a free list of the thread; live_frames() counts those that are out.
#pragma once

#include <coroutine>
#include <cstddef>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

#include "holdfast/base/assert.h"

namespace holdfast::runtime {

/// Frames of coroutines, kept by size for the next request. Thread-local, so without locks: a frame
/// is freed on the thread that made it.
void* allocate_frame(std::size_t size);
void free_frame(void* frame, std::size_t size) noexcept;
/// Frames of this thread that are alive. Zero after a drain.
std::size_t live_frames() noexcept;
/// Gives the free list of this thread back to the heap. The event loop's destructor calls it.
void release_free_frames() noexcept;

template <class T>
class Task;

namespace detail {

struct PromiseBase {
  /// Whoever waits for the end: a coroutine, or a Scope's entry. At most one of the two.
  std::coroutine_handle<> continuation;
  void (*on_done)(void*) noexcept = nullptr;
  void* on_done_argument = nullptr;
  bool started = false;

  static void* operator new(std::size_t size) { return allocate_frame(size); }
  static void operator delete(void* frame, std::size_t size) noexcept { free_frame(frame, size); }

  std::suspend_always initial_suspend() noexcept { return {}; }

  struct FinalAwaiter {
    bool await_ready() noexcept { return false; }
    // The frame may be gone when the call returns: nothing of it is touched afterwards.
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> self) noexcept {
      PromiseBase& promise = self.promise();
      if (promise.continuation) {
        promise.continuation.resume();
      } else if (promise.on_done != nullptr) {
        promise.on_done(promise.on_done_argument);
      }
    }
    void await_resume() noexcept {}
  };
  FinalAwaiter final_suspend() noexcept { return {}; }

  void unhandled_exception() noexcept { std::terminate(); }
};

template <class T>
struct Promise : PromiseBase {
  std::optional<T> result;

  Task<T> get_return_object() noexcept;
  template <class U>
  void return_value(U&& value) {
    result.emplace(std::forward<U>(value));
  }
  T take() {
    HOLDFAST_ASSERT(result.has_value());
    return std::move(*result);
  }
};

template <>
struct Promise<void> : PromiseBase {
  Task<void> get_return_object() noexcept;
  void return_void() noexcept {}
  void take() noexcept {}
};

}  // namespace detail

template <class T>
class [[nodiscard]] Task {
 public:
  using promise_type = detail::Promise<T>;
  using Handle = std::coroutine_handle<promise_type>;

  Task() = default;
  explicit Task(Handle handle) noexcept : handle_(handle) {}
  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Task& operator=(Task&& other) noexcept {
    if (this != &other) {
      reset();
      handle_ = std::exchange(other.handle_, nullptr);
    }
    return *this;
  }
  ~Task() { reset(); }

  /// True if there is a coroutine, finished or not.
  explicit operator bool() const { return handle_ != nullptr; }
  bool started() const { return handle_ && handle_.promise().started; }
  bool done() const { return handle_ && handle_.done(); }

  /// Runs it up to its first suspension. REQUIRES: not started.
  void start() {
    HOLDFAST_ASSERT(handle_ && !handle_.promise().started);
    handle_.promise().started = true;
    handle_.resume();
  }

  /// The result. REQUIRES: done(), and not taken before.
  T take() {
    HOLDFAST_ASSERT(done());
    return handle_.promise().take();
  }

  /// Cancels: destroys the frame, if there is one.
  void reset() {
    if (Handle handle = std::exchange(handle_, nullptr)) handle.destroy();
  }

  detail::PromiseBase& promise() { return handle_.promise(); }

  class Awaiter {
   public:
    explicit Awaiter(Task& child) noexcept : child_(child) {}
    Awaiter(const Awaiter&) = delete;
    Awaiter& operator=(const Awaiter&) = delete;
    // The parent may be destroyed while a child that is not its own goes on.
    ~Awaiter() { forget(); }

    bool await_ready() const noexcept { return child_.done(); }
    bool await_suspend(std::coroutine_handle<> parent) {
      if (!child_.started()) child_.start();
      if (child_.done()) return false;
      child_.promise().continuation = parent;
      waiting_ = true;
      return true;
    }
    T await_resume() {
      forget();
      return child_.take();
    }

   private:
    void forget() {
      if (std::exchange(waiting_, false) && child_) child_.promise().continuation = nullptr;
    }

    Task& child_;
    bool waiting_ = false;
  };
  Awaiter operator co_await() noexcept {
    HOLDFAST_ASSERT(handle_ != nullptr);
    return Awaiter(*this);
  }

 private:
  Handle handle_ = nullptr;
};

namespace detail {
template <class T>
Task<T> Promise<T>::get_return_object() noexcept {
  return Task<T>(std::coroutine_handle<Promise<T>>::from_promise(*this));
}
inline Task<void> Promise<void>::get_return_object() noexcept {
  return Task<void>(std::coroutine_handle<Promise<void>>::from_promise(*this));
}

template <class Parameter>
inline constexpr bool safe_parameter =
    std::is_reference_v<Parameter> || std::is_trivially_destructible_v<Parameter>;
}  // namespace detail

/// Waits until one of two tasks has ended; starts those that have not begun, in order, until one
/// has ended. Neither is consumed: ask done() and take(); the other goes on, to be awaited again or
/// destroyed by its owner.
///   co_await first_of(a, b);
template <class A, class B>
class [[nodiscard]] FirstOf {
 public:
  FirstOf(Task<A>& a, Task<B>& b) : a_(a), b_(b) {}
  FirstOf(const FirstOf&) = delete;
  FirstOf& operator=(const FirstOf&) = delete;
  ~FirstOf() { forget(); }

  bool await_ready() const { return a_.done() || b_.done(); }
  bool await_suspend(std::coroutine_handle<> parent) {
    if (!a_.started()) a_.start();
    if (a_.done()) return false;
    if (!b_.started()) b_.start();
    if (b_.done() || a_.done()) return false;  // starting one may have ended the other
    a_.promise().continuation = parent;
    b_.promise().continuation = parent;
    waiting_ = true;
    return true;
  }
  void await_resume() { forget(); }

 private:
  // Only what was set here is taken back; a task whose owner reset it has no promise left.
  void forget() {
    if (!std::exchange(waiting_, false)) return;
    if (a_) a_.promise().continuation = nullptr;
    if (b_) b_.promise().continuation = nullptr;
  }

  Task<A>& a_;
  Task<B>& b_;
  bool waiting_ = false;
};

template <class A, class B>
FirstOf<A, B> first_of(Task<A>& a, Task<B>& b) {
  return FirstOf<A, B>(a, b);
}

}  // namespace holdfast::runtime

/// Checks the parameters of every coroutine that returns a Task; see the contract above.
template <class T, class... Parameters>
struct std::coroutine_traits<holdfast::runtime::Task<T>, Parameters...> {
  static_assert((holdfast::runtime::detail::safe_parameter<Parameters> && ...),
                "parameters of a coroutine are references, views or trivially destructible");
  using promise_type = holdfast::runtime::detail::Promise<T>;
};
