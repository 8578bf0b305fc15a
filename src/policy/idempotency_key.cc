#include "holdfast/policy/idempotency_key.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include "holdfast/base/text.h"

namespace holdfast::policy {
namespace {

constexpr bool is_lower(char c) {
  return c >= 'a' && c <= 'z';
}
constexpr bool is_letter(char c) {
  return is_lower(ascii_lower(c));
}
constexpr bool is_visible(char c) {
  return c > 0x20 && c < 0x7f;
}
constexpr bool is_printable(char c) {
  return c >= 0x20 && c < 0x7f;
}
constexpr bool is_one_of(char c, std::string_view characters) {
  return characters.find(c) != std::string_view::npos;
}
constexpr bool is_parameter_name_char(char c) {
  return is_lower(c) || is_digit(c) || is_one_of(c, "_-.*");
}
constexpr bool is_sf_token_char(char c) {
  return is_letter(c) || is_digit(c) || is_one_of(c, "!#$%&'*+-.^_`|~:/");
}
constexpr bool is_base64_char(char c) {
  return is_letter(c) || is_digit(c) || is_one_of(c, "+/=");
}
constexpr bool is_base64url_char(char c) {
  return is_letter(c) || is_digit(c) || is_one_of(c, "-_");
}
constexpr bool is_lower_hex(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f');
}

/// Walks over one structured field (RFC 9651 §4.2). Each function steps over what it names and says
/// whether it was there; where it was not, the position means nothing any more.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : rest_(text) {}

  bool at_end() const { return rest_.empty(); }

  /// §4.2.5: decodes into `out`.
  bool string(std::string& out) {
    if (!take('"')) return false;
    while (!at_end()) {
      const char c = next();
      if (c == '"') return true;
      if (!is_printable(c)) return false;
      if (c != '\\') {
        out += c;
      } else if (at_end() || !is_one_of(rest_.front(), "\"\\")) {
        return false;
      } else {
        out += next();
      }
    }
    return false;
  }

  /// §4.2.3.2
  bool parameters() {
    while (take(';')) {
      skip([](char c) { return c == ' '; });
      if (at_end() || !(is_lower(rest_.front()) || rest_.front() == '*')) return false;
      skip(is_parameter_name_char);
      if (take('=') && !bare_item()) return false;
    }
    return true;
  }

 private:
  char next() {
    const char c = rest_.front();
    rest_.remove_prefix(1);
    return c;
  }

  bool take(char wanted) {
    if (at_end() || rest_.front() != wanted) return false;
    rest_.remove_prefix(1);
    return true;
  }

  /// Steps over all characters that `belongs` accepts and says how many they were.
  template <class Belongs>
  std::size_t skip(Belongs belongs) {
    const auto* const end = std::find_if_not(rest_.begin(), rest_.end(), belongs);
    const auto count = static_cast<std::size_t>(end - rest_.begin());
    rest_.remove_prefix(count);
    return count;
  }

  /// §4.2.3.1
  bool bare_item() {
    if (at_end()) return false;
    const char first = rest_.front();
    std::string ignored;
    if (first == '"') return string(ignored);
    if (first == ':') return byte_sequence();
    if (first == '?') return boolean();
    if (first == '@') return date();
    if (first == '%') return display_string();
    if (first == '-' || is_digit(first)) return number();
    if (first != '*' && !is_letter(first)) return false;
    skip(is_sf_token_char);
    return true;
  }

  /// §4.2.4: an integer of at most 15 digits, or a decimal of at most 12 and 3.
  bool number() {
    take('-');
    const std::size_t digits = skip(is_digit);
    if (!take('.')) return digits >= 1 && digits <= 15;
    const std::size_t fraction = skip(is_digit);
    return digits >= 1 && digits <= 12 && fraction >= 1 && fraction <= 3;
  }

  bool byte_sequence() {
    take(':');
    skip(is_base64_char);
    return take(':');
  }

  bool boolean() {
    take('?');
    return take('0') || take('1');
  }

  bool date() {
    take('@');
    take('-');
    const std::size_t digits = skip(is_digit);
    return digits >= 1 && digits <= 15;
  }

  bool display_string() {
    take('%');
    if (!take('"')) return false;
    while (!at_end()) {
      const char c = next();
      if (c == '"') return true;
      if (!is_printable(c)) return false;
      if (c == '%' && !(hex_digit() && hex_digit())) return false;
    }
    return false;
  }

  bool hex_digit() { return !at_end() && is_lower_hex(next()); }

  std::string_view rest_;
};

Result<std::string, KeyFault> parse_quoted(std::string_view value) {
  if (!std::all_of(value.begin(), value.end(), is_printable)) return unexpected(KeyFault::charset);
  Scanner scanner(value);
  std::string key;
  if (!scanner.string(key) || !scanner.parameters() || !scanner.at_end()) {
    return unexpected(KeyFault::syntax);
  }
  return key;
}

Result<std::string, KeyFault> parse_bare(std::string_view value) {
  if (!std::all_of(value.begin(), value.end(), is_visible)) return unexpected(KeyFault::charset);
  const bool may_be_a_list = value.find_first_of("\",;\\") != std::string_view::npos;
  if (may_be_a_list) return unexpected(KeyFault::syntax);
  return std::string(value);
}

constexpr std::string_view identity_version = "idem/1";
constexpr std::string_view fingerprint_version = "idem-fingerprint/1";
constexpr std::string_view generated_version = "idem-generated/1";

}  // namespace

std::string_view name(KeyFault fault) {
  constexpr std::array<std::string_view, 5> names = {"empty", "length", "charset", "syntax",
                                                     "multiple"};
  static_assert(names.size() == static_cast<std::size_t>(KeyFault::multiple) + 1);
  return names[static_cast<std::size_t>(fault)];
}

Result<std::string, KeyFault> parse_key(std::string_view value, KeySyntax syntax,
                                        std::uint64_t max_length) {
  const std::string_view trimmed = trim(value);
  if (trimmed.empty()) return unexpected(KeyFault::empty);
  const bool quoted = trimmed.front() == '"';
  if (!quoted && syntax == KeySyntax::strict) return unexpected(KeyFault::syntax);
  Result<std::string, KeyFault> key = quoted ? parse_quoted(trimmed) : parse_bare(trimmed);
  if (!key) return key;
  if (key->empty()) return unexpected(KeyFault::empty);
  if (key->size() > max_length) return unexpected(KeyFault::length);
  return key;
}

std::string_view field_of(const ScopeSource& source) {
  if (source.kind == ScopeSource::Kind::authorization) return "authorization";
  if (source.kind == ScopeSource::Kind::client_cert) return client_certificate_source;
  return source.header;
}

Scope scope_of(const std::vector<ScopeSource>& sources, const FieldValues& values_of) {
  Scope scope;
  Digester digester;
  for (const ScopeSource& source : sources) {
    if (source.kind == ScopeSource::Kind::none) continue;
    const std::vector<std::string_view> values = values_of(field_of(source));
    scope.missing = scope.missing || values.empty();
    // With their number, no value can pass for the next source's name.
    digester.field(field_of(source)).field(std::to_string(values.size()));
    for (const std::string_view value : values) {
      digester.field(value);
      const bool authorization = source.kind == ScopeSource::Kind::authorization;
      scope.renewable = scope.renewable || (authorization && looks_like_jwt(value));
    }
  }
  scope.digest = digester.finish();
  return scope;
}

Digest record_id(std::string_view name_space, const Digest& scope, std::string_view method,
                 std::string_view key) {
  Digester digester;
  digester.field(identity_version).field(name_space).field(bytes_of(scope));
  digester.field(method).field(key);
  return digester.finish();
}

Digest fingerprint(FingerprintOf what, const FingerprintInput& input) {
  Digester digester;
  digester.field(fingerprint_version);
  if (what == FingerprintOf::full) {
    digester.field(input.method).field(input.path).field(input.query);
    digester.field(input.content_type).field(input.content_encoding);
  }
  if (what != FingerprintOf::none) digester.field(input.body);
  return digester.finish();
}

std::string generated_key(const Digest& scope, const FingerprintInput& input) {
  Digester digester;
  digester.field(generated_version).field(bytes_of(scope)).field(input.method);
  digester.field(input.path).field(input.query).field(input.body);
  return "auto:" + base64url(digester.finish());
}

bool looks_like_jwt(std::string_view authorization) {
  constexpr std::string_view scheme = "bearer ";
  if (!iequals(authorization.substr(0, scheme.size()), scheme)) return false;
  const std::string_view token = trim(authorization.substr(scheme.size()));
  const bool right_characters = std::all_of(
      token.begin(), token.end(), [](char c) { return c == '.' || is_base64url_char(c); });
  const bool no_part_empty = !token.starts_with('.') && !token.ends_with('.') &&
                             token.find("..") == std::string_view::npos;
  return right_characters && no_part_empty && std::count(token.begin(), token.end(), '.') == 2;
}

bool is_refusal(int status, bool has_retry_after) {
  constexpr int refusals[] = {401, 407, 408, 421, 425, 429};
  if (status == 409 || status == 503) return has_retry_after;
  return std::find(std::begin(refusals), std::end(refusals), status) != std::end(refusals);
}

bool is_recorded(Recording recording, int status, bool has_retry_after) {
  const bool interim = status < 200;
  if (interim) return false;
  switch (recording) {
    case Recording::all:
      return true;
    case Recording::definitive:
      break;
    case Recording::no_5xx:
      if (status >= 500 && status <= 599) return false;
      break;
    case Recording::success_only:
      return status < 400;
  }
  return !is_refusal(status, has_retry_after);
}

}  // namespace holdfast::policy
