#include "holdfast/proxy/body_writer.h"

#include <doctest/doctest.h>

#include "tests/support/fake_network.h"

namespace holdfast::test {
namespace {

using proxy::BodyMode;

/// What goes over the wire for these pieces.
std::string written(BodyMode mode, const std::vector<std::string_view>& pieces, bool last,
                    std::string_view head = "", const proxy::TrailerPass& trailers = {},
                    std::uint64_t* size = nullptr) {
  World world;
  FakePair pair = make_pair(world);
  const std::uint64_t sent = proxy::write_body(*pair.stream, head, mode, pieces, last, trailers);
  if (size != nullptr) *size = sent;
  return pair.peer->received();
}

TEST_CASE("each mode, first piece with the head, last piece with the end") {
  CHECK(written(BodyMode::length, {"ab", "c"}, false, "HEAD ") == "HEAD abc");
  CHECK(written(BodyMode::length, {}, true, "HEAD ") == "HEAD ");
  CHECK(written(BodyMode::until_close, {"ab"}, true) == "ab");
  CHECK(written(BodyMode::chunked, {"ab", "c"}, false, "HEAD ") == "HEAD 3\r\nabc\r\n");
  CHECK(written(BodyMode::chunked, {"ab"}, true) == "2\r\nab\r\n0\r\n\r\n");
  CHECK(written(BodyMode::chunked, {}, true) == "0\r\n\r\n");
  CHECK(written(BodyMode::chunked, {}, false).empty());
}

TEST_CASE("nothing in pieces never looks like the end of chunks") {
  CHECK(written(BodyMode::chunked, {""}, false).empty());
  CHECK(written(BodyMode::chunked, {"", "a", ""}, false) == "1\r\na\r\n");
}

TEST_CASE("without a body nothing is sent but the head, whatever the pieces hold") {
  std::uint64_t size = 99;
  CHECK(written(BodyMode::none, {"unwanted"}, true, "HEAD ", {}, &size) == "HEAD ");
  CHECK(size == 0);
}

TEST_CASE("the size is the body's, without its frame") {
  std::uint64_t size = 0;
  written(BodyMode::chunked, {std::string_view("abcdefghijklmnopq"), "r"}, true, "HEAD", {}, &size);
  CHECK(size == 18);
}

TEST_CASE("very many pieces arrive whole and in order") {
  for (const std::size_t count : {31, 32, 33, 500}) {
    const std::vector<std::string> owned = [&] {
      std::vector<std::string> all;
      for (std::size_t i = 0; i < count; ++i) all.push_back(std::to_string(i) + ",");
      return all;
    }();
    const std::vector<std::string_view> pieces(owned.begin(), owned.end());
    std::string joined;
    for (const std::string& piece : owned) joined += piece;
    CHECK(written(BodyMode::length, pieces, true, "H") == "H" + joined);
    CHECK(written(BodyMode::chunked, pieces, true).find(joined) != std::string::npos);
  }
}

TEST_CASE("only the trailers that are allowed pass, with the last chunk only") {
  http::Fields fields;
  fields.add("X-Sum", "1");
  fields.add("X-Secret", "2");
  fields.add("x-sum", "3");
  const std::vector<std::string> allowed = {"x-sum"};
  const proxy::TrailerPass trailers{&fields, allowed};
  CHECK(written(BodyMode::chunked, {"a"}, true, "", trailers) ==
        "1\r\na\r\n0\r\nX-Sum: 1\r\nx-sum: 3\r\n\r\n");
  CHECK(written(BodyMode::chunked, {"a"}, false, "", trailers) == "1\r\na\r\n");
  CHECK(written(BodyMode::length, {"a"}, true, "", trailers) == "a");
  CHECK(written(BodyMode::chunked, {}, true, "", {&fields, {}}) == "0\r\n\r\n");
}

}  // namespace
}  // namespace holdfast::test
