// The language of Redis (RESP 2) as plain values: commands to bytes, bytes to replies. The one door
// to hiredis, of which only the codec is used.
//
// Contract: no I/O. RedisReader is fed bytes as they come, in any cut, and gives replies in their
// order. After an error it gives no more: what follows cannot be told apart.
// Limits: a reply of max_reply_bytes, max_elements in an array, arrays in arrays up to seven deep.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "holdfast/base/result.h"

struct redisReader;
struct redisReadTask;

namespace holdfast::store {

struct RedisReply {
  enum class Kind : std::uint8_t { nil, status, text, integer, array, error };
  Kind kind = Kind::nil;
  std::string text;  // status, text, error
  std::int64_t integer = 0;
  std::vector<RedisReply> elements;

  bool operator==(const RedisReply&) const = default;
};

/// Appends a command of these words. REQUIRES: there is one.
void append_command(std::string& out, std::span<const std::string_view> words);

class RedisReader {
 public:
  static constexpr std::size_t max_reply_bytes = (16u << 20) + (64u << 10);
  static constexpr int max_elements = 1024;

  RedisReader();
  ~RedisReader();
  RedisReader(const RedisReader&) = delete;
  RedisReader& operator=(const RedisReader&) = delete;

  void feed(std::string_view bytes);
  /// The next reply, or nullopt until more was fed. REQUIRES, so that what is kept stays bounded:
  /// it is asked until it has none before more is fed.
  Result<std::optional<RedisReply>, std::string> next();

 private:
  static void* on_text(const redisReadTask* task, char* bytes, std::size_t size);
  static void* on_array(const redisReadTask* task, int size);
  static void* on_integer(const redisReadTask* task, long long integer);
  static void* on_nil(const redisReadTask* task);
  RedisReply& place(const redisReadTask& task);
  bool fits(std::size_t bytes);

  std::unique_ptr<redisReader, void (*)(redisReader*)> reader_;
  RedisReply reply_;  // being read; hiredis holds pointers into it
  std::size_t reply_bytes_ = 0;
  bool too_large_ = false;
};

}  // namespace holdfast::store
