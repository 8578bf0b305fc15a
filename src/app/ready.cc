#include "holdfast/app/ready.h"

#include <fmt/format.h>

#include "holdfast/app/admin_client.h"

namespace holdfast::app {

Result<void, std::string> ask_ready(const net::Address& admin, Duration timeout) {
  const auto answer = admin_get(admin, "/readyz", timeout);
  if (!answer) return unexpected(answer.error());
  if (answer->status == 200) return {};
  return unexpected(fmt::format("it answered {}", answer->status_line));
}

}  // namespace holdfast::app
