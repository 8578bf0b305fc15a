#include "holdfast/app/config_headers.h"

#include <string>

#include <fmt/format.h>

#include "holdfast/base/text.h"
#include "holdfast/http/fields.h"
#include "holdfast/proxy/heads.h"

namespace holdfast::app {
namespace {

constexpr std::string_view header_prefix = "header:";

/// Looks at every place whose header comes from a client.
class Underscores {
 public:
  Underscores(std::string_view policy, Diagnostics& diagnostics)
      : policy_(policy), diagnostics_(diagnostics) {}

  void check_level(const Node& table) const {
    if (const Node* timeout = child(table, "timeout")) check_text(*timeout, "deadline_header");
    if (const Node* keys = child(table, "idempotency")) {
      check_text(*keys, "header");
      const Node* scope = child(*keys, "scope");
      if (scope == nullptr) return;
      for (const Node& source : scope->items) check_source(source);
    }
  }
  void check_upstream(const Node& table) const {
    check_level(table);
    if (const Node* hash_key = child(table, "hash_key")) check_source(*hash_key);
  }
  void check_route(const Node& table) const {
    check_level(table);
    const Node* match = child(table, "match");
    const Node* headers = match != nullptr ? child(*match, "headers") : nullptr;
    if (headers == nullptr) return;
    for (const Entry& entry : headers->entries) check(entry.key, entry.place);
  }

 private:
  static const Node* child(const Node& table, std::string_view key) {
    const Entry* entry = table.find(key);
    return entry != nullptr ? &entry->value : nullptr;
  }
  void check_text(const Node& table, std::string_view key) const {
    if (const Node* name = child(table, key)) check(name->text, name->place);
  }
  void check_source(const Node& source) const {
    const std::string_view text = source.text;
    if (text.starts_with(header_prefix)) check(text.substr(header_prefix.size()), source.place);
  }
  void check(std::string_view name, Place place) const {
    if (name.find('_') == name.npos) return;
    diagnostics_.error(place, fmt::format("no request has a header {} where "
                                          "server.underscore_headers is {}",
                                          in_quotes(name), in_quotes(policy_)));
  }

  const std::string_view policy_;
  Diagnostics& diagnostics_;
};

}  // namespace

bool is_header_name(std::string_view text) {
  return http::is_token(text);
}

bool is_framing_header(std::string_view name) {
  const http::FieldName id = http::field_name(name);
  return http::is_hop_by_hop(id) || id == http::FieldName::content_length ||
         id == http::FieldName::host;
}

bool is_own_header(std::string_view name) {
  const http::FieldName id = http::field_name(name);
  return is_framing_header(name) || id == http::FieldName::via ||
         id == http::FieldName::max_forwards || id == http::FieldName::expect;
}

bool is_key_header(std::string_view text) {
  return http::is_token(text) && !is_own_header(text);
}

bool is_deadline_header(std::string_view text) {
  if (text.empty()) return true;
  const bool means_something =
      http::field_name(text) != http::FieldName::other || proxy::is_forwarding_name(text);
  return http::is_token(text) && !means_something;
}

bool is_removable_header(std::string_view text) {
  return http::is_token(text) && !is_own_header(text) && !proxy::is_forwarding_name(text);
}

bool is_trailer(std::string_view text) {
  using enum http::FieldName;
  switch (http::field_name(text)) {
    case age:
    case authorization:
    case cache_control:
    case content_encoding:
    case content_type:
    case cookie:
    case date:
    case forwarded:
    case idempotency_key:
    case location:
    case retry_after:
    case set_cookie:
    case x_request_id:
      return false;
    default:
      break;
  }
  for (const std::string_view other :
       {"content-range", "expires", "if-match", "if-modified-since", "if-none-match", "if-range",
        "if-unmodified-since", "range", "vary"}) {
    if (iequals(text, other)) return false;
  }
  return is_removable_header(text);
}

void read_headers(Reader& keys, std::string_view key, proxy::HeaderList& headers, HeaderUse use) {
  const Entry* table =
      keys.find(key, Node::Kind::table, R"(a table of headers ({ Name = "value" }))");
  if (table == nullptr) return;
  headers.clear();
  for (const Entry& entry : table->value.entries) {
    if (!is_header_name(entry.key)) {
      keys.error(entry.place, fmt::format("{} is no header's name", in_quotes(entry.key)));
    } else if (use == HeaderUse::set && is_own_header(entry.key)) {
      keys.error(entry.place, fmt::format("{} is set by holdfast itself", in_quotes(entry.key)));
    } else if (entry.value.kind != Node::Kind::text) {
      keys.must_be(entry.key, "a string", entry.value);
    } else if (!http::is_field_value(entry.value.text)) {
      // The value is not repeated: it may be a credential.
      keys.error(entry.value.place,
                 fmt::format("the value of {} holds a character that no header may have",
                             in_quotes(entry.key)));
    } else {
      headers.emplace_back(entry.key, trim(entry.value.text));
    }
  }
}

void check_underscores(const Node& root, proxy::UnderscoreHeaders policy,
                       Diagnostics& diagnostics) {
  if (policy == proxy::UnderscoreHeaders::pass) return;
  const Underscores underscores(policy == proxy::UnderscoreHeaders::drop ? "drop" : "reject",
                                diagnostics);
  if (const Entry* defaults = root.find("defaults")) underscores.check_level(defaults->value);
  if (const Entry* upstreams = root.find("upstream")) {
    for (const Entry& upstream : upstreams->value.entries) {
      underscores.check_upstream(upstream.value);
    }
  }
  if (const Entry* routes = root.find("route")) {
    for (const Node& route : routes->value.items) underscores.check_route(route);
  }
}

}  // namespace holdfast::app
