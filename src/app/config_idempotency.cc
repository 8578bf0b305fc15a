#include "holdfast/app/config_idempotency.h"

#include <algorithm>
#include <initializer_list>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "holdfast/app/config_schema.h"

namespace holdfast::app {
namespace {

using policy::IdempotencyOptions;
using policy::ScopeSource;

constexpr Duration max_auto_ttl = std::chrono::hours(1);
constexpr Duration short_ttl = std::chrono::hours(1);

bool is_unscoped(const IdempotencyOptions& options) {
  return std::any_of(options.scope.begin(), options.scope.end(), [](const ScopeSource& source) {
    return source.kind == ScopeSource::Kind::none;
  });
}

void check_auto_ttl(Reader& keys, const IdempotencyOptions& options) {
  if (options.auto_ttl <= max_auto_ttl) return;
  keys.must_be("auto_ttl", fmt::format("at most {}", format_duration(max_auto_ttl)),
               keys.find("auto_ttl")->value);
}

void check_methods(Reader& keys) {
  const Entry* methods = keys.find("methods");
  if (methods == nullptr || methods->value.kind != Node::Kind::array) return;
  if (!methods->value.items.empty()) return;
  keys.error(methods->value.place, R"("methods" names none: enabled = false says that better)");
}

void check_scope(Reader& keys, const IdempotencyOptions& options) {
  const Entry* scope = keys.find("scope");
  if (scope == nullptr || scope->value.kind != Node::Kind::array) return;
  if (scope->value.items.empty()) {
    keys.error(scope->value.place, R"("scope" names nothing: ["none"] says so on purpose)");
  } else if (is_unscoped(options) && scope->value.items.size() > 1) {
    keys.error(scope->value.place, R"("none" stands alone in "scope")");
  }
}

/// Looks at one route's merged policies and reports at the key that was written down.
class MergedRules {
 public:
  MergedRules(const Node& table, const IdempotencyOptions& options,
              const policy::TimeoutOptions& timeout, Diagnostics& diagnostics)
      : table_(table), options_(options), timeout_(timeout), diagnostics_(diagnostics) {}

  void check() const {
    check_ttl();
    check_wait();
    check_unscoped();
    warn_of_short_ttl();
    warn_of_reexecution();
  }

 private:
  /// The value of the first of `keys` that was set, or the table.
  Place place_of(std::initializer_list<std::string_view> keys) const {
    for (const std::string_view key : keys) {
      if (const Entry* entry = table_.find(key)) return entry->value.place;
    }
    return table_.place;
  }

  /// A record must outlive the longest execution, or the key is free while the first still runs.
  void check_ttl() const {
    const Duration least = options_.max_execution + options_.lease;
    if (options_.ttl >= least) return;
    diagnostics_.error(place_of({"ttl", "max_execution", "lease"}),
                       fmt::format(R"("ttl" ({}) must be at least max_execution + lease ({}))",
                                   format_duration(options_.ttl), format_duration(least)));
  }

  void check_wait() const {
    if (!options_.in_flight_wait || !timeout_.total) return;
    if (*options_.in_flight_wait <= *timeout_.total) return;
    diagnostics_.error(
        place_of({"in_flight_wait"}),
        fmt::format(R"("in_flight_wait" ({}) must be at most the route's timeout.total ({}))",
                    format_duration(*options_.in_flight_wait), format_duration(*timeout_.total)));
  }

  void check_unscoped() const {
    if (!is_unscoped(options_)) return;
    if (options_.missing_key == policy::MissingKey::generate) {
      diagnostics_.error(place_of({"missing_key"}),
                         R"(missing_key = "generate" needs a scope other than "none": equal )"
                         "requests of different callers would share a key");
    }
    if (options_.replay_set_cookie) {
      diagnostics_.error(place_of({"replay_set_cookie"}),
                         R"("replay_set_cookie" needs a scope other than "none": one caller would )"
                         "get another one's cookies");
    }
  }

  void warn_of_short_ttl() const {
    if (options_.ttl >= short_ttl) return;
    diagnostics_.warning(place_of({"ttl"}),
                         fmt::format(R"("ttl" is {}: a client that repeats later than that )"
                                     "executes a second time",
                                     format_duration(options_.ttl)));
  }

  void warn_of_reexecution() const {
    const Entry* entry = table_.find("on_unknown");
    if (entry == nullptr || options_.on_unknown != policy::OnUnknown::reexecute) return;
    if (options_.upstream_honours_key) return;
    diagnostics_.warning(entry->value.place,
                         R"(on_unknown = "reexecute" without upstream_honours_key = true may )"
                         "execute a request twice");
  }

  const Node& table_;
  const IdempotencyOptions& options_;
  const policy::TimeoutOptions& timeout_;
  Diagnostics& diagnostics_;
};

}  // namespace

void read_idempotency(Reader& keys, IdempotencyOptions& idempotency) {
  idempotency_keys(keys, idempotency);
  check_auto_ttl(keys, idempotency);
  check_methods(keys);
  check_scope(keys, idempotency);
}

void check_idempotency(const Node& policies, Diagnostics& diagnostics) {
  const Entry* table = policies.find("idempotency");
  if (table == nullptr) return;
  Diagnostics told_before;
  IdempotencyOptions options;
  policy::TimeoutOptions timeout;
  Reader keys(told_before, policies, "route", true);
  keys.table("timeout", [&](Reader& sub) { timeout_keys(sub, timeout); });
  keys.table("idempotency", [&](Reader& sub) { read_idempotency(sub, options); });
  if (told_before.has_errors() || !options.enabled) return;
  MergedRules(table->value, options, timeout, diagnostics).check();
}

void complete_idempotency(IdempotencyOptions& idempotency, const Node* table,
                          const std::string& route, store::OnStoreError on_error) {
  const auto is_set = [&](std::string_view key) {
    return table != nullptr && table->find(key) != nullptr;
  };
  if (idempotency.name_space.empty()) idempotency.name_space = route;
  if (!is_set("on_unknown") && idempotency.upstream_honours_key) {
    idempotency.on_unknown = policy::OnUnknown::reexecute;
  }
  if (!is_set("on_store_error")) {
    idempotency.on_store_error = on_error == store::OnStoreError::open
                                     ? policy::OnStoreFailure::open
                                     : policy::OnStoreFailure::closed;
  }
}

}  // namespace holdfast::app
