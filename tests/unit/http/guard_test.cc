#include "holdfast/http/guard.h"

#include <doctest/doctest.h>

#include <optional>
#include <string>
#include <vector>

namespace holdfast::http {
namespace {

using namespace std::string_view_literals;

/// Every string of up to `most` of the given letters, the shortest first.
std::vector<std::string> words(std::string_view letters, std::size_t most) {
  std::vector<std::string> all = {""};
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i].size() == most) break;
    for (const char letter : letters) all.push_back(all[i] + letter);
  }
  return all;
}

/// The naive reading of a line: nullopt if it is refused, else where it ends (npos: not yet).
std::optional<std::size_t> naive_line_end(std::string_view bytes) {
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] == '\n' || bytes[i] == '\x01') return std::nullopt;
    if (bytes[i] != '\r') continue;
    if (i + 1 == bytes.size()) return bytes.npos;
    return bytes[i + 1] == '\n' ? std::optional(i + 2) : std::nullopt;
  }
  return bytes.npos;
}

std::optional<std::size_t> scanned_line_end(std::string_view bytes, std::size_t piece) {
  LineScanner scanner;
  for (std::size_t at = 0; at < bytes.size();) {
    const auto step = scanner.scan(bytes.substr(at, piece));
    if (!step) return std::nullopt;
    at += step->consumed;
    if (step->line_ended) return at;
  }
  return bytes.npos;
}

struct ChunkVerdict {
  bool refused = false;
  bool done = false;
  std::size_t consumed = 0;
  std::uint64_t data_bytes = 0;
  Problem problem = Problem::bad_request;
};

ChunkVerdict scan_chunks(std::string_view bytes, std::size_t piece = std::string_view::npos,
                         const ChunkScanner::Limits& limits = {max_length, 4}) {
  ChunkScanner scanner;
  scanner.begin(limits);
  ChunkVerdict verdict;
  while (verdict.consumed < bytes.size() && !verdict.done) {
    const auto step = scanner.scan(bytes.substr(verdict.consumed, piece));
    if (!step) return {true, false, 0, 0, step.error().problem};
    verdict.consumed += step->consumed;
    verdict.done = step->done;
  }
  verdict.data_bytes = scanner.data_bytes();
  return verdict;
}

std::string in_chunked_body(std::string_view size_line) {
  return std::string(size_line) + "\r\nAAAAA\r\n0\r\n\r\n";
}

struct HeadVerdict {
  std::optional<Problem> problem;
  bool ended = false;
};

HeadVerdict read_head(std::string_view bytes, const SectionLimits& limits, std::size_t piece) {
  HeadReader reader;
  reader.begin(limits);
  for (std::size_t at = 0; at < bytes.size();) {
    const auto step = reader.read(bytes.substr(at, piece));
    if (!step) return {step.error().problem, false};
    at += step->consumed;
    if (step->event == HeadReader::Event::end) return {std::nullopt, true};
  }
  return {};
}

}  // namespace

TEST_CASE("a line ends with CRLF and with nothing else: all short strings") {
  for (const std::string& word : words("a\r\n\x01", 6)) {
    CAPTURE(word);
    const auto expected = naive_line_end(word);
    CHECK(scanned_line_end(word, word.npos) == expected);
    CHECK(scanned_line_end(word, 1) == expected);
    CHECK(scanned_line_end(word, 2) == expected);
  }
}

TEST_CASE("no control byte but HTAB may stand in a line, wherever it stands") {
  for (int byte = 0; byte < 256; ++byte) {
    const bool allowed = byte == '\t' || (byte >= 0x20 && byte != 0x7f);
    for (std::size_t at = 0; at < 20; ++at) {
      std::string line =
          "0123456789\xff"
          "bcdefghij\r\n";
      line[at] = static_cast<char>(byte);
      CAPTURE(byte);
      CAPTURE(at);
      REQUIRE(scanned_line_end(line, line.npos).has_value() == allowed);
      REQUIRE(scanned_line_end(line, 1).has_value() == allowed);
    }
  }
}

TEST_CASE("a section is refused at the byte that passes its limits, however it is cut") {
  constexpr SectionLimits limits{.start_line_bytes = 5, .bytes = 18, .fields = 2, .empty_lines = 1};
  struct Example {
    std::string_view bytes;
    std::optional<Problem> problem;
    bool ended;
  };
  const Example examples[] = {
      {"12345\r\n\r\n", std::nullopt, true},
      {"123456", std::nullopt, false},
      {"123456\r\n", Problem::uri_too_long, false},
      {"12345678", Problem::uri_too_long, false},
      {"\r\n12345\r\n\r\n", std::nullopt, true},
      {"\r\n\r\n12345\r\n\r\n", Problem::bad_request, false},
      {"12345\r\na:1\r\nb:2\r\n\r\n", Problem::headers_too_large, false},  // 19 bytes
      {"1234\r\na:1\r\nb:2\r\n\r\n", std::nullopt, true},                  // 18 bytes
      {"1\r\na:\r\nb:\r\nc:\r\n\r\n", Problem::headers_too_large, false},  // three fields
      {"1\r\naaaaaaaaaaaaaaaaaaaaaaaaaaaa", Problem::headers_too_large, false},
      {"1\n", Problem::bad_request, false},
  };
  for (const Example& example : examples) {
    CAPTURE(example.bytes);
    for (const std::size_t piece :
         {std::size_t{1}, std::size_t{2}, std::size_t{3}, std::size_t{99}}) {
      CAPTURE(piece);
      const HeadVerdict verdict = read_head(example.bytes, limits, piece);
      CHECK(verdict.problem == example.problem);
      CHECK(verdict.ended == example.ended);
    }
  }
}

TEST_CASE("fields with an underscore are dropped, refused or passed") {
  HeadReader reader;
  reader.begin({.bytes = 100, .fields = 10});
  REQUIRE(reader.read("A_b: 1\r\nC: 2\r\n_: 3\r\n\r\n").has_value());
  CHECK(reader.field_count() == 3);
  Fields kept;
  CHECK(*reader.parse_fields(kept, UnderscorePolicy::drop) == 2);
  CHECK(kept.size() == 1);
  Fields all;
  CHECK(*reader.parse_fields(all, UnderscorePolicy::pass) == 0);
  CHECK(all.size() == 3);
  Fields none;
  CHECK_FALSE(reader.parse_fields(none, UnderscorePolicy::reject).has_value());
}

TEST_CASE("a chunk line is a size and well-formed extensions") {
  for (const std::string_view line : {"",
                                      ";a",
                                      "0x5",
                                      "+5",
                                      "-5",
                                      " 5",
                                      "5 ",
                                      "5\t",
                                      "0_5",
                                      "G",
                                      "5 ;a",
                                      "5; a",
                                      "5;",
                                      "5;a=",
                                      "5;a;",
                                      "5;@bad=1",
                                      "5;a=\"bc",
                                      "5;a=\"b\"c",
                                      "5;a=b=c",
                                      "5;a =b",
                                      "10000000000000005",
                                      "00000000000000005",
                                      "8000000000000005",
                                      "FFFFFFFFFFFFFFFF",
                                      "5;a\nb",
                                      "5;a=\"\x01\""}) {
    CAPTURE(line);
    CHECK(scan_chunks(in_chunked_body(line)).refused);
    CHECK(scan_chunks(in_chunked_body(line), 1).refused);
  }
  for (const std::string_view line :
       {"5", "0000000000000005", "5;a", "5;a=b", "5;a;b=c", R"(5;a="b;c\"d")", R"(5;a="")"}) {
    CAPTURE(line);
    const std::string body = in_chunked_body(line);
    const ChunkVerdict verdict = scan_chunks(body + "next");
    CHECK(verdict.done);
    CHECK(verdict.consumed == body.size());
    CHECK(verdict.data_bytes == 5);
    CHECK(scan_chunks(body, 1).done);
  }
}

TEST_CASE("each line end of a chunked body is CRLF: every other pair of bytes is refused") {
  for (const std::string& end : words("\r\nX", 2)) {
    if (end == "\r\n") continue;
    CAPTURE(end);
    CHECK_FALSE(scan_chunks("1" + end + "A\r\n0\r\n\r\n").done);
    CHECK_FALSE(scan_chunks("1\r\nA" + end + "0\r\n\r\n").done);
    CHECK_FALSE(scan_chunks("1\r\nA\r\n0" + end + "\r\n").done);
    CHECK_FALSE(scan_chunks("0\r\nA: b" + end + "\r\n").done);
  }
  CHECK(scan_chunks("1\r\nA\r\n0\r\nA: b\r\n\r\n").done);
}

TEST_CASE("a chunked body is refused at the size line that passes the limit") {
  CHECK(scan_chunks("5\r\nAAAAA\r\n0\r\n\r\n", 1, {5, 4}).done);
  const ChunkVerdict verdict = scan_chunks("5\r\nAAAAA\r\n1\r\n", 1, {5, 4});
  CHECK(verdict.refused);
  CHECK(verdict.problem == Problem::content_too_large);
  CHECK(scan_chunks("7FFFFFFFFFFFFFFF\r\n").refused == false);
  CHECK(scan_chunks("1\r\nA\r\n7FFFFFFFFFFFFFFF\r\n").refused);
}

TEST_CASE("a second reader sees no extension, and a trailer section only when it is whole") {
  const std::string body = "5;a=\"b;c\"\r\n;;;;;\r\n0;d\r\nA: 1\r\n\r\n";
  for (const std::size_t step_size : {body.size(), std::size_t{1}}) {
    ChunkScanner scanner;
    scanner.begin({max_length, 4});
    std::string shown;
    std::size_t at = 0;
    for (bool done = false; !done;) {
      const auto step = scanner.scan(std::string_view(body).substr(at, step_size));
      REQUIRE(step.has_value());
      if (step->shown.find('A') != std::string_view::npos) CHECK(step->shown == "A: 1\r\n\r\n");
      shown += step->shown;
      at += step->consumed;
      done = step->done;
    }
    CHECK(shown == "5\r\n;;;;;\r\n0\r\nA: 1\r\n\r\n");
    CHECK(at == body.size());
  }
}

TEST_CASE("extensions are bounded over the whole body") {
  const std::string chunk = "1;" + std::string(1000, 'a') + "\r\nA\r\n";
  std::string body;
  for (int i = 0; i < 16; ++i) body += chunk;
  CHECK_FALSE(scan_chunks(body).refused);
  CHECK(scan_chunks(body + chunk).refused);
}

TEST_CASE("trailers are bounded by count and bytes") {
  CHECK(scan_chunks("0\r\na:\r\na:\r\na:\r\na:\r\n\r\n").done);
  const ChunkVerdict many = scan_chunks("0\r\na:\r\na:\r\na:\r\na:\r\na:\r\n\r\n");
  CHECK(many.refused);
  CHECK(many.problem == Problem::headers_too_large);
  CHECK(scan_chunks("0\r\na:" + std::string(max_trailer_bytes, 'b')).refused);
}

}  // namespace holdfast::http
