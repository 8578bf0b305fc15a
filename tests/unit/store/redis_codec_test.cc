#include "holdfast/store/redis_codec.h"

#include <doctest/doctest.h>

#include <array>
#include <string>
#include <vector>

namespace holdfast::store {
namespace {

using Kind = RedisReply::Kind;

RedisReply of(Kind kind, std::string text) {
  return {kind, std::move(text), 0, {}};
}
RedisReply number(std::int64_t value) {
  return {Kind::integer, "", value, {}};
}
RedisReply array(std::vector<RedisReply> elements) {
  return {Kind::array, "", 0, std::move(elements)};
}

struct Outcome {
  std::vector<RedisReply> replies;
  std::string error;
};

/// Feeds `bytes` in pieces of `size`, and takes what comes after each.
Outcome read_in_pieces(std::string_view bytes, std::size_t size) {
  RedisReader reader;
  Outcome outcome;
  for (std::size_t at = 0; at < bytes.size(); at += size) {
    reader.feed(bytes.substr(at, size));
    for (;;) {
      auto next = reader.next();
      if (!next) {
        outcome.error = next.error();
        return outcome;
      }
      if (!*next) break;
      outcome.replies.push_back(std::move(**next));
    }
  }
  return outcome;
}

TEST_CASE("garbage is an error, however it is cut") {
  const std::vector<std::string> texts{
      "HTTP/1.1 400 Bad Request\r\n\r\n",
      "x\r\n",
      "$abc\r\n",
      "*x\r\n",
      ":12a\r\n",
      "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
  };
  for (const std::string& text : texts) {
    CAPTURE(text);
    CHECK(read_in_pieces(text, text.size()).error == "what came is no reply of a Redis");
    CHECK(read_in_pieces(text, 1).error == "what came is no reply of a Redis");
  }
}

TEST_CASE("a reply that is too large is an error before it is all there") {
  const std::string too_many = "*1025\r\n";
  CHECK(read_in_pieces(too_many, 3).error == "a reply of Redis is too large");

  const std::string quarter(RedisReader::max_reply_bytes / 4, 'x');
  const std::string text = "$" + std::to_string(quarter.size()) + "\r\n" + quarter + "\r\n";
  const Outcome in_sum = read_in_pieces("*5\r\n" + text + text + text + text + text, 1 << 16);
  CHECK(in_sum.error == "a reply of Redis is too large");

  std::string one = "$1000000000\r\n";
  one.append(RedisReader::max_reply_bytes + (1 << 16), 'x');
  CHECK(read_in_pieces(one, 1 << 16).error == "a reply of Redis is too large");
}

TEST_CASE("many replies of the greatest size pass one after the other") {
  const std::string half(RedisReader::max_reply_bytes / 2, 'x');
  const std::string text = "$" + std::to_string(half.size()) + "\r\n" + half + "\r\n";
  const Outcome outcome = read_in_pieces(text + text + text, 1 << 16);
  CHECK(outcome.error.empty());
  CHECK(outcome.replies.size() == 3);
}

TEST_CASE("replies come whole and in order, however the bytes are cut") {
  const std::string bytes =
      "+OK\r\n"
      "-OOM command not allowed\r\n"
      ":-42\r\n"
      "$-1\r\n"
      "$0\r\n\r\n"
      "$4\r\na\r\nb\r\n"
      "*0\r\n"
      "*-1\r\n"
      "*4\r\n$1\r\nx\r\n*2\r\n:1\r\n$-1\r\n+y\r\n-ERR z\r\n"
      ":7\r\n";
  const std::vector<RedisReply> expected{
      of(Kind::status, "OK"),
      of(Kind::error, "OOM command not allowed"),
      number(-42),
      RedisReply{},
      of(Kind::text, ""),
      of(Kind::text, "a\r\nb"),
      array({}),
      RedisReply{},
      array({of(Kind::text, "x"), array({number(1), RedisReply{}}), of(Kind::status, "y"),
             of(Kind::error, "ERR z")}),
      number(7),
  };
  for (std::size_t size = 1; size <= bytes.size(); ++size) {
    CAPTURE(size);
    const Outcome outcome = read_in_pieces(bytes, size);
    CHECK(outcome.error.empty());
    REQUIRE(outcome.replies.size() == expected.size());
    CHECK((outcome.replies == expected));
  }
}

TEST_CASE("a command is its words with their lengths, whatever bytes they have") {
  std::string out = "before";
  const std::array<std::string_view, 3> words{"SET", std::string_view("a\0\r\n", 4), ""};
  append_command(out, words);
  CHECK(out == std::string("before*3\r\n$3\r\nSET\r\n$4\r\na\0\r\n\r\n$0\r\n\r\n", 35));
}

}  // namespace
}  // namespace holdfast::store
