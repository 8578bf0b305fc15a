// IdempotencyOptions: [route.idempotency], effective for one route.
//
// Contract: a value; the defaults are those of the project's specification of idempotency, and a
// test compares the two. std::nullopt means "off".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "holdfast/base/time.h"

namespace holdfast::policy {

enum class MissingKey : std::uint8_t { pass, reject, generate };
enum class KeySyntax : std::uint8_t { lenient, strict };
enum class ScopeMissing : std::uint8_t { anonymous, reject };
enum class FingerprintOf : std::uint8_t { full, body, none };
enum class OnUnknown : std::uint8_t { hold, reexecute };
enum class OnStoreFailure : std::uint8_t { closed, open };
enum class Recording : std::uint8_t { definitive, all, no_5xx, success_only };

/// One source of the scope's value.
struct ScopeSource {
  enum class Kind : std::uint8_t { authorization, header, client_cert, none } kind = Kind::none;
  std::string header;  // lower case, for Kind::header
  bool operator==(const ScopeSource&) const = default;
};

struct IdempotencyOptions {
  bool enabled = false;
  std::vector<std::string> methods = {"POST"};
  std::string header = "Idempotency-Key";
  MissingKey missing_key = MissingKey::pass;
  Duration auto_ttl = std::chrono::seconds(60);
  KeySyntax key_syntax = KeySyntax::lenient;
  std::uint64_t max_key_length = 255;
  std::string name_space;  // `namespace`; the loader sets the route's name
  std::vector<ScopeSource> scope = {{ScopeSource::Kind::authorization, ""}};
  ScopeMissing scope_missing = ScopeMissing::anonymous;
  FingerprintOf fingerprint = FingerprintOf::full;
  Duration ttl = std::chrono::hours(24);
  Duration lease = std::chrono::seconds(15);
  Duration max_execution = std::chrono::seconds(60);
  std::optional<Duration> in_flight_wait;
  /// Not said: reexecute where the upstream honours the key, else hold. The loader decides.
  OnUnknown on_unknown = OnUnknown::hold;
  /// Not said: what [store] on_error says. The loader decides.
  OnStoreFailure on_store_error = OnStoreFailure::closed;
  Recording record = Recording::definitive;
  std::uint64_t max_request_bytes = 1024 * 1024;
  std::uint64_t max_response_bytes = 1024 * 1024;
  bool replay_set_cookie = false;
  bool upstream_honours_key = false;

  bool operator==(const IdempotencyOptions&) const = default;
};

}  // namespace holdfast::policy
