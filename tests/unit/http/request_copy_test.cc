#include "holdfast/http/request_copy.h"

#include <doctest/doctest.h>

#include <memory>
#include <string>

using namespace holdfast::http;

TEST_CASE("a copy says what the original said, after the original's bytes are gone") {
  auto bytes = std::make_unique<std::string>("POST/a?b=1a.exampleX-AoneX-Atwo");
  const std::string_view all = *bytes;
  RequestHead original;
  original.method = Method::post;
  original.method_text = all.substr(0, 4);
  original.target = all.substr(4, 6);
  original.path = all.substr(4, 2);
  original.query = all.substr(7, 3);
  original.authority = all.substr(10, 9);
  original.minor_version = 0;
  original.keep_alive = false;
  original.framing = {Framing::Kind::length, 7};
  original.fields.add(all.substr(19, 3), all.substr(22, 3));
  original.fields.add(all.substr(25, 3), all.substr(28, 3));

  const RequestCopy copy(original);
  bytes->assign(bytes->size(), '#');
  bytes.reset();

  const RequestHead& head = copy.head();
  CHECK(head.method == Method::post);
  CHECK(head.method_text == "POST");
  CHECK(head.target == "/a?b=1");
  CHECK(head.path == "/a");
  CHECK(head.query == "b=1");
  CHECK(head.authority == "a.example");
  CHECK(head.minor_version == 0);
  CHECK_FALSE(head.keep_alive);
  CHECK(head.framing == Framing{Framing::Kind::length, 7});
  REQUIRE(head.fields.size() == 2);
  CHECK(head.fields.begin()->name == "X-A");
  CHECK(head.fields.begin()->value == "one");
  CHECK((head.fields.begin() + 1)->value == "two");
}

TEST_CASE("an empty head is copied") {
  const RequestCopy copy{RequestHead{}};
  CHECK(copy.head().target.empty());
  CHECK(copy.head().fields.empty());
}
