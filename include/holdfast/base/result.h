// Result<T, E>: a value or the reason why there is none, with the names of C++23's std::expected.
//
// Contract: value() and operator* REQUIRE has_value(); error() REQUIRES !has_value(). Both are
// asserted. A Result owns what it holds. It is [[nodiscard]]: an ignored failure is a bug.
#pragma once

#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

#include "holdfast/base/assert.h"

namespace holdfast {

struct Error;

/// Wraps an error so that it converts to any Result with that error type.
template <class E>
struct Unexpected {
  E error;
};

template <class E>
Unexpected<std::decay_t<E>> unexpected(E&& error) {
  return {std::forward<E>(error)};
}

template <class T, class E = Error>
class [[nodiscard]] Result {
 public:
  using value_type = T;
  using error_type = E;

  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  template <class F>
  Result(Unexpected<F> failure) : state_(std::in_place_index<1>, std::move(failure.error)) {}

  bool has_value() const { return state_.index() == 0; }
  explicit operator bool() const { return has_value(); }

  T& value() & { return *get(); }
  const T& value() const& { return *get(); }
  T&& value() && { return std::move(*get()); }
  T& operator*() & { return *get(); }
  const T& operator*() const& { return *get(); }
  T&& operator*() && { return std::move(*get()); }
  T* operator->() { return get(); }
  const T* operator->() const { return get(); }

  E& error() & { return *get_error(); }
  const E& error() const& { return *get_error(); }
  E&& error() && { return std::move(*get_error()); }

 private:
  T* get() {
    HOLDFAST_ASSERT(has_value());
    return std::get_if<0>(&state_);
  }
  const T* get() const {
    HOLDFAST_ASSERT(has_value());
    return std::get_if<0>(&state_);
  }
  E* get_error() {
    HOLDFAST_ASSERT(!has_value());
    return std::get_if<1>(&state_);
  }
  const E* get_error() const {
    HOLDFAST_ASSERT(!has_value());
    return std::get_if<1>(&state_);
  }

  std::variant<T, E> state_;
};

/// Success without a value, or an error.
template <class E>
class [[nodiscard]] Result<void, E> {
 public:
  using value_type = void;
  using error_type = E;

  Result() = default;
  template <class F>
  Result(Unexpected<F> failure) : error_(std::move(failure.error)) {}

  bool has_value() const { return !error_.has_value(); }
  explicit operator bool() const { return has_value(); }

  E& error() & {
    HOLDFAST_ASSERT(!has_value());
    return *error_;
  }
  const E& error() const& {
    HOLDFAST_ASSERT(!has_value());
    return *error_;
  }
  E&& error() && {
    HOLDFAST_ASSERT(!has_value());
    return std::move(*error_);
  }

 private:
  std::optional<E> error_;
};

}  // namespace holdfast
