#include "holdfast/app/config_policies.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "holdfast/app/config_file.h"
#include "holdfast/app/config_future.h"
#include "holdfast/app/config_idempotency.h"
#include "holdfast/app/config_schema.h"
#include "holdfast/base/text.h"
#include "holdfast/http/method.h"

namespace holdfast::app {
namespace {

constexpr Range final_status = {200, 599};

policy::ConditionSet default_fallback_on() {
  policy::ConditionSet set;
  for (const std::string_view condition :
       {"open", "timeout", "connect", "reset", "5xx", "overload"}) {
    set.add(condition);
  }
  return set;
}

bool has_no_body(int status) {
  return status == 204 || status == 205 || status == 304;
}

const Result<std::string, std::string>& body_file(const std::string& name, LoadContext& context) {
  const std::string path = (context.folder / name).string();
  const auto found = context.body_files.find(path);
  if (found != context.body_files.end()) return found->second;
  return context.body_files.emplace(path, read_regular_file(path, max_body_file_bytes))
      .first->second;
}

void read_body(Reader& keys, std::string& body, LoadContext& context) {
  if (const Entry* entry = keys.find("body", Node::Kind::text, "a string"))
    body = entry->value.text;
  const Entry* file = keys.find("body_file", Node::Kind::text, "a file's path");
  if (file == nullptr) return;
  const auto& content = body_file(file->value.text, context);
  if (content) {
    body = *content;
  } else {
    keys.error(file->value.place,
               fmt::format("cannot read body_file {}: {}", describe(file->value), content.error()));
  }
}

/// Exactly one of body, body_file and upstream says what the client gets.
void check_one_source(Reader& keys) {
  const int sources = keys.has("body") + keys.has("body_file") + keys.has("upstream");
  if (sources == 1) return;
  keys.error(keys.place(),
             fmt::format(R"(a fallback needs one of "body", "body_file" and "upstream", not {})",
                         sources == 0 ? "none" : "several"));
}

proxy::FallbackConfig read_fallback(Reader& keys, LoadContext& context) {
  proxy::FallbackConfig fallback;
  fallback.on = default_fallback_on();
  keys.conditions("on", fallback.on, ConditionUse::fallback);
  const Entry* on = keys.find("on");
  if (on != nullptr && on->value.kind == Node::Kind::array && on->value.items.empty()) {
    keys.error(on->value.place, "a fallback for no condition is never used");
  }
  check_one_source(keys);
  read_upstream_name(keys, fallback.upstream, context);
  if (keys.has("upstream")) {
    for (const std::string_view key : {"status", "headers"}) {
      const Entry* entry = keys.find(key);
      if (entry == nullptr) continue;
      keys.error(entry->place,
                 fmt::format(R"({} makes no sense beside "upstream", which gives its own)",
                             in_quotes(key)));
    }
  }
  read_response(keys, fallback.response, context);
  return fallback;
}

}  // namespace

Policies::Policies() {
  using http::Method;
  for (const Method method :
       {Method::get, Method::head, Method::options, Method::put, Method::delete_}) {
    retry.methods |= http::bit(method);
  }
}

void read_upstream_name(Reader& keys, std::string& name, LoadContext& context) {
  const Entry* entry = keys.find("upstream", Node::Kind::text, "an upstream's name");
  if (entry == nullptr) return;
  name = entry->value.text;
  context.used_upstreams.insert(name);
  if (context.upstreams.contains(name)) return;
  keys.error(entry->value.place, fmt::format("there is no upstream {}", describe(entry->value)),
             nearest(name, context.upstreams));
}

void read_response(Reader& keys, proxy::StaticResponse& response, LoadContext& context) {
  keys.count("status", response.status, final_status);
  read_headers(keys, "headers", response.headers, HeaderUse::set);
  read_body(keys, response.body, context);
  if (has_no_body(response.status) && !response.body.empty()) {
    keys.error(keys.place(), fmt::format("a response with status {} has no body", response.status));
  }
}

void read_policies(Reader& keys, Policies& policies, LoadContext& context) {
  keys.table("timeout", [&](Reader& timeout) { timeout_keys(timeout, policies.timeout); });
  keys.table("retry", [&](Reader& retry) { retry_keys(retry, policies.retry); });
  keys.table("idempotency",
             [&](Reader& idempotency) { read_idempotency(idempotency, policies.idempotency); });
  keys.tables("fallback", [&](Reader& fallback) {
    policies.fallbacks.push_back(read_fallback(fallback, context));
  });
  refuse_policies(keys);
}

}  // namespace holdfast::app
