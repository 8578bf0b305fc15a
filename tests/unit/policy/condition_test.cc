#include "holdfast/policy/condition.h"

#include <doctest/doctest.h>

#include <string>

using namespace holdfast;
using namespace holdfast::policy;

namespace {

ConditionSet set_of(std::initializer_list<std::string_view> conditions) {
  ConditionSet set;
  for (const std::string_view condition : conditions) REQUIRE(set.add(condition));
  return set;
}

}  // namespace

TEST_CASE("what is no condition is refused and changes nothing") {
  ConditionSet set;
  for (const std::string_view word :
       {"", "none", "Connect", "connect ", "connection_refused", "499", "404", "428", "600", "200",
        "3xx", "5XX", "5x", "50", "0503", "+503", "503 ", "all"}) {
    CAPTURE(word);
    CHECK_FALSE(set.add(word));
  }
  CHECK(set == ConditionSet());
}

TEST_CASE("every word that is suggested is a condition") {
  for (const std::string_view word : condition_words) {
    CAPTURE(word);
    CHECK(ConditionSet().add(word));
  }
}

TEST_CASE("a group matches exactly the errors that belong to it, and no status") {
  for (const std::string_view word :
       {"connect", "reset", "timeout", "open", "overload", "rate_limited"}) {
    const ConditionSet set = set_of({word});
    for (int i = 0; i < error_type_count; ++i) {
      const auto type = static_cast<ErrorType>(i);
      CAPTURE(name(type));
      CHECK(set.matches(type) == (name(group_of(type)) == word));
    }
    for (int status = 100; status < 1000; ++status) REQUIRE_FALSE(set.matches_status(status));
  }
}

TEST_CASE("a status condition matches what the upstream sent, never an error of ours") {
  struct Row {
    std::string_view word;
    int first, last;
  };
  for (const Row& row : {Row{"503", 503, 503}, Row{"500", 500, 500}, Row{"599", 599, 599},
                         Row{"429", 429, 429}, Row{"4xx", 400, 499}, Row{"5xx", 500, 599}}) {
    const ConditionSet set = set_of({row.word});
    CAPTURE(row.word);
    for (int status = -1; status < 1000; ++status) {
      REQUIRE(set.matches_status(status) == (status >= row.first && status <= row.last));
    }
    for (int i = 0; i < error_type_count; ++i)
      REQUIRE_FALSE(set.matches(static_cast<ErrorType>(i)));
  }
}

TEST_CASE("conditions add up, in any order") {
  const ConditionSet set = set_of({"open", "502", "reset"});
  CHECK(set == set_of({"reset", "502", "open", "502"}));
  CHECK(set.matches(ErrorType::destination_unavailable));
  CHECK(set.matches(ErrorType::connection_terminated));
  CHECK(set.matches_status(502));
  CHECK_FALSE(set.matches(ErrorType::connection_refused));
  CHECK_FALSE(set.matches_status(503));
  CHECK(set.has(ErrorGroup::open));
  CHECK_FALSE(set.has(ErrorGroup::connect));
}
