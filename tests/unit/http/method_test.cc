#include "holdfast/http/method.h"

#include <doctest/doctest.h>

#include <set>

using namespace holdfast::http;

TEST_CASE("every registered method is found by its name and labelled with it") {
  std::set<std::uint32_t> bits;
  for (const std::string_view token : method_names) {
    CAPTURE(token);
    const Method method = method_of(token);
    CHECK(method != Method::other);
    CHECK(label(method) == token);
    bits.insert(bit(method));
  }
  CHECK(bits.size() == std::size(method_names));
  CHECK(method_of("DELETE") == Method::delete_);
  CHECK(method_of("PATCH") == Method::patch);
}

TEST_CASE("any other token, another case included, is OTHER") {
  for (const std::string_view token : {"", "get", "GETT", "GE", "PROPFIND", "OTHER", " GET"}) {
    CAPTURE(token);
    CHECK(method_of(token) == Method::other);
  }
  CHECK(label(Method::other) == "OTHER");
}
