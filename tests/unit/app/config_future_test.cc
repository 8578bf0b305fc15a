#include "holdfast/app/config_future.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "tests/unit/app/config_support.h"

namespace holdfast::app {
namespace {

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
    ++count;
  return count;
}

}  // namespace

TEST_CASE("what is not built yet is refused by name, and right values bring no other error") {
  const std::string upstream(some_upstream);
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"rate_limit",
       "[defaults]\nrate_limit = { rate = \"100/s\", burst = 0, key = \"client_ip\" }\n"},
      {"concurrency", upstream +
                          R"(concurrency = { max = "off", queue = 100, queue_timeout = "1s", )"
                          R"(adaptive = false, priority = "default" })"},
  };
  for (const auto& [name, document] : cases) {
    CAPTURE(document);
    const std::string errors = errors_of(document);
    CAPTURE(errors);
    CHECK(count_of(errors, ": error: ") == 1);
    CHECK(errors.find("not in this version") != std::string::npos);
    CHECK(errors.find(name) != std::string::npos);
  }
}

TEST_CASE("the values of what is refused are checked all the same") {
  const std::vector<std::string> documents = {
      "[defaults]\nrate_limit = { rate = \"100\" }\n",
      "[defaults]\nconcurrency = { max = 0 }\n",
  };
  for (const std::string& document : documents) {
    CAPTURE(document);
    const std::string errors = errors_of(document);
    CAPTURE(errors);
    CHECK(errors.find("not in this version") != std::string::npos);
    CHECK(count_of(errors, ": error: ") == 2);
  }
}

TEST_CASE("the defaults of what is not built yet may be written down") {
  CHECK(errors_of("[[listener]]\nmode = \"reverse\"\nallow = []\n") == "");
}

}  // namespace holdfast::app
