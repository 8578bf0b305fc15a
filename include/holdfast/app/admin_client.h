// AdminClient: asks the admin listener of a running instance, for the command line.
//
// Contract: blocks, for `timeout` at most. One connection for each question; the answer ends with
// it. Limits: 64 KiB for an answer.
#pragma once

#include <string>
#include <string_view>

#include "holdfast/base/result.h"
#include "holdfast/base/time.h"
#include "holdfast/net/address.h"

namespace holdfast::app {

struct AdminAnswer {
  std::string status_line;
  int status = 0;  // 0: the status line is not HTTP's
  std::string body;
};

/// GET `path`.
Result<AdminAnswer, std::string> admin_get(const net::Address& admin, std::string_view path,
                                           Duration timeout);
/// POST of a JSON text to `path`, as one who may change something.
Result<AdminAnswer, std::string> admin_post(const net::Address& admin, std::string_view path,
                                            std::string_view json, Duration timeout);

}  // namespace holdfast::app
