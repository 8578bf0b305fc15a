#include "holdfast/app/access_log.h"

#include <algorithm>
#include <string_view>

#include "holdfast/base/text.h"
#include "holdfast/base/text_writer.h"

namespace holdfast::app {
namespace {

void append_milliseconds(TextWriter& out, Duration duration) {
  const auto whole = std::chrono::floor<std::chrono::microseconds>(duration).count();
  const auto microseconds = static_cast<std::uint64_t>(std::max<std::int64_t>(whole, 0));
  out.append_number(microseconds / 1000);
  const auto digit = [microseconds](unsigned unit) {
    return static_cast<char>('0' + microseconds / unit % 10);
  };
  const char fraction[] = {'.', digit(100), digit(10), digit(1)};
  out.append({fraction, sizeof fraction});
}

void append_quoted(TextWriter& out, std::string_view text) {
  out.push_back('"');
  if (is_plain_json(text)) {
    out.append(text);
  } else {
    std::string escaped;
    append_json_escaped(escaped, text);
    out.append(escaped);
  }
  out.push_back('"');
}

/// The line's members as JSON. A name comes as it is written, with what stands around it:
/// `,"status":`.
class JsonMembers {
 public:
  explicit JsonMembers(TextWriter& out) : out_(out) {}

  void time(std::string_view name, WallTime time) {
    out_.append(name).append("\"").append(rfc3339(time)).append("\"");
  }
  void text(std::string_view name, std::string_view value) {
    if (value.empty()) return null(name);
    out_.append(name);
    append_quoted(out_, value);
  }
  void number(std::string_view name, std::uint64_t value) {
    out_.append(name).append_number(value);
  }
  void milliseconds(std::string_view name, Duration value) {
    out_.append(name);
    append_milliseconds(out_, value);
  }
  void boolean(std::string_view name, bool value) {
    out_.append(name).append(value ? "true" : "false");
  }
  void null(std::string_view name) { out_.append(name).append("null"); }

 private:
  TextWriter& out_;
};

}  // namespace

void append_access_line(std::string& out, const proxy::ExchangeRecord& record) {
  constexpr std::size_t usual_line = 768;
  TextWriter writer(out, usual_line);
  JsonMembers members(writer);
  members.time(R"({"time":)", record.started);
  members.text(R"(,"route":)", record.route_name);
  const bool has_text = !record.method_text.empty();
  members.text(R"(,"method":)", has_text ? record.method_text : http::label(record.method));
  members.text(R"(,"path":)", record.path);
  if (record.status == 0) {
    members.null(R"(,"status":)");
  } else {
    members.number(R"(,"status":)", static_cast<std::uint64_t>(record.status));
  }
  members.milliseconds(R"(,"duration_ms":)", record.duration);
  members.text(R"(,"upstream":)", record.upstream);
  members.text(R"(,"endpoint":)", record.endpoint);
  members.number(R"(,"attempts":)", static_cast<std::uint64_t>(record.attempts));
  members.text(R"(,"error":)", record.error);
  members.text(R"(,"breaker":)", record.breaker);
  members.text(R"(,"idempotency":)", record.idempotency);
  members.text(R"(,"idempotency_id":)", record.idempotency_id);
  members.boolean(R"(,"fallback":)", record.fallback);
  members.number(R"(,"bytes_in":)", record.bytes_in);
  members.number(R"(,"bytes_out":)", record.bytes_out);
  members.text(R"(,"request_id":)", record.request_id);
  members.text(R"(,"trace_id":)", record.trace_id);
  members.text(R"(,"client":)", record.client);
  writer.append("}\n");
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
