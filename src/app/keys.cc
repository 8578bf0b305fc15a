#include "holdfast/app/keys.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include <fmt/format.h>

#include "holdfast/app/admin_client.h"
#include "holdfast/app/admin_records.h"
#include "holdfast/base/text.h"
#include "holdfast/policy/idempotency_key.h"

namespace holdfast::app {
namespace {

using nlohmann::json;

constexpr Duration ask_timeout = std::chrono::seconds(5);
constexpr int exit_wrong_input = 1;
constexpr int exit_refused = 3;

auto wrong(std::string text) {
  return unexpected(std::move(text));
}

/// The sources of a scope that read something, by the names of their fields.
std::vector<std::string_view> scope_fields(const policy::IdempotencyOptions& options) {
  std::vector<std::string_view> names;
  for (const policy::ScopeSource& source : options.scope) {
    if (source.kind != policy::ScopeSource::Kind::none) names.push_back(policy::field_of(source));
  }
  return names;
}

Result<Digest, std::string> scope_digest(const proxy::RouteConfig& route,
                                         const std::vector<std::string>& given) {
  const std::vector<std::string_view> names = scope_fields(route.idempotency);
  if (given.size() > names.size()) {
    return wrong(fmt::format("route \"{}\" has {} sources of scope ({}), and --scope came {} times",
                             route.name, names.size(), fmt::join(names, ", "), given.size()));
  }
  std::size_t next = 0;
  const policy::Scope scope = policy::scope_of(route.idempotency.scope, [&](std::string_view) {
    const bool known = next < given.size();
    return known ? std::vector<std::string_view>{trim(given[next++])}
                 : std::vector<std::string_view>();
  });
  if (scope.missing && route.idempotency.scope_missing == policy::ScopeMissing::reject) {
    return wrong(fmt::format("route \"{}\" takes no key without {}: give --scope", route.name,
                             fmt::join(names, " and ")));
  }
  return scope.digest;
}

Result<const proxy::RouteConfig*, std::string> keyed_route(const proxy::Config& config,
                                                           const KeyQuestion& question) {
  const auto found = std::ranges::find(config.routes, question.route, &proxy::RouteConfig::name);
  if (found == config.routes.end()) return wrong("there is no route \"" + question.route + "\"");
  const policy::IdempotencyOptions& options = found->idempotency;
  if (!options.enabled) return wrong("route \"" + question.route + "\" keeps no records");
  if (std::ranges::find(options.methods, question.method) == options.methods.end()) {
    return wrong(fmt::format("route \"{}\" keeps no records of {}: idempotency.methods has {}",
                             question.route, question.method, fmt::join(options.methods, ", ")));
  }
  return &*found;
}

/// "2d 3h", "3h 4m", "2m 13s", "12.3s": two units say enough.
std::string in_words(policy::Milliseconds time) {
  using namespace std::chrono;
  if (time >= days(1)) return fmt::format("{}d {}h", time / days(1), time % days(1) / hours(1));
  if (time >= hours(1)) {
    return fmt::format("{}h {}m", time / hours(1), time % hours(1) / minutes(1));
  }
  if (time >= minutes(1)) {
    return fmt::format("{}m {}s", time / minutes(1), time % minutes(1) / seconds(1));
  }
  return fmt::format("{:.1f}s", static_cast<double>(time.count()) / 1e3);
}

/// A state for a person: what it is, what a client that repeats the request gets, and what to do.
struct Words {
  std::string meaning;
  std::string clients;
  std::string next;
};

Words words_of_unknown(const RecordView& record, const std::string& config_path) {
  const auto command = [&](std::string_view outcome) {
    return fmt::format("\n             holdfast keys resolve --config {} --id {} --outcome {}",
                       config_path, record.id, outcome);
  };
  return {"nobody knows whether the upstream executed it",
          "409 outcome-unknown; it is not executed again (with on_unknown = \"reexecute\" it is)",
          "Look for its effect at the upstream, then say what you found. If in doubt, leave it:\n"
          "           not_executed lets the next repetition execute it." +
              command("executed") + command("not_executed")};
}

Words words_of(const RecordView& record, const std::string& config_path) {
  if (record.state == "inflight") {
    return {"a request with this key is being executed",
            "409 in-progress with Retry-After; or it waits, where in_flight_wait says so",
            fmt::format("Wait. If its owner is dead, it reads unknown in {} at the latest.",
                        in_words(record.lease_left))};
  }
  if (record.state == "completed") {
    return {"executed, and its answer is stored",
            fmt::format("the stored answer, {}, with Idempotent-Replayed: true", record.status),
            "Nothing."};
  }
  if (record.state == "gone") {
    return {"executed, and its answer cannot be replayed",
            "409 result-unavailable; it is never executed again",
            "Nothing here. Whoever needs the result asks the upstream for it."};
  }
  return words_of_unknown(record, config_path);
}

void append_line(std::string& out, std::string_view name, std::string_view value) {
  out += fmt::format("{:<11}{}\n", name, value);
}

KeyReport refused(std::string_view why) {
  return {exit_refused, fmt::format("error: {}\n", why)};
}

KeyReport wrong_input(std::string_view why) {
  return {exit_wrong_input, fmt::format("error: {}\n", why)};
}

/// What the admin listener said against it, from its problem's `detail`.
KeyReport refused_by(const AdminAnswer& answer) {
  const json problem = json::parse(answer.body, nullptr, false);
  const bool has_detail =
      problem.is_object() && problem.contains("detail") && problem["detail"].is_string();
  const std::string why = has_detail ? problem["detail"].get<std::string>() : answer.status_line;
  const bool ours = answer.status >= 400 && answer.status < 500;
  return ours ? wrong_input(why) : refused(why);
}

KeyReport no_record(const Digest& id, const KeyQuestion& question) {
  std::string text = fmt::format(
      "error: no record {}\n"
      "The key was never used here, was given back because nothing was sent, or has expired.\n",
      hex(id));
  if (question.id.empty()) {
    text += "A record also depends on the method and on the scope: see --method and --scope.\n";
  }
  return {exit_wrong_input, std::move(text)};
}

/// Sends a question about one record to the running instance; `ask` is admin_get or admin_post.
template <class Ask, class Tell>
KeyReport with_record(const proxy::Config& config, const KeyQuestion& question, Ask ask,
                      Tell tell) {
  const Result<Digest, std::string> id = record_id_of(config, question);
  if (!id) return wrong_input(id.error());
  if (!config.admin.listen) return wrong_input("admin.listen is \"off\"");
  const Result<AdminAnswer, std::string> answer = ask(config.admin.listen->address, *id);
  if (!answer) return refused(config.admin.listen->text + ": " + answer.error());
  if (answer->status == 404) return no_record(*id, question);
  if (answer->status != 200) return refused_by(*answer);
  return tell(*id, *answer);
}

}  // namespace

Result<Digest, std::string> record_id_of(const proxy::Config& config, const KeyQuestion& question) {
  if (!question.id.empty()) {
    const std::optional<Digest> id = parse_record_id(question.id);
    if (id) return *id;
    return wrong("--id takes a record's id: 64 hexadecimal digits");
  }
  const auto route = keyed_route(config, question);
  if (!route) return wrong(route.error());
  const policy::IdempotencyOptions& options = (*route)->idempotency;
  const auto key =
      policy::parse_key(question.key, policy::KeySyntax::lenient, options.max_key_length);
  if (!key) return wrong(fmt::format("--key is no key: {}", name(key.error())));
  const Result<Digest, std::string> scope = scope_digest(**route, question.scope);
  if (!scope) return wrong(scope.error());
  return policy::record_id(options.name_space, *scope, question.method, *key);
}

std::optional<RecordView> parse_record_page(std::string_view text) {
  const json page = json::parse(text, nullptr, false);
  if (!page.is_object()) return std::nullopt;
  const auto string_of = [&page](const char* name) {
    const auto member = page.find(name);
    const bool there = member != page.end() && member->is_string();
    return there ? member->get<std::string>() : std::string();
  };
  const auto number_of = [&page](const char* name) {
    const auto member = page.find(name);
    const bool there = member != page.end() && member->is_number_integer();
    return there ? member->get<std::int64_t>() : 0;
  };
  RecordView view;
  view.id = string_of("id");
  view.state = string_of("state");
  if (view.id.empty() || view.state.empty()) return std::nullopt;
  view.age = policy::Milliseconds(number_of("age_ms"));
  view.lease_left = policy::Milliseconds(number_of("lease_left_ms"));
  view.attempt = static_cast<int>(number_of("attempt"));
  view.status = static_cast<int>(number_of("status"));
  view.reason = string_of("reason");
  view.location = string_of("location");
  view.etag = string_of("etag");
  return view;
}

std::string describe(const RecordView& record, const std::string& config_path) {
  const Words words = words_of(record, config_path);
  std::string out;
  append_line(out, "id", record.id);
  append_line(out, "state", fmt::format("{}: {}", record.state, words.meaning));
  if (!record.reason.empty()) append_line(out, "reason", record.reason);
  const bool settled = record.state == "completed" || record.state == "gone";
  append_line(
      out, "age",
      fmt::format("{} since it was {}", in_words(record.age), settled ? "settled" : "claimed"));
  append_line(out, "attempt", std::to_string(record.attempt));
  if (record.status != 0) append_line(out, "status", std::to_string(record.status));
  if (!record.location.empty()) append_line(out, "location", record.location);
  if (!record.etag.empty()) append_line(out, "etag", record.etag);
  append_line(out, "clients", "A repetition gets " + words.clients + ".");
  append_line(out, "next", words.next);
  return out;
}

KeyReport keys_show(const proxy::Config& config, const std::string& config_path,
                    const KeyQuestion& question) {
  const auto ask = [](const net::Address& admin, const Digest& id) {
    return admin_get(admin, "/idempotency/" + hex(id), ask_timeout);
  };
  const auto tell = [&config_path](const Digest&, const AdminAnswer& answer) -> KeyReport {
    const std::optional<RecordView> record = parse_record_page(answer.body);
    if (!record) return refused("the answer is no record; is this holdfast's admin listener?");
    return {0, describe(*record, config_path)};
  };
  return with_record(config, question, ask, tell);
}

KeyReport keys_resolve(const proxy::Config& config, const KeyQuestion& question, bool executed) {
  const auto ask = [executed](const net::Address& admin, const Digest& id) {
    const json body = {{"id", hex(id)}, {"outcome", executed ? "executed" : "not_executed"}};
    return admin_post(admin, "/idempotency/resolve", body.dump(), ask_timeout);
  };
  const auto tell = [executed](const Digest& id, const AdminAnswer&) -> KeyReport {
    const std::string_view now =
        executed ? "executed: a repetition gets 409 result-unavailable and is never executed again"
                 : "not executed: the key is free, the next repetition is executed";
    return {0, fmt::format("{} is resolved as {}\n", hex(id), now)};
  };
  return with_record(config, question, ask, tell);
}

}  // namespace holdfast::app
