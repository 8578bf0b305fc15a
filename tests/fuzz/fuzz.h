// What the fuzz targets share. Each target is one function from bytes to nothing: whatever the
// bytes are, the code under test neither crashes nor breaks a promise of its header; promise() says
// which one it broke.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace holdfast::fuzz {

/// Ends the program, with the input kept by the fuzzer, if a promise was broken.
inline void promise(bool kept, const char* what) {
  if (kept) return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

/// The bytes of one run, taken from the front: first what decides, then what is read.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size)
      : rest_(reinterpret_cast<const char*>(data), size) {}

  /// 0 when nothing is left.
  std::uint8_t byte() {
    if (rest_.empty()) return 0;
    const auto first = static_cast<std::uint8_t>(rest_.front());
    rest_.remove_prefix(1);
    return first;
  }
  std::string_view rest() const { return rest_; }
  /// At most `most` bytes.
  std::string_view take(std::size_t most) {
    const std::string_view taken = rest_.substr(0, most);
    rest_.remove_prefix(taken.size());
    return taken;
  }
  /// What stands before the first line end, which goes too; all that is left without one.
  std::string_view line() {
    const std::size_t end = rest_.find('\n');
    const std::string_view taken = take(end);
    take(1);
    return taken;
  }

 private:
  std::string_view rest_;
};

/// Cuts bytes into pieces of `step`, so that a verdict can be compared with that of one piece.
class Cuts {
 public:
  Cuts(std::string_view bytes, std::size_t step)
      : rest_(bytes), step_(std::max<std::size_t>(step, 1)) {}

  /// What has arrived and was not consumed. Grows by next().
  std::string_view input() const { return rest_.substr(0, arrived_); }
  void consume(std::size_t count) {
    rest_.remove_prefix(count);
    arrived_ -= count;
  }
  /// False when everything has arrived.
  bool next() {
    if (arrived_ == rest_.size()) return false;
    arrived_ = std::min(rest_.size(), arrived_ + step_);
    return true;
  }

 private:
  std::string_view rest_;
  std::size_t arrived_ = 0;
  std::size_t step_;
};

}  // namespace holdfast::fuzz
