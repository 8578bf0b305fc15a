#include "holdfast/store/redis_codec.h"

#include <hiredis/hiredis.h>

#include <utility>

#include "holdfast/base/assert.h"

namespace holdfast::store {
namespace {

/// What an element weighs although it may have no bytes.
constexpr std::size_t element_bytes = sizeof(RedisReply);

RedisReply::Kind kind_of(int type) {
  if (type == REDIS_REPLY_ERROR) return RedisReply::Kind::error;
  if (type == REDIS_REPLY_STATUS) return RedisReply::Kind::status;
  return RedisReply::Kind::text;
}

void nothing_to_free(void*) {}

}  // namespace

void append_command(std::string& out, std::span<const std::string_view> words) {
  HOLDFAST_ASSERT(!words.empty());
  std::vector<const char*> pointers;
  std::vector<std::size_t> sizes;
  pointers.reserve(words.size());
  sizes.reserve(words.size());
  for (const std::string_view word : words) {
    pointers.push_back(word.data());
    sizes.push_back(word.size());
  }
  char* command = nullptr;
  const int size = redisFormatCommandArgv(&command, static_cast<int>(words.size()), pointers.data(),
                                          sizes.data());
  HOLDFAST_ASSERT(size > 0);
  out.append(command, static_cast<std::size_t>(size));
  redisFreeCommand(command);
}

RedisReader::RedisReader() : reader_(nullptr, &redisReaderFree) {
  static redisReplyObjectFunctions functions{&RedisReader::on_text, &RedisReader::on_array,
                                             &RedisReader::on_integer, &RedisReader::on_nil,
                                             &nothing_to_free};
  reader_.reset(redisReaderCreateWithFunctions(&functions));
  HOLDFAST_ASSERT(reader_ != nullptr);
  reader_->privdata = this;
}

RedisReader::~RedisReader() = default;

void RedisReader::feed(std::string_view bytes) {
  redisReaderFeed(reader_.get(), bytes.data(), bytes.size());
}

Result<std::optional<RedisReply>, std::string> RedisReader::next() {
  void* complete = nullptr;
  const bool read = redisReaderGetReply(reader_.get(), &complete) == REDIS_OK;
  // A long text waits in the reader's own buffer until its last byte is there.
  if (reader_->len - reader_->pos > max_reply_bytes) too_large_ = true;
  if (too_large_) return unexpected(std::string("a reply of Redis is too large"));
  if (!read) return unexpected(std::string("what came is no reply of a Redis"));
  if (complete == nullptr) return std::optional<RedisReply>();
  reply_bytes_ = 0;
  return std::optional<RedisReply>(std::exchange(reply_, RedisReply{}));
}

// The functions below are called by hiredis for each value; nullptr ends the reading.

void* RedisReader::on_text(const redisReadTask* task, char* bytes, std::size_t size) {
  auto& self = *static_cast<RedisReader*>(task->privdata);
  if (!self.fits(size)) return nullptr;
  RedisReply& reply = self.place(*task);
  reply.kind = kind_of(task->type);
  reply.text.assign(bytes, size);
  return &reply;
}

void* RedisReader::on_array(const redisReadTask* task, int size) {
  auto& self = *static_cast<RedisReader*>(task->privdata);
  if (size < 0 || size > max_elements) self.too_large_ = true;
  if (self.too_large_ || !self.fits(static_cast<std::size_t>(size) * element_bytes)) return nullptr;
  RedisReply& reply = self.place(*task);
  reply.kind = RedisReply::Kind::array;
  reply.elements.resize(static_cast<std::size_t>(size));
  return &reply;
}

void* RedisReader::on_integer(const redisReadTask* task, long long integer) {
  RedisReply& reply = static_cast<RedisReader*>(task->privdata)->place(*task);
  reply.kind = RedisReply::Kind::integer;
  reply.integer = integer;
  return &reply;
}

void* RedisReader::on_nil(const redisReadTask* task) {
  return &static_cast<RedisReader*>(task->privdata)->place(*task);
}

/// Where the value belongs: the reply itself, or its place in the array around it.
RedisReply& RedisReader::place(const redisReadTask& task) {
  if (task.parent == nullptr) return reply_;
  auto& array = *static_cast<RedisReply*>(task.parent->obj);
  return array.elements[static_cast<std::size_t>(task.idx)];
}

bool RedisReader::fits(std::size_t bytes) {
  if (bytes > max_reply_bytes - reply_bytes_) too_large_ = true;
  if (!too_large_) reply_bytes_ += bytes;
  return !too_large_;
}

}  // namespace holdfast::store
