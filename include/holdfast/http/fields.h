// Fields: the header or trailer section of a message, in the order it came (RFC 9110 §5).
//
// Contract: a Field is a view; whoever owns the bytes (a parser, a configuration) outlives it.
// Names compare without case. Names that holdfast itself looks at have an id, found once when the
// field is added, so that the path of a request compares integers. Limits: none here; the parser
// bounds count and bytes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace holdfast::http {

enum class FieldName : std::uint8_t {
  other,
  age,
  alt_svc,
  authorization,
  cache_control,
  connection,
  content_encoding,
  content_length,
  content_type,
  cookie,
  date,
  expect,
  forwarded,
  host,
  http2_settings,
  idempotency_key,
  keep_alive,
  location,
  max_forwards,
  proxy_authenticate,
  proxy_authorization,
  proxy_connection,
  proxy_status,
  retry_after,
  server,
  set_cookie,
  te,
  traceparent,
  trailer,
  transfer_encoding,
  upgrade,
  via,
  x_forwarded_for,
  x_forwarded_host,
  x_forwarded_proto,
  x_request_id,
};

/// `other` for a name without an id.
FieldName field_name(std::string_view name);

/// True for the fields that end at every hop whatever Connection says (RFC 9110 §7.6.1):
/// Connection, Keep-Alive, Proxy-Connection, TE, Trailer, Transfer-Encoding, Upgrade,
/// HTTP2-Settings, Proxy-Authenticate and Proxy-Authorization.
bool is_hop_by_hop(FieldName id);

struct Field {
  std::string_view name;
  std::string_view value;
  FieldName id;
};

class Fields {
 public:
  void add(std::string_view name, std::string_view value) {
    const FieldName id = field_name(name);
    list_.push_back({name, value, id});
    present_ |= bit(id);
  }
  void clear() {
    list_.clear();
    present_ = 0;
  }

  /// The first field of that name, or nullptr.
  const Field* find(FieldName id) const;
  const Field* find(std::string_view name) const;
  /// The first value, or "".
  std::string_view value(FieldName id) const;
  std::size_t count(FieldName id) const;
  bool has(FieldName id) const { return (present_ & bit(id)) != 0; }

  std::size_t size() const { return list_.size(); }
  bool empty() const { return list_.empty(); }
  auto begin() const { return list_.begin(); }
  auto end() const { return list_.end(); }

 private:
  static constexpr std::uint64_t bit(FieldName id) {
    return std::uint64_t{1} << static_cast<unsigned>(id);
  }

  std::vector<Field> list_;
  std::uint64_t present_ = 0;  // the ids there are: most questions are about fields that are not
};

/// RFC 9110 §5.6.2: tchar.
constexpr bool is_token_char(char c);
/// RFC 9110 §5.6.2: 1*tchar.
bool is_token(std::string_view text);
/// RFC 9110 §5.5: visible characters, obs-text, SP and HTAB; no other control byte.
bool is_field_value(std::string_view text);

/// Calls visit(element) for each element of a comma-separated list, OWS trimmed, empty ones left
/// out (RFC 9110 §5.6.1). Quoted strings are kept whole. visit returns false to stop.
template <class Visit>
void for_each_element(std::string_view list, Visit visit);

/// True if one of the fields named `id` lists `token`, without case (Connection: a, b).
bool lists_token(const Fields& fields, FieldName id, std::string_view token);

/// Splits off the first list element of `rest`; false when none is left. See for_each_element.
bool next_element(std::string_view& rest, std::string_view& element);

namespace detail {

inline constexpr auto token_chars = [] {
  std::array<bool, 256> allowed{};
  for (const char c : std::string_view("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
                                       "ABCDEFGHIJKLMNOPQRSTUVWXYZ")) {
    allowed[static_cast<unsigned char>(c)] = true;
  }
  return allowed;
}();

}  // namespace detail

constexpr bool is_token_char(char c) {
  return detail::token_chars[static_cast<unsigned char>(c)];
}

template <class Visit>
void for_each_element(std::string_view list, Visit visit) {
  std::string_view element;
  while (next_element(list, element)) {
    if (!visit(element)) return;
  }
}

}  // namespace holdfast::http
