// Field lists and the values that are read out of them: elements, keys (structured fields), dates,
// times in Via, ids. What is read is in what came.
#include <string>

#include "holdfast/http/date.h"
#include "holdfast/http/fields.h"
#include "holdfast/http/stored_head.h"
#include "holdfast/policy/idempotency_key.h"
#include "holdfast/policy/timeout.h"
#include "holdfast/proxy/heads.h"
#include "tests/fuzz/fuzz.h"

namespace holdfast::fuzz {
namespace {

bool is_within(std::string_view part, std::string_view whole) {
  return part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size();
}

void check_list(std::string_view value) {
  http::for_each_element(value, [&](std::string_view element) {
    promise(!element.empty() && is_within(element, value), "an element is a part of its list");
    return true;
  });
}

void check_key(std::string_view value) {
  for (const policy::KeySyntax syntax : {policy::KeySyntax::lenient, policy::KeySyntax::strict}) {
    const auto key = policy::parse_key(value, syntax, 255);
    if (!key) continue;
    promise(!key->empty() && key->size() <= 255, "a key has 1 to 255 characters");
    std::string quoted = "\"";
    for (const char c : *key) {
      promise(c >= ' ' && c <= '~', "a key is printable");
      if (c == '"' || c == '\\') quoted += '\\';
      quoted += c;
    }
    quoted += '"';
    const auto again = policy::parse_key(quoted, policy::KeySyntax::strict, 255);
    promise(again.has_value() && *again == *key, "quoted or bare, it is the same key");
  }
}

void check_stored(const http::Fields& fields) {
  const std::string stored = http::stored_head(fields, http::StoredCookies::kept, WallTime{});
  const auto back = http::parse_stored_head(stored);
  promise(back.has_value(), "what is stored can be read");
  for (const http::Field& field : *back) {
    promise(!http::is_hop_by_hop(field.id), "what belongs to a connection is not stored");
  }
}

}  // namespace
}  // namespace holdfast::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace holdfast;
  using namespace holdfast::fuzz;
  Input input(data, size);
  http::Fields fields;
  while (!input.rest().empty()) {
    const std::string_view line = input.line();
    const std::size_t colon = std::min(line.find(':'), line.size());
    const std::string_view name = line.substr(0, colon);
    const std::string_view value = line.substr(std::min(colon + 1, line.size()));
    check_list(value);
    check_key(value);
    static_cast<void>(http::parse_retry_after(value, WallTime{}));
    static_cast<void>(policy::parse_deadline(value));
    static_cast<void>(policy::looks_like_jwt(value));
    promise(is_within(proxy::trace_id_of(value), value) || proxy::trace_id_of(value).empty(),
            "a trace id is a part of its field");
    if (http::is_token(name) && http::is_field_value(value)) fields.add(name, value);
  }
  static_cast<void>(proxy::times_in_via(fields, "holdfast"));
  check_stored(fields);
  return 0;
}
