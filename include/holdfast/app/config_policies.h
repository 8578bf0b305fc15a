// The policy tables: those that may stand in [defaults], [upstream.NAME] and [[route]].
//
// Contract: each level is read where it stands, so that its errors have their place; the levels are
// merged as trees (config_tree.h) and read once more for the effective values.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "holdfast/app/config_reader.h"
#include "holdfast/app/config_sections.h"
#include "holdfast/proxy/config.h"

namespace holdfast::app {

/// The policies of one level, or of all of them merged.
struct Policies {
  /// The defaults; retry.methods has no default of its own.
  Policies();

  policy::TimeoutOptions timeout;
  policy::RetryOptions retry;
  policy::IdempotencyOptions idempotency;
  std::vector<proxy::FallbackConfig> fallbacks;
};

/// The names of the policy tables: those that may stand in [defaults], [upstream.NAME] and
/// [[route]].
inline constexpr std::string_view policy_tables[] = {"timeout",  "retry",      "idempotency",
                                                     "fallback", "rate_limit", "concurrency"};

void read_policies(Reader& keys, Policies& policies, LoadContext& context);

/// The key `upstream`: checks that there is one of that name.
void read_upstream_name(Reader& keys, std::string& name, LoadContext& context);

/// The keys of a response made of configuration: status, headers, body, body_file.
void read_response(Reader& keys, proxy::StaticResponse& response, LoadContext& context);

}  // namespace holdfast::app
