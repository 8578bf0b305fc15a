#include "holdfast/app/access_log.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <string_view>

#include "holdfast/base/text.h"

namespace holdfast::app {
namespace {

// Bytes that need no escape in JSON.
bool is_plain(char c) {
  return c > ' ' && c < '\x7f' && c != '"' && c != '\\';
}

void append_number(std::string& out, std::uint64_t number) {
  char digits[std::numeric_limits<std::uint64_t>::digits10 + 1];
  const auto end = std::to_chars(std::begin(digits), std::end(digits), number).ptr;
  out.append(digits, end);
}

void append_milliseconds(std::string& out, Duration duration) {
  const auto whole = std::chrono::floor<std::chrono::microseconds>(duration).count();
  const auto microseconds = static_cast<std::uint64_t>(std::max<std::int64_t>(whole, 0));
  append_number(out, microseconds / 1000);
  const auto digit = [microseconds](unsigned unit) {
    return static_cast<char>('0' + microseconds / unit % 10);
  };
  const char fraction[] = {'.', digit(100), digit(10), digit(1)};
  out.append(fraction, sizeof fraction);
}

void append_quoted(std::string& out, std::string_view text) {
  out += '"';
  if (std::ranges::all_of(text, is_plain)) {
    out += text;
  } else {
    append_json_escaped(out, text);
  }
  out += '"';
}

/// The line's members as JSON. A name comes with its quotes and colon, `"status":`, as it is
/// written.
class JsonMembers {
 public:
  explicit JsonMembers(std::string& out) : out_(out) { out_ += '{'; }

  void time(std::string_view name, WallTime time) {
    begin(name);
    out_ += '"';
    append_rfc3339(out_, time);
    out_ += '"';
  }
  void text(std::string_view name, std::string_view value) {
    if (value.empty()) return null(name);
    begin(name);
    append_quoted(out_, value);
  }
  void number(std::string_view name, std::uint64_t value) {
    begin(name);
    append_number(out_, value);
  }
  void milliseconds(std::string_view name, Duration value) {
    begin(name);
    append_milliseconds(out_, value);
  }
  void boolean(std::string_view name, bool value) {
    begin(name);
    out_ += value ? "true" : "false";
  }
  void null(std::string_view name) {
    begin(name);
    out_ += "null";
  }
  void end() { out_ += "}\n"; }

 private:
  void begin(std::string_view name) {
    out_ += first_ ? "\"" : ",\"";
    first_ = false;
    out_ += name;
    out_ += "\":";
  }

  std::string& out_;
  bool first_ = true;
};

}  // namespace

void append_access_line(std::string& out, const proxy::ExchangeRecord& record) {
  JsonMembers members(out);
  members.time("time", record.started);
  members.text("route", record.route_name);
  const bool has_text = !record.method_text.empty();
  members.text("method", has_text ? record.method_text : http::label(record.method));
  members.text("path", record.path);
  if (record.status == 0) {
    members.null("status");
  } else {
    members.number("status", static_cast<std::uint64_t>(record.status));
  }
  members.milliseconds("duration_ms", record.duration);
  members.text("upstream", record.upstream);
  members.text("endpoint", record.endpoint);
  members.number("attempts", static_cast<std::uint64_t>(record.attempts));
  members.text("error", record.error);
  members.text("breaker", record.breaker);
  members.text("idempotency", record.idempotency);
  members.text("idempotency_id", record.idempotency_id);
  members.boolean("fallback", record.fallback);
  members.number("bytes_in", record.bytes_in);
  members.number("bytes_out", record.bytes_out);
  members.text("request_id", record.request_id);
  members.text("trace_id", record.trace_id);
  members.text("client", record.client);
  members.end();
}

bool AccessLog::wants(const proxy::ExchangeRecord& record) const {
  switch (access_) {
    case proxy::AccessLog::all:
      return true;
    case proxy::AccessLog::errors:
      return record.status >= 500 || record.status == 0 || !record.error.empty() || record.fallback;
    case proxy::AccessLog::off:
      break;
  }
  return false;
}

void AccessLog::write(const proxy::ExchangeRecord& record) {
  if (!wants(record)) return;
  line_.clear();
  append_access_line(line_, record);
  sink_.append(line_);
}

}  // namespace holdfast::app
