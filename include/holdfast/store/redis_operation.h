// One operation of a store in the words of Redis: the arguments of its script, and what the reply
// means.
//
// Contract: pure. The key of a record is the prefix, "r:" and the id in hex: no key of a client and
// no token is in it. An error's detail is the first word of the server's text only (READONLY, OOM,
// …), for the rest may quote what was sent.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "holdfast/base/result.h"
#include "holdfast/policy/idempotency.h"
#include "holdfast/store/redis_codec.h"
#include "holdfast/store/store.h"

namespace holdfast::store {

class RedisRequest {
 public:
  /// REQUIRES: `operation` outlives it.
  RedisRequest(std::string_view key_prefix, const policy::Operation& operation);
  RedisRequest(const RedisRequest&) = delete;
  RedisRequest& operator=(const RedisRequest&) = delete;

  /// "EVALSHA" and a name, or "EVAL" and a text. Valid until the next call.
  std::span<const std::string_view> words(std::string_view verb, std::string_view script);
  const std::string& key() const { return key_; }

 private:
  void add(std::string_view word);
  void add(std::int64_t number);
  void add_settled(const policy::Operation& operation, std::string_view last);

  std::string key_;
  std::string fingerprint_;
  std::array<std::string, 4> numbers_;
  std::size_t number_count_ = 0;
  std::array<std::string_view, 12> words_;
  std::size_t word_count_ = 0;
};

/// What the reply to the script of `command` says. REQUIRES: it is no error of Redis.
Result<policy::Verdict, StoreError> verdict_of(policy::Command command, RedisReply reply);

/// REQUIRES: reply.kind is error.
StoreError error_of(const RedisReply& reply);
/// The script has to be sent again as a text.
bool is_unknown_script(const RedisReply& reply);

}  // namespace holdfast::store
