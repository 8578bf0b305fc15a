#include "holdfast/base/text_writer.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <string>

using namespace holdfast;

TEST_CASE("what was there stays, and what is appended follows, however little room was guessed") {
  for (const std::size_t guess : {0, 1, 5, 64, 4096}) {
    CAPTURE(guess);
    std::string text = "before ";
    std::string expected = text;
    {
      TextWriter writer(text, guess);
      for (int i = 0; i < 100; ++i) {
        writer.append("piece ")
            .append(std::string_view())
            .append_number(static_cast<std::uint64_t>(i));
        writer.push_back(';');
        expected += "piece " + std::to_string(i) + ";";
      }
    }
    CHECK(text == expected);
  }
}

TEST_CASE("a writer that was given nothing leaves the string as it was") {
  std::string text = "as it was";
  { const TextWriter writer(text, 100); }
  CHECK(text == "as it was");
}

TEST_CASE("numbers are decimal, from the smallest to the largest") {
  std::string text;
  {
    TextWriter writer(text, 0);
    writer.append_number(0);
    writer.push_back(' ');
    writer.append_number(std::numeric_limits<std::uint64_t>::max());
  }
  CHECK(text == "0 18446744073709551615");
}
