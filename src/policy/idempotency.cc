#include "holdfast/policy/idempotency.h"

#include "holdfast/base/assert.h"

namespace holdfast::policy {
namespace {

using Kind = Verdict::Kind;

bool is_lease_over(const Record& record, StoreTime now) {
  return record.state == RecordState::inflight && record.lease_until <= now;
}

/// To everybody but its last owner a released record is absent.
bool is_absent(const std::optional<Record>& record) {
  return !record || record->state == RecordState::revoked;
}

/// The record is of another claim, or its owner gave it back.
bool is_fenced(const std::optional<Record>& record, const Operation& operation) {
  return record && (record->token != operation.token || record->state == RecordState::revoked);
}

Verdict only(Kind kind) {
  Verdict verdict;
  verdict.kind = kind;
  return verdict;
}

Verdict with_state(Kind kind, RecordState state) {
  Verdict verdict = only(kind);
  verdict.state = state;
  return verdict;
}

Verdict settled(const Record& record, StoreTime now) {
  const bool completed = record.state == RecordState::completed;
  Verdict verdict = only(completed ? Kind::completed : Kind::gone);
  verdict.status = record.status;
  verdict.headers = record.headers;
  if (completed) verdict.body = record.body;
  if (!completed) verdict.reason = record.reason;
  verdict.age = now - record.since;
  return verdict;
}

/// What became of a key, for whoever knows the request that it stands for.
Verdict outcome(const Record& record, StoreTime now) {
  if (is_settled(record)) return settled(record, now);
  Verdict verdict = only(Kind::unknown);
  verdict.reason = record.reason;
  if (is_lease_over(record, now)) {
    verdict.reason = lease_expired;
  } else if (record.state == RecordState::inflight) {
    verdict = only(Kind::inflight);
    verdict.lease_left = record.lease_until - now;
  }
  return verdict;
}

Record begin(const Operation& operation, std::uint32_t attempt, StoreTime now) {
  Record record;
  record.token = operation.token;
  record.fingerprint = operation.fingerprint;
  record.attempt = attempt;
  record.lease_until = now + operation.lease;
  record.since = now;
  record.expires = now + operation.ttl;
  return record;
}

Verdict acquire(std::optional<Record>& record, const Operation& operation, std::uint32_t attempt,
                StoreTime now) {
  record = begin(operation, attempt, now);
  Verdict verdict = only(Kind::acquired);
  verdict.attempt = attempt;
  return verdict;
}

Verdict claim(std::optional<Record>& record, const Operation& operation, StoreTime now) {
  const bool own = record && record->token == operation.token;
  if (own && record->state == RecordState::revoked) return only(Kind::revoked);
  if (is_absent(record)) return acquire(record, operation, 1, now);
  if (own && record->state == RecordState::inflight) {  // the same claim, sent again
    Verdict verdict = only(Kind::acquired);
    verdict.attempt = record->attempt;
    return verdict;
  }
  if (record->fingerprint != operation.fingerprint) {
    return with_state(Kind::mismatch, record->state);
  }
  if (is_lease_over(*record, now)) {
    record->state = RecordState::unknown;
    record->reason = lease_expired;
  }
  if (record->state == RecordState::unknown && operation.reexecute) {
    return acquire(record, operation, record->attempt + 1, now);
  }
  return outcome(*record, now);
}

Verdict peek(const std::optional<Record>& record, const Operation& operation, StoreTime now) {
  if (is_absent(record)) return only(Kind::absent);
  if (record->fingerprint != operation.fingerprint) {
    return with_state(Kind::mismatch, record->state);
  }
  return outcome(*record, now);
}

Verdict renew(std::optional<Record>& record, const Operation& operation, StoreTime now) {
  if (is_fenced(record, operation)) return only(Kind::fenced);
  if (!record) {
    record = begin(operation, operation.attempt, now);
    return only(Kind::reasserted);
  }
  if (is_settled(*record)) return only(Kind::done);
  record->state = RecordState::inflight;
  record->reason.clear();
  record->lease_until = now + operation.lease;
  return only(Kind::ok);
}

/// complete and tombstone: they differ in what is kept.
Verdict settle(std::optional<Record>& record, const Operation& operation, StoreTime now) {
  if (is_fenced(record, operation)) return only(Kind::fenced);
  if (record && is_settled(*record)) return only(Kind::already);
  const bool completed = operation.command == Command::complete;
  const bool was_there = record.has_value();
  record = begin(operation, operation.attempt, now);
  record->state = completed ? RecordState::completed : RecordState::gone;
  record->lease_until = StoreTime{};
  record->status = operation.status;
  record->headers = operation.headers;
  if (completed) record->body = operation.body;
  if (!completed) record->reason = operation.reason;
  return only(completed && !was_there ? Kind::reasserted : Kind::ok);
}

Verdict release(std::optional<Record>& record, const Operation& operation, StoreTime now) {
  if (record && record->token != operation.token) return only(Kind::fenced);
  if (record && is_settled(*record)) return only(Kind::done);
  record.emplace();
  record->state = RecordState::revoked;
  record->token = operation.token;
  record->since = now;
  record->expires = now + revoked_for;
  return only(Kind::ok);
}

Verdict mark_unknown(std::optional<Record>& record, const Operation& operation) {
  if (!record) return only(Kind::absent);
  if (record->token != operation.token) return only(Kind::fenced);
  if (record->state != RecordState::inflight) return only(Kind::already);
  record->state = RecordState::unknown;
  record->reason = operation.reason;
  return only(Kind::ok);
}

Verdict inspect(const std::optional<Record>& record, StoreTime now) {
  if (is_absent(record)) return only(Kind::absent);
  Verdict verdict = outcome(*record, now);
  verdict.body.clear();
  verdict.state = is_lease_over(*record, now) ? RecordState::unknown : record->state;
  verdict.attempt = record->attempt;
  verdict.age = now - record->since;
  return verdict;
}

Verdict resolve(std::optional<Record>& record, const Operation& operation, StoreTime now) {
  if (is_absent(record)) return only(Kind::absent);
  const bool unknown = record->state == RecordState::unknown || is_lease_over(*record, now);
  if (!unknown) return with_state(Kind::refused, record->state);
  if (!operation.executed) {
    record.reset();
    return only(Kind::absent);
  }
  record->state = RecordState::gone;
  record->lease_until = StoreTime{};
  record->since = now;
  record->expires = now + operation.ttl;
  record->reason = resolved;
  return settled(*record, now);
}

}  // namespace

Verdict apply(std::optional<Record>& record, const Operation& operation, StoreTime now) {
  if (record && record->expires <= now) record.reset();
  switch (operation.command) {
    case Command::claim:
      return claim(record, operation, now);
    case Command::peek:
      return peek(record, operation, now);
    case Command::renew:
      return renew(record, operation, now);
    case Command::complete:
    case Command::tombstone:
      return settle(record, operation, now);
    case Command::release:
      return release(record, operation, now);
    case Command::mark_unknown:
      return mark_unknown(record, operation);
    case Command::inspect:
      return inspect(record, now);
    case Command::resolve:
      return resolve(record, operation, now);
  }
  HOLDFAST_ASSERT(false);
  return {};
}

bool is_settled(const Record& record) {
  return record.state == RecordState::completed || record.state == RecordState::gone;
}

bool owner_died(Record& record) {
  if (record.state != RecordState::inflight) return false;
  record.state = RecordState::unknown;
  record.reason = crash;
  return true;
}

std::size_t footprint(const Record& record) {
  // The id, the fixed fields, and what a store keeps beside them: its index and its order.
  constexpr std::size_t fixed = 256;
  return fixed + record.token.size() + record.headers.size() + record.body.size() +
         record.reason.size();
}

std::string_view name(RecordState state) {
  switch (state) {
    case RecordState::inflight:
      return "inflight";
    case RecordState::completed:
      return "completed";
    case RecordState::gone:
      return "gone";
    case RecordState::unknown:
      return "unknown";
    case RecordState::revoked:
      return "revoked";
  }
  return "";
}

std::string_view name(Command command) {
  switch (command) {
    case Command::claim:
      return "claim";
    case Command::peek:
      return "peek";
    case Command::renew:
      return "renew";
    case Command::complete:
      return "complete";
    case Command::tombstone:
      return "tombstone";
    case Command::release:
      return "release";
    case Command::mark_unknown:
      return "mark_unknown";
    case Command::inspect:
      return "inspect";
    case Command::resolve:
      return "resolve";
  }
  return "";
}

std::string_view name(Verdict::Kind kind) {
  switch (kind) {
    case Kind::acquired:
      return "acquired";
    case Kind::absent:
      return "absent";
    case Kind::inflight:
      return "inflight";
    case Kind::completed:
      return "completed";
    case Kind::gone:
      return "gone";
    case Kind::unknown:
      return "unknown";
    case Kind::mismatch:
      return "mismatch";
    case Kind::revoked:
      return "revoked";
    case Kind::ok:
      return "ok";
    case Kind::reasserted:
      return "reasserted";
    case Kind::already:
      return "already";
    case Kind::done:
      return "done";
    case Kind::fenced:
      return "fenced";
    case Kind::refused:
      return "refused";
  }
  return "";
}

}  // namespace holdfast::policy
