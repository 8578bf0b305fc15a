// HOLDFAST_ASSERT checks what this program promises itself; it stays on in release builds.
//
// Contract: the condition speaks of our own state, never of outside input (a client, an upstream, a
// file): those get an Error. A failed assert prints the place and aborts.
#pragma once

namespace holdfast {

[[noreturn]] void assert_failed(const char* condition, const char* file, int line) noexcept;

}  // namespace holdfast

#define HOLDFAST_ASSERT(condition)        \
  (static_cast<bool>(condition) ? void(0) \
                                : ::holdfast::assert_failed(#condition, __FILE__, __LINE__))
