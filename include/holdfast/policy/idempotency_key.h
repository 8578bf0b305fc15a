// What tells one keyed request from another: the key, its scope, the record's identity and the
// fingerprint of the request; and what becomes of an answer.
//
// Contract: pure. Keys and scope values are secrets: only digests of them leave this file. Sources:
// draft-ietf-httpapi-idempotency-key-header, RFC 9651 §3.3.3 (String), the project's specification
// of idempotency §1, §2.1 to §2.6.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "holdfast/base/digest.h"
#include "holdfast/base/result.h"
#include "holdfast/policy/idempotency_options.h"

namespace holdfast::policy {

/// Why a key is not one: the `reason` of the problem key-invalid. `multiple` (two field lines) is
/// for the caller to find.
enum class KeyFault : std::uint8_t { empty, length, charset, syntax, multiple };
std::string_view name(KeyFault fault);

/// The key in one field's value, decoded: `"abc"` and `abc` are the same key. OWS around it is
/// trimmed; the parameters of a structured field's string are checked and ignored.
Result<std::string, KeyFault> parse_key(std::string_view value, KeySyntax syntax,
                                        std::uint64_t max_length);

/// Who asks, as a route's `scope` says it.
struct Scope {
  Digest digest{};
  bool missing = false;    // one of its sources is not there
  bool renewable = false;  // a bearer token that looks as if it were renewed is a part of it
};

/// The values of a request's field, one for each of its lines, by its name in lower case.
using FieldValues = std::function<std::vector<std::string_view>(std::string_view name)>;

/// Stands for the client's certificate where the name of a field would: it is none.
inline constexpr std::string_view client_certificate_source = ":client_cert";

Scope scope_of(const std::vector<ScopeSource>& sources, const FieldValues& values_of);
/// What a source reads: a field, in lower case, or client_certificate_source; "" for one that reads
/// nothing.
std::string_view field_of(const ScopeSource& source);

/// Tells the record of a request. `scope` is a Scope's digest.
Digest record_id(std::string_view name_space, const Digest& scope, std::string_view method,
                 std::string_view key);

/// What must be equal for a repetition to be one. `none` gives the same for all requests.
struct FingerprintInput {
  std::string_view method;
  std::string_view path;   // as it came
  std::string_view query;  // as it came
  std::string_view content_type;
  std::string_view content_encoding;
  std::string_view body;  // after transfer decoding
};
Digest fingerprint(FingerprintOf what, const FingerprintInput& input);

/// The key of a request that has none (`missing_key = "generate"`): "auto:" and 43 characters.
std::string generated_key(const Digest& scope, const FingerprintInput& input);

/// True for the shape `Bearer x.y.z`: a token that is renewed makes another scope.
bool looks_like_jwt(std::string_view authorization);

/// Whether a complete answer with this status is recorded, or the key given back because the
/// upstream refused the request before it did anything (specification §2.6).
bool is_recorded(Recording recording, int status, bool has_retry_after);
/// True for the statuses of the release list of `definitive`: by definition not processed.
bool is_refusal(int status, bool has_retry_after);

}  // namespace holdfast::policy
