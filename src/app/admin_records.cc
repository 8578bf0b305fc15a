#include "holdfast/app/admin_records.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "holdfast/base/text.h"
#include "holdfast/http/stored_head.h"

namespace holdfast::app {
namespace {

using Json = nlohmann::ordered_json;
using policy::Verdict;

Json text_or_null(std::string_view text) {
  return text.empty() ? Json(nullptr) : Json(text);
}

/// A field of the stored answer; null without it, and for a text that no store of ours has written.
Json stored_field(const std::string& headers, std::string_view name) {
  const auto fields = http::parse_stored_head(headers);
  if (!fields) return nullptr;
  const auto found = std::ranges::find_if(
      *fields, [name](const http::Field& field) { return iequals(field.name, name); });
  return found == fields->end() ? Json(nullptr) : Json(found->value);
}

/// A member that must be there and be a string.
const std::string* text_member(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() ? nullptr : found->get_ptr<const std::string*>();
}

}  // namespace

std::optional<Digest> parse_record_id(std::string_view text) {
  Digest digest{};
  if (text.size() != 2 * digest.size()) return std::nullopt;
  for (std::size_t i = 0; i < digest.size(); ++i) {
    const std::string_view pair = text.substr(2 * i, 2);
    const char* const end = pair.data() + pair.size();
    const auto parsed = std::from_chars(pair.data(), end, digest[i], 16);
    if (parsed.ec != std::errc() || parsed.ptr != end) return std::nullopt;
  }
  return digest;
}

std::string record_page(const Digest& id, const Verdict& verdict) {
  const bool inflight = verdict.kind == Verdict::Kind::inflight;
  Json page;
  page["id"] = hex(id);
  page["state"] = name(verdict.kind);
  page["age_ms"] =
      verdict.kind == Verdict::Kind::absent ? Json(nullptr) : Json(verdict.age.count());
  page["attempt"] = verdict.attempt == 0 ? Json(nullptr) : Json(verdict.attempt);
  page["lease_left_ms"] = inflight ? Json(verdict.lease_left.count()) : Json(nullptr);
  page["status"] = verdict.status == 0 ? Json(nullptr) : Json(verdict.status);
  page["reason"] = text_or_null(verdict.reason);
  page["location"] = stored_field(verdict.headers, "Location");
  page["etag"] = stored_field(verdict.headers, "ETag");
  return page.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<Resolution, std::string> parse_resolution(std::string_view body) {
  const auto wrong = [](std::string_view why) { return unexpected(std::string(why)); };
  const Json json = Json::parse(body, nullptr, false);
  if (!json.is_object() || json.size() != 2) {
    return wrong("The body is a JSON object with \"id\" and \"outcome\".");
  }
  const std::string* const id = text_member(json, "id");
  const std::optional<Digest> digest = id ? parse_record_id(*id) : std::nullopt;
  if (!digest) return wrong("\"id\" is a record's id: 64 hexadecimal digits.");
  const std::string* const outcome = text_member(json, "outcome");
  const bool executed = outcome && *outcome == "executed";
  if (!executed && !(outcome && *outcome == "not_executed")) {
    return wrong("\"outcome\" is \"executed\" or \"not_executed\".");
  }
  return Resolution{*digest, executed};
}

Duration resolved_ttl(const proxy::Config& config) {
  Duration longest = std::chrono::hours(24);
  for (const proxy::RouteConfig& route : config.routes) {
    if (route.idempotency.enabled) longest = std::max(longest, route.idempotency.ttl);
  }
  return longest;
}

}  // namespace holdfast::app
