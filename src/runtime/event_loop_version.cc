#include "holdfast/runtime/event_loop_version.h"

#include <uv.h>

namespace holdfast::runtime {

std::string libuv_version() {
  return uv_version_string();
}

}  // namespace holdfast::runtime
