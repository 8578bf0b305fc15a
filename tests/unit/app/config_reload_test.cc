#include "holdfast/app/config_reload.h"

#include <doctest/doctest.h>

#include <string>

#include "tests/unit/app/config_support.h"

namespace holdfast::app {
namespace {

/// What a reload from one document to another may not change.
std::string change(const std::string& before, const std::string& after) {
  return unchangeable(*load(before).config, *load(after).config);
}

std::string charge(const std::string& idempotency, const std::string& name = "charge") {
  return with_route("name = \"" + name + "\"\nidempotency = { " + idempotency + " }\n");
}

}  // namespace

TEST_CASE("a reload may not change what threads and sockets were made of") {
  CHECK(change("[server]\nworkers = 1\n", "[server]\nworkers = 2\n") == "server.workers");
  CHECK(change("[server]\nworkers = 1\n", "[log]\nlevel = \"info\"\n") == "server.workers");
  CHECK(change("[admin]\nlisten = \"off\"\n", "[admin]\n") == "admin");
  CHECK(change("[admin]\n", "[admin]\nlisten = \"127.0.0.1:9\"\n") == "admin");
  CHECK(change("[admin]\n", "[admin]\nhosts = [\"h\"]\n") == "admin");
}

TEST_CASE("a reload may not change the store") {
  const std::string store = "[store]\nkind = \"memory\"\n";
  CHECK(change(store, store).empty());
  CHECK(change(store, "[store]\nkind = \"local\"\n") == "store");
  CHECK(change(store, store + "timeout = \"1s\"\n") == "store");
  CHECK(change(store, with_route("")) == "store");
  CHECK(change(with_route(""), "[store]\nkind = \"local\"\npath = \"holdfast.db\"\n").empty());
}

TEST_CASE("a reload may not change what tells one record from another") {
  const std::string before = charge("enabled = true");
  CHECK(change(before, charge("enabled = true, namespace = \"x\"")) ==
        "idempotency.namespace of route \"charge\"");
  CHECK(change(before, charge("enabled = true, scope = [\"none\"]")) ==
        "idempotency.scope of route \"charge\"");
  CHECK(change(before, charge("enabled = true, methods = [\"PUT\"]")) ==
        "idempotency.methods of route \"charge\"");
  CHECK(change(charge("enabled = true, scope = [\"header:A\"]"),
               charge("enabled = true, scope = [\"header:B\"]")) ==
        "idempotency.scope of route \"charge\"");
}

TEST_CASE("what changes no identity may be reloaded") {
  const std::string before = charge("enabled = true, methods = [\"POST\", \"PUT\"]");
  CHECK(change(before, charge("enabled = true, methods = [\"PUT\", \"POST\"], ttl = \"48h\", "
                              "lease = \"1s\", in_flight_wait = \"1s\", namespace = \"charge\""))
            .empty());
  CHECK(change(before, charge("enabled = false, scope = [\"none\"]")).empty());
  CHECK(change(charge("enabled = false, scope = [\"none\"]"), before).empty());
  CHECK(change(before, with_route("name = \"other\"\n")).empty());
}

TEST_CASE("a route that is renamed keeps its keys if its namespace is set") {
  CHECK(change(charge("enabled = true"), charge("enabled = true, namespace = \"charge\"", "pay"))
            .empty());
}

TEST_CASE("a route that is renamed without a namespace would forget its keys") {
  const std::string before = charge("enabled = true");
  CHECK(change(before, charge("enabled = true", "pay")) ==
        "idempotency.namespace of route \"charge\" (now \"pay\"; namespace = \"charge\" keeps its "
        "keys)");
  CHECK(change(before, charge("enabled = true, namespace = \"x\"", "pay")) != "");
  CHECK(change(before, charge("enabled = false", "pay")).empty());
  CHECK(change(charge("enabled = false"), charge("enabled = true", "pay")).empty());
  const std::string elsewhere = "match = { path = \"/other\" }\n";
  CHECK(change(before, with_route("name = \"pay\"\nidempotency = { enabled = true }\n" + elsewhere))
            .empty());
}

}  // namespace holdfast::app
