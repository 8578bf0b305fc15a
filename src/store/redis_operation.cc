#include "holdfast/store/redis_operation.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "holdfast/base/assert.h"
#include "holdfast/base/text.h"

namespace holdfast::store {
namespace {

using policy::Command;
using policy::RecordState;
using policy::Verdict;
using Kind = Verdict::Kind;
using Outcome = Result<Verdict, StoreError>;

Unexpected<StoreError> corrupt() {
  return unexpected(StoreError{StoreError::Kind::corrupt, "the record cannot be read"});
}

std::optional<RecordState> state_of(std::string_view letter) {
  if (letter == "I") return RecordState::inflight;
  if (letter == "C") return RecordState::completed;
  if (letter == "G") return RecordState::gone;
  if (letter == "U") return RecordState::unknown;
  if (letter == "R") return RecordState::revoked;
  return std::nullopt;
}

/// The elements of a script's reply after its first word, taken in order. What is missing or no
/// number makes the whole unreadable.
class Fields {
 public:
  explicit Fields(std::vector<RedisReply>& elements) : elements_(elements) {}

  std::string text() {
    RedisReply* element = next();
    if (element == nullptr || element->kind != RedisReply::Kind::text) return fail<std::string>();
    return std::move(element->text);
  }
  /// Redis has no such field: it was never set.
  std::string text_or_nothing() {
    RedisReply* element = next();
    return element == nullptr ? std::string() : std::move(element->text);
  }
  std::uint64_t number_or_nothing() {
    const std::string digits = text_or_nothing();
    return digits.empty() ? 0 : number_in(digits);
  }
  std::uint64_t number() { return number_in(text()); }
  policy::Milliseconds duration() {
    return policy::Milliseconds(static_cast<policy::Milliseconds::rep>(number()));
  }
  RecordState state() {
    const auto state = state_of(text());
    return state ? *state : fail<RecordState>();
  }
  bool readable() const { return readable_; }

 private:
  RedisReply* next() { return at_ < elements_.size() ? &elements_[at_++] : nullptr; }
  template <class T>
  T fail() {
    readable_ = false;
    return T{};
  }
  std::uint64_t number_in(std::string_view digits) {
    const auto number = parse_decimal(digits);
    return number && *number <= INT64_MAX ? *number : fail<std::uint64_t>();
  }

  std::vector<RedisReply>& elements_;
  std::size_t at_ = 1;
  bool readable_ = true;
};

int status_in(std::uint64_t number) {
  return static_cast<int>(std::min<std::uint64_t>(number, 999));
}

void read_completed(Fields& fields, Verdict& verdict) {
  verdict.status = status_in(fields.number());
  verdict.headers = fields.text();
  verdict.body = fields.text();
  verdict.age = fields.duration();
}

void read_gone(Fields& fields, Verdict& verdict) {
  verdict.status = status_in(fields.number());
  verdict.headers = fields.text();
  verdict.reason = fields.text();
  verdict.age = fields.duration();
}

Kind kind_of(RecordState state) {
  switch (state) {
    case RecordState::inflight:
      return Kind::inflight;
    case RecordState::completed:
      return Kind::completed;
    case RecordState::gone:
      return Kind::gone;
    case RecordState::unknown:
    case RecordState::revoked:
      break;
  }
  return Kind::unknown;
}

/// The answer to inspect: all there is, but for the body.
void read_record(Fields& fields, Verdict& verdict) {
  verdict.state = fields.state();
  verdict.kind = kind_of(verdict.state);
  verdict.attempt = static_cast<std::uint32_t>(fields.number());
  verdict.age = fields.duration();
  verdict.lease_left = fields.duration();
  verdict.status = status_in(fields.number_or_nothing());
  verdict.headers = fields.text_or_nothing();
  verdict.reason = fields.text_or_nothing();
}

/// How each first word of a reply is read.
struct Word {
  std::string_view word;
  Kind kind;
  void (*read)(Fields& fields, Verdict& verdict);
};

void read_nothing(Fields&, Verdict&) {}
void read_attempt(Fields& fields, Verdict& verdict) {
  verdict.attempt = static_cast<std::uint32_t>(fields.number());
}
void read_lease(Fields& fields, Verdict& verdict) {
  verdict.lease_left = fields.duration();
}
void read_reason(Fields& fields, Verdict& verdict) {
  verdict.reason = fields.text();
}
void read_state(Fields& fields, Verdict& verdict) {
  verdict.state = fields.state();
}

constexpr std::array words{
    Word{"ACQUIRED", Kind::acquired, read_attempt},
    Word{"ABSENT", Kind::absent, read_nothing},
    Word{"INFLIGHT", Kind::inflight, read_lease},
    Word{"COMPLETED", Kind::completed, read_completed},
    Word{"GONE", Kind::gone, read_gone},
    Word{"UNKNOWN", Kind::unknown, read_reason},
    Word{"RECORD", Kind::absent, read_record},
    Word{"MISMATCH", Kind::mismatch, read_state},
    Word{"REVOKED", Kind::revoked, read_nothing},
    Word{"OK", Kind::ok, read_nothing},
    Word{"REASSERTED", Kind::reasserted, read_nothing},
    Word{"ALREADY", Kind::already, read_nothing},
    Word{"DONE", Kind::done, read_nothing},
    Word{"FENCED", Kind::fenced, read_nothing},
    Word{"REFUSED", Kind::refused, read_state},
};

/// A reply that no script of this command gives is somebody else's.
bool answers(const Word& word, Command command) {
  if (word.read == read_record) return command == Command::inspect;
  if (word.kind == Kind::acquired || word.kind == Kind::revoked) return command == Command::claim;
  return true;
}

/// The word that names an error. Before Redis 7 what went wrong within a script is told at the end:
/// "ERR Error running script (…): @user_script: 9: -OOM command not allowed …".
std::string_view error_word(std::string_view text) {
  constexpr std::string_view mark = ": -";
  const std::size_t inner = text.starts_with("ERR ") ? text.find(mark) : std::string_view::npos;
  if (inner != std::string_view::npos) text.remove_prefix(inner + mark.size());
  return text.substr(0, text.find(' '));
}

bool is_cluster_word(std::string_view word) {
  return word == "MOVED" || word == "ASK";
}

}  // namespace

RedisRequest::RedisRequest(std::string_view key_prefix, const policy::Operation& operation)
    : key_(key_prefix), fingerprint_(hex(operation.fingerprint)) {
  key_ += "r:";
  key_ += hex(operation.id);
  word_count_ = 2;  // the verb and the script
  add("1");
  add(key_);
  switch (operation.command) {
    case Command::claim:
      add(operation.token);
      add(fingerprint_);
      add(operation.lease.count());
      add(operation.ttl.count());
      add(operation.reexecute ? "1" : "0");
      break;
    case Command::peek:
      add(fingerprint_);
      break;
    case Command::renew:
      add(operation.token);
      add(fingerprint_);
      add(operation.lease.count());
      add(operation.ttl.count());
      add(std::int64_t{operation.attempt});
      break;
    case Command::complete:
      add_settled(operation, operation.body);
      break;
    case Command::tombstone:
      add_settled(operation, operation.reason);
      break;
    case Command::release:
      add(operation.token);
      add(policy::revoked_for.count());
      break;
    case Command::mark_unknown:
      add(operation.token);
      add(operation.reason);
      break;
    case Command::inspect:
      break;
    case Command::resolve:
      add(operation.executed ? "1" : "0");
      add(operation.ttl.count());
      break;
  }
}

void RedisRequest::add_settled(const policy::Operation& operation, std::string_view last) {
  add(operation.token);
  add(fingerprint_);
  add(operation.ttl.count());
  add(std::int64_t{operation.status});
  add(operation.headers);
  add(std::int64_t{operation.attempt});
  add(last);
}

void RedisRequest::add(std::string_view word) {
  HOLDFAST_ASSERT(word_count_ < words_.size());
  words_[word_count_++] = word;
}

void RedisRequest::add(std::int64_t number) {
  HOLDFAST_ASSERT(number_count_ < numbers_.size());
  std::string& text = numbers_[number_count_++];
  text = std::to_string(number);
  add(std::string_view(text));
}

std::span<const std::string_view> RedisRequest::words(std::string_view verb,
                                                      std::string_view script) {
  words_[0] = verb;
  words_[1] = script;
  return std::span(words_).first(word_count_);
}

Result<Verdict, StoreError> verdict_of(Command command, RedisReply reply) {
  if (reply.kind != RedisReply::Kind::array || reply.elements.empty()) return corrupt();
  const std::string& first = reply.elements.front().text;
  const auto word = std::ranges::find(words, first, &Word::word);
  if (word == words.end() || !answers(*word, command)) return corrupt();
  Verdict verdict;
  verdict.kind = word->kind;
  Fields fields(reply.elements);
  word->read(fields, verdict);
  if (!fields.readable()) return corrupt();
  return verdict;
}

StoreError error_of(const RedisReply& reply) {
  HOLDFAST_ASSERT(reply.kind == RedisReply::Kind::error);
  const std::string word(error_word(reply.text));
  if (word == "OOM") return {StoreError::Kind::full, word};
  if (word == "WRONGTYPE") return {StoreError::Kind::corrupt, word};
  if (is_cluster_word(word)) {
    return {StoreError::Kind::refused,
            word + ": this is a node of a Redis Cluster, which cannot be the store"};
  }
  return {StoreError::Kind::refused, word};
}

bool is_unknown_script(const RedisReply& reply) {
  return reply.kind == RedisReply::Kind::error && error_word(reply.text) == "NOSCRIPT";
}

}  // namespace holdfast::store
