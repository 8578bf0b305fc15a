// AccessLog: one line for each exchange, on stdout, in the members and the order of contract §5.
//
// A line is one JSON object, whatever log.format says: that is of the operational log. A member
//   without a value is null, so that every line has every member: `status` when the client left
//   before an answer began, `idempotency` where no key was looked at. `duration_ms` has
//   microseconds ("duration_ms":1.234).
// `access` of the configuration: `all`; `off`; `errors` keeps what an operator looks for after an
//   incident: a status of 500 or more, no status at all, an error by name (which includes requests
//   that holdfast refused), or a fallback that hid one. A 4xx that the upstream sent is no error.
//
// Contract: one for each worker, used on its thread only. Never blocks: a line that the sink cannot
// hold is dropped, and the sink counts it. Allocates nothing once its buffer has grown to the
// longest line. Text from outside (path, method, request id) cannot break out of its member or its
// line. Ownership: the sink is shared by all workers and must outlive this.
#pragma once

#include <string>

#include "holdfast/base/log.h"
#include "holdfast/proxy/config.h"
#include "holdfast/proxy/observer.h"

namespace holdfast::app {

class AccessLog {
 public:
  AccessLog(LogSink& sink, const proxy::LogConfig& config) : sink_(sink) { configure(config); }

  /// After a reload, on the worker's own thread.
  void configure(const proxy::LogConfig& config) { access_ = config.access; }

  void write(const proxy::ExchangeRecord& record);

 private:
  bool wants(const proxy::ExchangeRecord& record) const;

  LogSink& sink_;
  proxy::AccessLog access_ = proxy::AccessLog::all;
  std::string line_;  // kept for its capacity
};

/// Appends the line that `record` makes, newline and all.
void append_access_line(std::string& out, const proxy::ExchangeRecord& record);

}  // namespace holdfast::app
