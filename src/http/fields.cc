#include "holdfast/http/fields.h"

#include <algorithm>
#include <array>
#include <iterator>

#include "holdfast/base/text.h"

namespace holdfast::http {
namespace {

struct Known {
  std::string_view name;
  FieldName id;
};

// Sorted by length: a name is compared with the few known names as long as itself.
constexpr Known known_names[] = {
    {"te", FieldName::te},
    {"age", FieldName::age},
    {"via", FieldName::via},
    {"date", FieldName::date},
    {"host", FieldName::host},
    {"cookie", FieldName::cookie},
    {"expect", FieldName::expect},
    {"server", FieldName::server},
    {"alt-svc", FieldName::alt_svc},
    {"trailer", FieldName::trailer},
    {"upgrade", FieldName::upgrade},
    {"location", FieldName::location},
    {"forwarded", FieldName::forwarded},
    {"connection", FieldName::connection},
    {"keep-alive", FieldName::keep_alive},
    {"set-cookie", FieldName::set_cookie},
    {"retry-after", FieldName::retry_after},
    {"traceparent", FieldName::traceparent},
    {"content-type", FieldName::content_type},
    {"max-forwards", FieldName::max_forwards},
    {"proxy-status", FieldName::proxy_status},
    {"x-request-id", FieldName::x_request_id},
    {"authorization", FieldName::authorization},
    {"cache-control", FieldName::cache_control},
    {"content-length", FieldName::content_length},
    {"http2-settings", FieldName::http2_settings},
    {"idempotency-key", FieldName::idempotency_key},
    {"x-forwarded-for", FieldName::x_forwarded_for},
    {"content-encoding", FieldName::content_encoding},
    {"proxy-connection", FieldName::proxy_connection},
    {"x-forwarded-host", FieldName::x_forwarded_host},
    {"transfer-encoding", FieldName::transfer_encoding},
    {"x-forwarded-proto", FieldName::x_forwarded_proto},
    {"proxy-authenticate", FieldName::proxy_authenticate},
    {"proxy-authorization", FieldName::proxy_authorization},
};

constexpr std::size_t longest_name = std::rbegin(known_names)->name.size();

constexpr bool shorter(const Known& a, const Known& b) {
  return a.name.size() < b.name.size();
}
static_assert(std::is_sorted(std::begin(known_names), std::end(known_names), shorter));
static_assert(static_cast<std::size_t>(FieldName::x_request_id) < 64, "Fields keeps a bit of each");
static_assert(std::size(known_names) == static_cast<std::size_t>(FieldName::x_request_id),
              "every id but `other` has its name");

// first_of_length[n] is the index of the first known name of at least n characters.
constexpr auto first_of_length = [] {
  std::array<std::size_t, longest_name + 2> first{};
  for (std::size_t length = 0; length < first.size(); ++length) {
    for (const Known& known : known_names) first[length] += known.name.size() < length ? 1 : 0;
  }
  return first;
}();

bool is_ows(char c) {
  return c == ' ' || c == '\t';
}

/// Where the list element at the front of `list` ends: at a comma outside of quotes, or at the end.
std::size_t element_end(std::string_view list) {
  bool quoted = false;
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (list[i] == '"') quoted = !quoted;
    if (list[i] == '\\' && quoted) ++i;
    if (i < list.size() && list[i] == ',' && !quoted) return i;
  }
  return list.size();
}

}  // namespace

FieldName field_name(std::string_view name) {
  if (name.empty() || name.size() > longest_name) return FieldName::other;
  const char first = ascii_lower(name.front());
  for (std::size_t i = first_of_length[name.size()]; i < first_of_length[name.size() + 1]; ++i) {
    const Known& known = known_names[i];
    if (known.name.front() == first && iequals(known.name, name)) return known.id;
  }
  return FieldName::other;
}

bool is_hop_by_hop(FieldName id) {
  switch (id) {
    case FieldName::connection:
    case FieldName::http2_settings:
    case FieldName::keep_alive:
    case FieldName::proxy_authenticate:
    case FieldName::proxy_authorization:
    case FieldName::proxy_connection:
    case FieldName::te:
    case FieldName::trailer:
    case FieldName::transfer_encoding:
    case FieldName::upgrade:
      return true;
    default:
      return false;
  }
}

const Field* Fields::find(FieldName id) const {
  if (!has(id)) return nullptr;
  for (const Field& field : list_) {
    if (field.id == id) return &field;
  }
  return nullptr;
}

const Field* Fields::find(std::string_view name) const {
  for (const Field& field : list_) {
    if (iequals(field.name, name)) return &field;
  }
  return nullptr;
}

std::string_view Fields::value(FieldName id) const {
  const Field* field = find(id);
  return field == nullptr ? std::string_view() : field->value;
}

std::size_t Fields::count(FieldName id) const {
  if (!has(id)) return 0;
  return static_cast<std::size_t>(
      std::count_if(begin(), end(), [id](const Field& field) { return field.id == id; }));
}

bool is_token(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), is_token_char);
}

bool is_field_value(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return c == '\t' || (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
  });
}

bool next_element(std::string_view& rest, std::string_view& element) {
  while (!rest.empty()) {
    if (rest.front() == ',' || is_ows(rest.front())) {
      rest.remove_prefix(1);
      continue;
    }
    const std::size_t end = element_end(rest);
    element = trim(rest.substr(0, end));
    rest.remove_prefix(end);
    return true;
  }
  return false;
}

bool lists_token(const Fields& fields, FieldName id, std::string_view token) {
  if (!fields.has(id)) return false;
  for (const Field& field : fields) {
    if (field.id != id) continue;
    std::string_view rest = field.value;
    std::string_view element;
    while (next_element(rest, element)) {
      if (iequals(element, token)) return true;
    }
  }
  return false;
}

}  // namespace holdfast::http
