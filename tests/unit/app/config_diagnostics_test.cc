#include "holdfast/app/config_diagnostics.h"

#include <doctest/doctest.h>

#include <string>

namespace holdfast::app {

TEST_CASE("an error is rendered with its line, a caret and a suggestion") {
  CHECK(render("f", "one\ntwo\n", "error", {{{2, 2}, "wrong", "right"}}) ==
        "f:2:2: error: wrong\ntwo\n ^\ndid you mean \"right\"?\n");
  CHECK(render("f", "", "error", {{{}, "cannot read", ""}}) == "f: error: cannot read\n");
  CHECK(headline("f", {{2, 2}, "wrong", "right"}) == "f:2:2: wrong");
  CHECK(headline("f", {{}, "wrong", ""}) == "f: wrong");
}

TEST_CASE("the caret stands under the character whatever comes before it") {
  CHECK(render("f", "\tx\ty", "e", {{{1, 4}, "m", ""}}) == "f:1:4: e: m\n\tx\ty\n\t \t^\n");
  CHECK(render("f", "é = ü", "e", {{{1, 5}, "m", ""}}) == "f:1:5: e: m\né = ü\n    ^\n");
  CHECK(render("f",
               "\xEF\xBB\xBF"
               "ab\r\n",
               "e", {{{1, 2}, "m", ""}}) == "f:1:2: e: m\nab\n ^\n");
  // A place behind the end of its line, or of the file: where something is missing.
  CHECK(render("f", "ab", "e", {{{1, 9}, "m", ""}}) == "f:1:9: e: m\nab\n  ^\n");
  CHECK(render("f", "ab", "e", {{{7, 1}, "m", ""}}) == "f:7:1: e: m\n");
}

TEST_CASE("a source line cannot talk to the terminal, and a long one is cut around its column") {
  CHECK(render("f", "a\x1b[31m", "e", {{{1, 1}, "m", ""}}) == "f:1:1: e: m\na?[31m\n^\n");
  const std::string line = std::string(1000, 'x') + "!" + std::string(1000, 'y');
  const std::string text = render("f", line, "e", {{{1, 1001}, "m", ""}});
  CHECK(text == "f:1:1001: e: m\n" + std::string(40, 'x') + "!" + std::string(159, 'y') + "\n" +
                    std::string(40, ' ') + "^\n");
}

TEST_CASE("errors come by place, those of one place as they were found") {
  Diagnostics diagnostics;
  CHECK_FALSE(diagnostics.has_errors());
  diagnostics.warning({1, 1}, "w");
  CHECK_FALSE(diagnostics.has_errors());
  diagnostics.error({2, 1}, "c");
  diagnostics.error({1, 9}, "b");
  diagnostics.error({2, 1}, "d", "x");
  diagnostics.error({1, 2}, "a");
  std::string order;
  for (const Diagnostic& error : diagnostics.errors()) order += error.message;
  CHECK(order == "abcd");
  CHECK(diagnostics.warnings().size() == 1);
}

TEST_CASE("what is said twice of one place is kept once") {
  Diagnostics diagnostics;
  for (const std::uint32_t line : {1u, 1u, 2u}) {
    diagnostics.error({line, 1}, "wrong");
    diagnostics.warning({line, 1}, "odd");
  }
  diagnostics.error({1, 1}, "also wrong");
  REQUIRE(diagnostics.errors().size() == 3);
  CHECK(diagnostics.errors()[1].message == "also wrong");
  CHECK(diagnostics.warnings().size() == 2);
}

TEST_CASE("what a person wrote is quoted without its control characters") {
  CHECK(in_quotes("a") == "\"a\"");
  CHECK(in_quotes("a\"\\\n\x1b") == "\"a\\\"\\\\\\u000A\\u001B\"");
  CHECK(in_quotes(std::string(61, 'x')) == "\"" + std::string(60, 'x') + "…\"");
  CHECK(in_quotes(std::string(60, 'x')) == "\"" + std::string(60, 'x') + "\"");
}

}  // namespace holdfast::app
