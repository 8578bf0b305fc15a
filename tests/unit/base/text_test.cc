#include "holdfast/base/text.h"

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <array>
#include <string>

using namespace holdfast;

namespace {

std::string escaped(std::string_view text) {
  std::string out;
  append_json_escaped(out, text);
  return out;
}

}  // namespace

TEST_CASE("only 1*DIGIT that fits is a decimal") {
  for (const std::string_view bad : {"", " 1", "1 ", "+1", "-1", "0x1", "1.0", "1a", "١",
                                     "18446744073709551616", "99999999999999999999999"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_decimal(bad));
  }
  CHECK(parse_decimal(std::string_view("1\0", 2)) == std::nullopt);
  CHECK(parse_decimal("0") == 0);
  CHECK(parse_decimal("007") == 7);
  CHECK(parse_decimal("18446744073709551615") == 18446744073709551615u);
}

TEST_CASE("case is ignored for A to Z alone") {
  CHECK(iequals("Content-LENGTH", "content-length"));
  CHECK(iequals("", ""));
  CHECK_FALSE(iequals("ab", "abc"));
  CHECK_FALSE(iequals("[", "{"));        // they differ by the same bit as 'A' and 'a'
  CHECK_FALSE(iequals("\xc4", "\xe4"));  // Latin-1 umlauts are octets here
  CHECK(to_lower("X-Trace_ID\xc4[") == "x-trace_id\xc4[");
}

TEST_CASE("every byte is compared alike, wherever it stands") {
  // Words of eight are compared at once: each pair of bytes, in such a word and behind it.
  for (int a = 0; a < 256; ++a) {
    for (int b = 0; b < 256; ++b) {
      const char one = static_cast<char>(a);
      const char other = static_cast<char>(b);
      const bool same = ascii_lower(one) == ascii_lower(other);
      for (const std::size_t at : {0, 3, 7, 8, 9}) {
        std::string left("Zz@[`{Aa\x7f\xff");
        std::string right("zZ@[`{aA\x7f\xff");
        left[at] = one;
        right[at] = other;
        REQUIRE(iequals(left, right) == same);
      }
    }
  }
}

TEST_CASE("plain JSON is what an escape would leave alone, wherever the byte stands") {
  for (int byte = 0; byte < 256; ++byte) {
    for (std::size_t size = 1; size <= 17; ++size) {
      for (std::size_t at = 0; at < size; ++at) {
        std::string text(size, 'x');
        text[at] = static_cast<char>(byte);
        const bool plain = byte < 0x80 && escaped(text) == text;
        REQUIRE(is_plain_json(text) == plain);
      }
    }
  }
  CHECK(is_plain_json(std::string_view()));
}

TEST_CASE("trim takes spaces and tabs from the ends, nothing else") {
  CHECK(trim(" \t a b\t ") == "a b");
  CHECK(trim("\r\nx\n") == "\r\nx\n");
  CHECK(trim(" \t ").empty());
  CHECK(trim("").empty());
}

TEST_CASE("edit distance counts one for each kind of slip") {
  struct Row {
    std::string_view a, b;
    std::size_t distance;
  };
  for (const Row& row :
       {Row{"", "", 0}, Row{"abc", "", 3}, Row{"route", "route", 0}, Row{"rote", "route", 1},
        Row{"rroute", "route", 1}, Row{"rouTe", "route", 1}, Row{"tiemout", "timeout", 1},
        Row{"kitten", "sitting", 3}}) {
    CAPTURE(row.a);
    CHECK(edit_distance(row.a, row.b) == row.distance);
    CHECK(edit_distance(row.b, row.a) == row.distance);
  }
}

TEST_CASE("edit distance is zero for equals only, and bounded by the longer text") {
  CHECK(rc::check([](const std::string& a, const std::string& b) {
    const std::size_t distance = edit_distance(a, b);
    RC_ASSERT((distance == 0) == (a == b));
    RC_ASSERT(distance <= std::max(a.size(), b.size()));
    RC_ASSERT(distance == edit_distance(b, a));
  }));
}

TEST_CASE("a suggestion is near, the first of the nearest, or none") {
  constexpr std::array<std::string_view, 4> names = {"timeout", "retry", "retries", "breaker"};
  CHECK(nearest("tiemout", names) == "timeout");
  CHECK(nearest("retrys", names) == "retry");
  CHECK(nearest("breaker", names) == "breaker");
  CHECK(nearest("", names).empty());
  CHECK(nearest("x", names).empty());
  CHECK(nearest("cache", names).empty());
  CHECK(nearest("anything", std::array<std::string_view, 0>{}).empty());
}

TEST_CASE("JSON strings escape what must be and replace what is not UTF-8") {
  CHECK(escaped("\"\\\n\r\t\b\x1f") == R"(\"\\\n\r\t\u0008\u001f)");
  CHECK(escaped(std::string_view("\0", 1)) == "\\u0000");
  CHECK(escaped("plain /\x7f") == "plain /\\u007f");

  for (const std::string_view good :
       {"\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xef\xbf\xbf", "\xf0\x90\x80\x80",
        "\xf4\x8f\xbf\xbf", "na\xc3\xafve"}) {
    CHECK(escaped(good) == good);
  }
  const std::string bad = "\\ufffd";
  CHECK(escaped("\x80") == bad);                                // a continuation alone
  CHECK(escaped("\xc3") == bad);                                // cut short
  CHECK(escaped("\xc3(") == bad + "(");                         // what follows is kept
  CHECK(escaped("\xc0\xaf") == bad + bad);                      // overlong
  CHECK(escaped("\xe0\x9f\xbf") == bad + bad + bad);            // overlong
  CHECK(escaped("\xed\xa0\x80") == bad + bad + bad);            // surrogate
  CHECK(escaped("\xf0\x8f\xbf\xbf") == bad + bad + bad + bad);  // overlong
  CHECK(escaped("\xf4\x90\x80\x80") == bad + bad + bad + bad);  // past U+10FFFF
  CHECK(escaped("\xff") == bad);
}

TEST_CASE("whatever goes in, no control character, bare quote or broken UTF-8 comes out") {
  CHECK(rc::check([](const std::string& text) {
    const std::string out = escaped(text);
    for (std::size_t i = 0; i < out.size(); ++i) {
      RC_ASSERT(static_cast<unsigned char>(out[i]) >= 0x20);
      if (out[i] == '\\')
        ++i;
      else
        RC_ASSERT(out[i] != '"');
    }
    // Good UTF-8 passes a second time unchanged but for the backslashes of the first.
    std::string no_backslashes = out;
    std::erase_if(no_backslashes, [](char c) { return c == '\\' || c == '"'; });
    RC_ASSERT(escaped(no_backslashes) == no_backslashes);
  }));
}
