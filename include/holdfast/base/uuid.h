// UUIDv7 (RFC 9562 §5.7): 48 bits of milliseconds since 1970, then chance.
#pragma once

#include <array>
#include <string_view>

#include "holdfast/base/rng.h"
#include "holdfast/base/time.h"

namespace holdfast {

class Uuid7 {
 public:
  Uuid7(WallTime now, Rng& rng);
  /// 36 characters, lower case. Lives as long as this object.
  std::string_view text() const { return {text_.data(), text_.size()}; }

 private:
  std::array<char, 36> text_;
};

}  // namespace holdfast
