#include "holdfast/proxy/heads.h"

#include <algorithm>
#include <array>

#include "holdfast/base/text.h"
#include "holdfast/base/text_writer.h"
#include "holdfast/http/date.h"
#include "holdfast/http/problem.h"
#include "holdfast/http/stored_head.h"

namespace holdfast::proxy {
namespace {

using http::Field;
using http::FieldName;
using http::Fields;

/// Room for a head of usual size.
constexpr std::size_t usual_head = 512;

void append_field(TextWriter& out, std::string_view name, std::string_view value) {
  out.append(name).append(": ").append(value).append("\r\n");
}

void append_status_line(TextWriter& out, int status, std::string_view reason) {
  out.append("HTTP/1.1 ");
  out.append_number(static_cast<std::uint64_t>(status));
  out.push_back(' ');
  out.append(reason).append("\r\n");
}

/// The fields of one message that Connection names. Most messages have none, so this costs one
/// look-up. A field that holdfast knows to be end-to-end (Host, Authorization, Idempotency-Key, …)
/// stays whatever Connection says: naming it would only serve to strip it from under the upstream's
/// eyes.
class NamedByConnection {
 public:
  explicit NamedByConnection(const Fields& fields) : fields_(fields), any_(has_names(fields)) {}
  bool contains(const Field& field) const {
    return any_ && field.id == FieldName::other &&
           http::lists_token(fields_, FieldName::connection, field.name);
  }

 private:
  static bool has_names(const Fields& fields) {
    const Field* connection = fields.find(FieldName::connection);
    if (connection == nullptr) return false;
    return fields.count(FieldName::connection) > 1 ||
           !(iequals(connection->value, "keep-alive") || iequals(connection->value, "close"));
  }

  const Fields& fields_;
  bool any_;
};

void append_framing(TextWriter& out, BodyMode mode, std::uint64_t length) {
  if (mode == BodyMode::length) {
    out.append("Content-Length: ");
    out.append_number(length);
    out.append("\r\n");
  } else if (mode == BodyMode::chunked) {
    out.append("Transfer-Encoding: chunked\r\n");
  }
}

void append_trailer_names(TextWriter& out, std::span<const std::string> names) {
  if (names.empty()) return;
  out.append("Trailer: ");
  for (std::size_t i = 0; i < names.size(); ++i) out.append(i == 0 ? "" : ", ").append(names[i]);
  out.append("\r\n");
}

void append_date(TextWriter& out, WallTime now) {
  out.append("Date: ").append(http::http_date(now)).append("\r\n");
}

/// Every Via line and our own hop in one field.
void append_via(TextWriter& out, const Fields& fields, int minor_version, std::string_view name) {
  out.append("Via: ");
  for (const Field& field : fields) {
    if (field.id == FieldName::via) out.append(field.value).append(", ");
  }
  out.append(minor_version == 0 ? "1.0 " : "1.1 ").append(name).append("\r\n");
}

/// Proxy-Status is a list, so ours goes behind those of proxies nearer to the origin (RFC 9209 §2).
void append_proxy_status(TextWriter& out, const Fields* fields, std::string_view name,
                         std::string_view parameters, int attempts) {
  out.append("Proxy-Status: ");
  if (fields != nullptr) {
    for (const Field& field : *fields) {
      if (field.id == FieldName::proxy_status) out.append(field.value).append(", ");
    }
  }
  out.append(name);
  if (!parameters.empty()) out.append("; ").append(parameters);
  if (attempts > 1) {
    out.append("; attempts=");
    out.append_number(static_cast<std::uint64_t>(attempts));
  }
  out.append("\r\n");
}

constexpr std::string_view client_certificate_field = "X-Forwarded-Client-Cert";

bool is_client_certificate(const Field& field) {
  return field.id == FieldName::other && iequals(field.name, client_certificate_field);
}

/// True for what a client could only forge: holdfast sets it by itself.
bool is_forwarding_field(const Field& field) {
  return field.id == FieldName::x_forwarded_for || field.id == FieldName::x_forwarded_proto ||
         field.id == FieldName::x_forwarded_host ||
         (field.id == FieldName::other && is_forwarding_name(field.name));
}

/// True for a name that the route sets or removes by itself.
bool is_rewritten(std::string_view field, const RewriteConfig* rewrite) {
  if (rewrite == nullptr) return false;
  const auto same = [&](std::string_view name) { return iequals(name, field); };
  return std::ranges::any_of(rewrite->remove_headers, same) ||
         std::ranges::any_of(rewrite->set_headers,
                             [&](const auto& set) { return same(set.first); });
}

/// True for a field of the client's that does not go to the upstream as it stands.
bool is_replaced(const Field& field, const RequestEdits& edits) {
  switch (field.id) {
    case FieldName::host:
    case FieldName::content_length:
    case FieldName::expect:  // holdfast answers it by itself
    case FieldName::via:
    case FieldName::x_request_id:
    case FieldName::max_forwards:
      return true;
    default:
      break;
  }
  if (http::is_hop_by_hop(field.id) || is_forwarding_field(field)) return true;
  return !edits.deadline_header.empty() && iequals(field.name, edits.deadline_header);
}

/// A list with a part for each hop: what a trusted peer says of those before it, and `own`.
template <class IsIt>
void append_hops(TextWriter& out, const Fields& fields, const RequestEdits& edits,
                 std::string_view name, std::string_view own, IsIt is_it) {
  if (is_rewritten(name, edits.rewrite)) return;
  bool first = true;
  const auto append = [&](std::string_view part) {
    if (first) out.append(name).append(": ");
    out.append(first ? "" : ", ").append(part);
    first = false;
  };
  for (const Field& field : fields) {
    if (edits.peer_trusted && is_it(field)) append(field.value);
  }
  if (!own.empty()) append(own);
  if (!first) out.append("\r\n");
}

void append_forwarded(TextWriter& out, const http::RequestHead& request,
                      const RequestEdits& edits) {
  const Fields& fields = request.fields;
  append_hops(out, fields, edits, "X-Forwarded-For", edits.client_ip,
              [](const Field& field) { return field.id == FieldName::x_forwarded_for; });
  if (edits.peer_trusted || !edits.client_certificate.empty()) {
    append_hops(out, fields, edits, client_certificate_field, edits.client_certificate,
                is_client_certificate);
  }
  const auto believed = [&](FieldName id, std::string_view own) {
    const std::string_view theirs = edits.peer_trusted ? fields.value(id) : std::string_view{};
    return theirs.empty() ? own : theirs;
  };
  if (!is_rewritten("X-Forwarded-Proto", edits.rewrite)) {
    append_field(out, "X-Forwarded-Proto",
                 believed(FieldName::x_forwarded_proto, edits.over_tls ? "https" : "http"));
  }
  const std::string_view host = believed(FieldName::x_forwarded_host, request.authority);
  if (!host.empty() && !is_rewritten("X-Forwarded-Host", edits.rewrite)) {
    append_field(out, "X-Forwarded-Host", host);
  }
}

/// RFC 9110 §7.6.2: for OPTIONS one less at each hop; elsewhere it is a field like any other.
void append_max_forwards(TextWriter& out, const http::RequestHead& request) {
  const Field* field = request.fields.find(FieldName::max_forwards);
  if (field == nullptr) return;
  const auto hops = parse_decimal(field->value);
  if (request.method == http::Method::options && hops && *hops > 0) {
    out.append("Max-Forwards: ");
    out.append_number(*hops - 1);
    out.append("\r\n");
  } else {
    append_field(out, field->name, field->value);
  }
}

void append_idempotency(TextWriter& out, std::string_view status, std::string_view key) {
  if (!status.empty()) append_field(out, "Idempotency-Status", status);
  if (!key.empty()) out.append("Idempotency-Key: \"").append(key).append("\"\r\n");
}

}  // namespace

StrippedTarget strip_target(std::string_view target, std::string_view prefix) {
  while (!prefix.empty() && prefix.back() == '/') prefix.remove_suffix(1);
  if (prefix.empty() || !target.starts_with(prefix)) return {"", target};
  const std::string_view rest = target.substr(prefix.size());
  if (rest.starts_with('/')) return {"", rest};
  if (rest.empty() || rest.front() == '?') return {"/", rest};
  return {"", target};
}

bool is_forwarding_name(std::string_view name) {
  constexpr std::array<std::string_view, 4> known{"x-forwarded-for", "x-forwarded-proto",
                                                  "x-forwarded-host", "x-forwarded-client-cert"};
  const auto same = [](char a, char b) {
    if (b >= 'A' && b <= 'Z') return a == b - 'A' + 'a';
    return a == (b == '_' ? '-' : b);
  };
  return std::ranges::any_of(
      known, [&](std::string_view one) { return std::ranges::equal(one, name, same); });
}

void append_upstream_head(std::string& text, const http::RequestHead& request,
                          const RequestEdits& edits) {
  TextWriter out(text, usual_head);
  out.append(request.method_text).push_back(' ');
  const StrippedTarget target = strip_target(request.target, edits.strip_prefix);
  out.append(target.slash).append(target.rest);
  out.append(" HTTP/1.1\r\n");
  append_field(out, "Host", edits.host);

  const NamedByConnection named(request.fields);
  for (const Field& field : request.fields) {
    if (is_replaced(field, edits) || named.contains(field)) continue;
    if (is_rewritten(field.name, edits.rewrite)) continue;
    append_field(out, field.name, field.value);
  }
  if (edits.rewrite != nullptr) {
    for (const auto& [name, value] : edits.rewrite->set_headers) append_field(out, name, value);
  }

  append_max_forwards(out, request);
  append_via(out, request.fields, request.minor_version, edits.server_name);
  append_forwarded(out, request, edits);
  if (!is_rewritten("X-Request-Id", edits.rewrite))
    append_field(out, "X-Request-Id", edits.request_id);
  const bool tells_deadline = !edits.deadline_header.empty() && edits.deadline;
  if (tells_deadline && !is_rewritten(edits.deadline_header, edits.rewrite)) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(*edits.deadline).count();
    out.append(edits.deadline_header).append(": ");
    out.append_number(static_cast<std::uint64_t>(std::max<std::int64_t>(left, 1)));
    out.append("\r\n");
  }
  if (edits.close) out.append("Connection: close\r\n");
  if (!edits.upgrade.empty()) {
    out.append("Connection: upgrade\r\n");
    append_field(out, "Upgrade", edits.upgrade);
  }
  if (edits.body == BodyMode::chunked) append_trailer_names(out, edits.trailers);
  append_framing(out, edits.body, edits.body_length);
  out.append("\r\n");
}

void append_downstream_head(std::string& text, const http::ResponseHead& response,
                            const ResponseEdits& edits) {
  TextWriter out(text, usual_head);
  append_status_line(out, response.status, response.reason);
  const NamedByConnection named(response.fields);
  const bool tells = edits.attempts > 1 || !edits.fallback_of.empty();
  for (const Field& field : response.fields) {
    if (field.id == FieldName::content_length || field.id == FieldName::via) continue;
    if (field.id == FieldName::proxy_status && tells) continue;
    // Proxy-Authenticate is for the client of this hop, which holdfast is not: it passes like any
    // other.
    if (http::is_hop_by_hop(field.id) && field.id != FieldName::proxy_authenticate) continue;
    if (named.contains(field)) continue;
    // What another holdfast said of its execution; the client is told of ours.
    if (!edits.idempotency_status.empty() && http::tells_of_execution(field.name)) continue;
    append_field(out, field.name, field.value);
  }
  if (!response.fields.has(FieldName::date)) {
    append_date(out, edits.now);
  }
  append_via(out, response.fields, response.minor_version, edits.server_name);
  if (tells) {
    append_proxy_status(out, &response.fields, edits.server_name, edits.fallback_of,
                        edits.attempts);
  }
  append_idempotency(out, edits.idempotency_status, edits.generated_key);
  if (edits.switching) {
    out.append("Connection: upgrade\r\n");
    append_field(out, "Upgrade", response.fields.value(FieldName::upgrade));
  } else if (edits.close) {
    out.append("Connection: close\r\n");
  }
  if (edits.body == BodyMode::chunked) append_trailer_names(out, edits.trailers);
  append_framing(out, edits.body, edits.body_length);
  out.append("\r\n");
}

void append_informational_head(std::string& text, const http::ResponseHead& response) {
  TextWriter out(text, usual_head);
  append_status_line(out, response.status, response.reason);
  const NamedByConnection named(response.fields);
  for (const Field& field : response.fields) {
    if (http::is_hop_by_hop(field.id) || field.id == FieldName::content_length) continue;
    if (!named.contains(field)) append_field(out, field.name, field.value);
  }
  out.append("\r\n");
}

void append_own_head(std::string& text, const OwnResponse& response, std::string_view server_name,
                     bool close, WallTime now) {
  TextWriter out(text, usual_head);
  append_status_line(out, response.status, http::reason_phrase(response.status));
  if (!response.content_type.empty()) append_field(out, "Content-Type", response.content_type);
  bool has_cache_control = false;
  bool has_date = false;
  for (const auto& [name, value] : response.headers) {
    has_cache_control = has_cache_control || iequals(name, "cache-control");
    has_date = has_date || iequals(name, "date");
    append_field(out, name, value);
  }
  if (response.no_store && !has_cache_control) out.append("Cache-Control: no-store\r\n");
  if (response.retry_after) {
    out.append("Retry-After: ");
    out.append_number(static_cast<std::uint64_t>(*response.retry_after));
    out.append("\r\n");
  }
  if (!response.allow.empty()) append_field(out, "Allow", response.allow);
  if (!response.proxy_status.empty()) {
    append_proxy_status(out, nullptr, server_name, response.proxy_status, 1);
  }
  append_idempotency(out, response.idempotency_status, "");
  if (!has_date) {
    append_date(out, now);
  }
  if (close) out.append("Connection: close\r\n");
  if (response.status != 204 && response.status != 304) {
    append_framing(out, BodyMode::length, response.body.size());
  }
  out.append("\r\n");
}

int times_in_via(const Fields& fields, std::string_view name) {
  int times = 0;
  for (const Field& field : fields) {
    if (field.id != FieldName::via) continue;
    http::for_each_element(field.value, [&](std::string_view hop) {
      const std::size_t space = hop.find_first_of(" \t");
      if (space == std::string_view::npos) return true;
      std::string_view by = trim(hop.substr(space));
      by = by.substr(0, by.find_first_of(" \t("));
      if (by == name) ++times;
      return true;
    });
  }
  return times;
}

bool is_request_id(std::string_view value) {
  return !value.empty() && value.size() <= 128 &&
         std::ranges::all_of(value, [](char c) { return c > 0x20 && c < 0x7f; });
}

std::string_view trace_id_of(std::string_view traceparent) {
  constexpr std::size_t version = 2, trace = 32, parent = 16, flags = 2;
  constexpr std::size_t total = version + 1 + trace + 1 + parent + 1 + flags;
  if (traceparent.size() < total || traceparent[2] != '-' || traceparent[35] != '-' ||
      traceparent[52] != '-') {
    return {};
  }
  // A later version may say more, behind a dash.
  const bool longer = traceparent.size() > total;
  if (longer && (traceparent.starts_with("00") || traceparent[total] != '-')) return {};
  const auto is_hex = [](std::string_view text) {
    return std::ranges::all_of(text, [](char c) { return is_digit(c) || (c >= 'a' && c <= 'f'); });
  };
  const auto is_id = [&](std::string_view text) {
    return is_hex(text) && text.find_first_not_of('0') != std::string_view::npos;
  };
  const std::string_view id = traceparent.substr(version + 1, trace);
  const std::string_view parent_id = traceparent.substr(36, parent);
  const bool valid = is_hex(traceparent.substr(0, version)) && !traceparent.starts_with("ff") &&
                     is_id(id) && is_id(parent_id) && is_hex(traceparent.substr(53, flags));
  return valid ? id : std::string_view{};
}

}  // namespace holdfast::proxy
