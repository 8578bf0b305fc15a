// The life of an idempotency record: which states there are, and the only ways from one to another.
// One pure function, apply(), decides for every store: memory and SQLite call it, the Redis scripts
// say the same in Lua, and one conformance suite holds all three to it.
//
//   ABSENT    --claim--> inflight
//   inflight  --complete--> completed                  (status, headers, body)
//   inflight  --tombstone--> gone                      (status, headers, reason)
//   inflight  --release--> ABSENT                      (nothing sent, or the upstream refused)
//   inflight  --mark_unknown | lease over--> unknown
//   unknown   --the same token: complete, tombstone--> completed | gone
//   unknown   --the same token: renew--> inflight
//   unknown   --claim that may reexecute--> inflight   (attempt + 1)
//   unknown   --resolve--> ABSENT | gone
//   completed, gone, unknown --ttl--> ABSENT
//
// Invariants
// - An expired lease does not free a record: it reads unknown.
// - completed and gone never change before they expire; a foreign token changes nothing.
// - A fingerprint that differs is told before anything else.
// - A released record leaves its token behind (`revoked`) for revoked_for, so that its owner's own
//   delayed claim or renewal cannot bring it back. To everybody else it is absent.
//
// Contract: pure; told the time. StoreTime is the store's own: one clock that never goes back while
// the process lives. A record whose `expires` has come is absent: apply() treats it so, whoever
// keeps it removes it when that suits. Source: the project's specification of idempotency, §1, §2.9
// and §4; draft-ietf-httpapi-idempotency-key-header.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "holdfast/base/digest.h"

namespace holdfast::policy {

using Milliseconds = std::chrono::milliseconds;
/// Milliseconds since 1970 by the clock of the store.
using StoreTime = std::chrono::sys_time<Milliseconds>;

enum class RecordState : std::uint8_t { inflight, completed, gone, unknown, revoked };
std::string_view name(RecordState state);

/// How long a released record remembers its token.
inline constexpr Milliseconds revoked_for{60'000};

/// Reasons that are not an owner's: of an unknown record whose lease ran out or whose owner died
/// with the store, and of a gone one that a person resolved.
inline constexpr std::string_view lease_expired = "lease_expired";
inline constexpr std::string_view crash = "crash";
inline constexpr std::string_view resolved = "resolved";

struct Record {
  RecordState state = RecordState::inflight;
  std::string token;  // of the claim that owns it: the fence
  Digest fingerprint{};
  std::uint32_t attempt = 1;
  StoreTime lease_until{};
  StoreTime since{};  // of the claim, then of the completion
  StoreTime expires{};
  int status = 0;       // completed and gone
  std::string headers;  // completed and gone: "Name: value\r\n" lines
  std::string body;     // completed
  std::string reason;   // gone and unknown

  bool operator==(const Record&) const = default;
};

enum class Command : std::uint8_t {
  claim,         // take the key, or learn what became of it
  peek,          // learn what became of it, and change nothing
  renew,         // the owner is alive: the lease begins anew
  complete,      // the owner has the whole answer
  tombstone,     // the owner knows that it is done and cannot keep the answer
  release,       // the owner knows that nothing was sent, or that the upstream refused
  mark_unknown,  // the owner does not know
  inspect,       // a person looks: as peek, whatever the fingerprint, without the body
  resolve        // a person says what became of it
};
std::string_view name(Command command);

/// One request to a store. Fields that the command does not name are not looked at.
struct Operation {
  Command command = Command::claim;
  Digest id{};           // which record
  std::string token;     // all but peek, inspect, resolve
  Digest fingerprint{};  // claim, peek, renew, complete, tombstone
  Milliseconds lease{};  // claim, renew
  Milliseconds ttl{};    // claim, renew (of a record that was lost), complete, tombstone, resolve
  std::uint32_t attempt = 1;  // renew, complete, tombstone
  bool reexecute = false;     // claim: an unknown record may be taken over
  bool executed = false;      // resolve: it was (gone), or it was not (absent)
  int status = 0;             // complete, tombstone
  std::string headers;        // complete, tombstone
  std::string body;           // complete
  std::string reason;         // tombstone, mark_unknown
};

/// The fields that are not named beside its kind are empty. An inspect's has `state`, `attempt` and
/// `age` as well, and no body.
struct Verdict {
  enum class Kind : std::uint8_t {
    // answers to claim, peek, inspect and resolve
    acquired,   // claim: the record is the caller's; `attempt`
    absent,     // peek, inspect, resolve (it is now), mark_unknown (there was nothing)
    inflight,   // `lease_left`
    completed,  // `status`, `headers`, `body`, `age`
    gone,       // `status`, `headers`, `reason`, `age`
    unknown,    // `reason`
    mismatch,   // the key was used with another request
    revoked,    // claim: this token was released before
    // answers to an owner
    ok,
    reasserted,  // renew, complete: the record was lost and is there again
    already,     // complete, tombstone, mark_unknown: that had happened before
    done,        // renew, release: the record has its answer
    fenced,      // the record is somebody else's
    refused      // resolve: the record is not unknown (see `state`)
  };
  Kind kind = Kind::absent;
  std::uint32_t attempt = 0;
  RecordState state = RecordState::inflight;  // inspect, mismatch, refused
  Milliseconds lease_left{};
  Milliseconds age{};  // since the claim or, when completed or gone, since that
  int status = 0;
  std::string headers;
  std::string body;
  std::string reason;

  bool operator==(const Verdict&) const = default;
};
std::string_view name(Verdict::Kind kind);

/// Applies `operation` to the record of its id: an empty `record` is absent, and becomes so again
/// by a release, a resolution or its expiry.
Verdict apply(std::optional<Record>& record, const Operation& operation, StoreTime now);

/// Completed or gone: it changes no more before it expires.
bool is_settled(const Record& record);

/// What a store that starts anew makes of a record whose owner is known to be dead: inflight
/// becomes unknown, reason "crash". True if it changed.
bool owner_died(Record& record);

/// Bytes that a record counts for against a store's bound.
std::size_t footprint(const Record& record);

}  // namespace holdfast::policy
