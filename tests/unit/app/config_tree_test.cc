#include "holdfast/app/config_tree.h"

#include <doctest/doctest.h>

#include <string>

namespace holdfast::app {
namespace {

Node parse(std::string_view document) {
  auto root = parse_toml(document);
  REQUIRE(root.has_value());
  return std::move(root).value();
}

SyntaxError error_of(std::string_view document) {
  const auto root = parse_toml(document);
  REQUIRE_FALSE(root.has_value());
  return root.error();
}

/// The value at a path of keys.
const Node& at(const Node& root, std::initializer_list<std::string_view> path) {
  const Node* node = &root;
  for (const std::string_view key : path) {
    const Entry* entry = node->find(key);
    REQUIRE(entry != nullptr);
    node = &entry->value;
  }
  return *node;
}

}  // namespace

TEST_CASE("a document that is not TOML gives its first error, with its place") {
  CHECK(error_of("a = 1\nb = \n").place.line == 2);
  CHECK(error_of("a = 1\n  a = 2").place == Place{2, 7});
  CHECK(error_of("a = \"\xff\"").place.line == 1);
  CHECK(error_of(std::string_view("a = 1\n\0", 7)).place.line == 2);
  CHECK(error_of("[a]\n[a]\n").place.line == 2);
  CHECK_FALSE(error_of("a").message.empty());
}

TEST_CASE("no nesting overflows the stack") {
  const std::size_t depth = 300'000;
  std::string dotted = "a";
  for (std::size_t i = 0; i < depth; ++i) dotted += ".a";
  CHECK(error_of(dotted + " = 1").message == "a key of too many parts");
  CHECK(error_of("x = 1\n[" + dotted + "]").place.line == 2);
  CHECK_FALSE(error_of("a = " + std::string(depth, '[')).message.empty());
  std::string tables;
  for (std::size_t i = 0; i < depth; ++i) tables += "a={";
  CHECK_FALSE(error_of(tables).message.empty());
  CHECK(parse("a = \"" + std::string(400, '.') + "\"").entries.size() == 1);
}

TEST_CASE("keys, values, items and tables know their place, in characters") {
  const Node root =
      parse("x = \"é\" \nlist = [ 1,\n  2.5, true ]\n[[route]]\n[route.retry]\nattempts = 3\n");
  CHECK(at(root, {"x"}).place == Place{1, 5});
  CHECK(root.find("x")->place == Place{1, 1});
  const Node& list = at(root, {"list"});
  REQUIRE(list.items.size() == 3);
  CHECK(list.items[0].place == Place{2, 10});
  CHECK(list.items[1].place == Place{3, 3});
  CHECK(list.items[1].number == 2.5);
  CHECK(list.items[2].boolean);
  const Node& route = at(root, {"route"}).items[0];
  CHECK(route.place == Place{4, 1});
  CHECK(route.find("retry")->place == Place{5, 8});
  CHECK(at(route, {"retry"}).find("attempts")->place == Place{6, 1});
  CHECK(at(route, {"retry", "attempts"}).integer == 3);
  CHECK(root.find("nothing") == nullptr);
}

TEST_CASE("dates, an empty document and a byte order mark") {
  CHECK(at(parse("a = 1979-05-27"), {"a"}).kind == Node::Kind::date);
  CHECK(parse("").entries.empty());
  CHECK(parse("# nothing\n").entries.empty());
  CHECK(parse("\xEF\xBB\xBF"
              "a = 1\r\n")
            .find("a")
            ->place == Place{1, 1});
}

TEST_CASE("the nearer table wins key by key, arrays are taken whole") {
  const Node far = parse("a = 1\nb = 1\nlist = [1, 2]\n[t]\nx = 1\ny = 1\n[t.u]\np = 1\n");
  const Node near = parse("b = 2\nc = 2\nlist = [3]\n[t]\ny = 2\n[t.u]\nq = 2\n");
  const Node merged = merge(far, near);
  CHECK(at(merged, {"a"}).integer == 1);
  CHECK(at(merged, {"b"}).integer == 2);
  CHECK(at(merged, {"c"}).integer == 2);
  CHECK(at(merged, {"list"}).items.size() == 1);
  CHECK(at(merged, {"t", "x"}).integer == 1);
  CHECK(at(merged, {"t", "y"}).integer == 2);
  CHECK(at(merged, {"t", "u", "p"}).integer == 1);
  CHECK(at(merged, {"t", "u", "q"}).integer == 2);
  CHECK(at(merge(far, Node()), {"t", "u", "p"}).integer == 1);
  CHECK(at(merge(Node(), near), {"c"}).integer == 2);
  // What sets a value keeps its place.
  CHECK(merged.find("b")->place == Place{1, 1});
}

}  // namespace holdfast::app
