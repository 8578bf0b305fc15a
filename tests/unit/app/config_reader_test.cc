#include "holdfast/app/config_reader.h"

#include <doctest/doctest.h>

#include <functional>
#include <string>

#include "holdfast/http/method.h"

namespace holdfast::app {
namespace {

/// What is said about `document` when `read` has read its root: each error on a line of its own.
std::string errors_of(std::string_view document, const std::function<void(Reader&)>& read) {
  const auto root = parse_toml(document);
  REQUIRE(root.has_value());
  Diagnostics diagnostics;
  Reader reader(diagnostics, *root, "");
  read(reader);
  reader.finish();
  std::string text;
  for (const Diagnostic& error : diagnostics.errors()) {
    text += headline("f", error);
    if (!error.suggestion.empty()) text += " [" + error.suggestion + "]";
    text += "\n";
  }
  return text;
}

enum class Colour { red, green };
constexpr Choice<Colour> colours[] = {{"red", Colour::red}, {"green", Colour::green}};

}  // namespace

TEST_CASE("a key that nobody asked for is unknown, with the nearest that was") {
  bool on = false;
  const auto read = [&](Reader& keys) { keys.boolean("enabled", on); };
  CHECK(errors_of("enabeld = true\n", read) == "f:1:1: unknown key \"enabeld\" [enabled]\n");
  CHECK(errors_of("zzz = true\n", read) == "f:1:1: unknown key \"zzz\"\n");
  CHECK_FALSE(on);
  CHECK(errors_of("enabled = true\n", read) == "");
  CHECK(on);
}

TEST_CASE("messages name the table of an unknown key") {
  const auto read = [](Reader& keys) {
    keys.table("a", [](Reader& a) { a.table("b", [](Reader&) {}); });
    keys.tables("list", [](Reader& item) { item.table("sub", [](Reader&) {}); });
    keys.named_tables("named", [](const Entry&, Reader&) {});
  };
  CHECK(errors_of("a.b.x = 1\nlist = [{y = 1, sub = {z = 1}}]\nnamed.n.w = 1\n", read) ==
        "f:1:5: unknown key \"x\" in [a.b]\n"
        "f:2:10: unknown key \"y\" in [[list]]\n"
        "f:2:24: unknown key \"z\" in [list.sub]\n"
        "f:3:9: unknown key \"w\" in [named.n]\n");
  CHECK(errors_of("a = 1\nlist = {}\nnamed = []\n", read) ==
        "f:1:5: \"a\" must be a table, not 1\n"
        "f:2:8: \"list\" must be an array of tables ([[list]]), not a table\n"
        "f:3:9: \"named\" must be a table, not an array\n");
  CHECK(errors_of("list = [1]\nnamed.n = true\n", read) ==
        "f:1:9: \"list\" must be a table, not 1\n"
        "f:2:11: \"n\" must be a table, not true\n");
}

TEST_CASE("an absent key leaves the default, a wrong value too") {
  Duration duration = std::chrono::seconds(7);
  std::optional<Duration> optional = std::chrono::seconds(8);
  std::uint64_t size = 9;
  int count = 10;
  Colour colour = Colour::green;
  const auto read = [&](Reader& keys) {
    keys.duration("duration", duration);
    keys.duration("optional", optional);
    keys.size("size", size);
    keys.count("count", count, {1, 20});
    keys.choice("colour", colour, colours);
  };
  const auto unchanged = [&] {
    return duration == std::chrono::seconds(7) && optional == std::chrono::seconds(8) &&
           size == 9 && count == 10 && colour == Colour::green;
  };
  CHECK(errors_of("", read) == "");
  CHECK(unchanged());
  CHECK(errors_of(
            "duration = \"off\"\noptional = \"0s\"\nsize = \"0B\"\ncount = 21\ncolour = \"rde\"\n",
            read) ==
        "f:1:12: \"duration\" must be a duration such as \"250ms\", \"3s\", \"5m\" or \"24h\", not "
        "\"off\"\n"
        "f:2:12: \"optional\" must be more than 0 (\"off\" switches it off), not \"0s\"\n"
        "f:3:8: \"size\" must be more than 0, not \"0B\"\n"
        "f:4:9: \"count\" must be an integer from 1 to 20, not 21\n"
        "f:5:10: \"colour\" must be one of \"red\", \"green\", not \"rde\" [red]\n");
  CHECK(unchanged());
  CHECK(errors_of(
            "duration = \"1s\"\noptional = \"off\"\nsize = \"1KiB\"\ncount = 1\ncolour = \"red\"\n",
            read) == "");
  CHECK(duration == std::chrono::seconds(1));
  CHECK_FALSE(optional.has_value());
  CHECK(size == 1024);
  CHECK(count == 1);
  CHECK(colour == Colour::red);
}

TEST_CASE("a ratio is any number from 0 to 1") {
  double ratio = 0.25;
  const auto read = [&](Reader& keys) { keys.ratio("r", ratio); };
  for (const std::string value :
       {"-0.1", "1.1", "2", "-1", "nan", "inf", "\"0.5\"", "true", "[0.5]"}) {
    CAPTURE(value);
    CHECK_FALSE(errors_of("r = " + value, read).empty());
    CHECK(ratio == 0.25);
  }
  for (const auto& [value, expected] :
       {std::pair<std::string, double>{"0", 0}, {"1", 1}, {"0.5", 0.5}, {"1.0", 1}, {"-0.0", 0}}) {
    CHECK(errors_of("r = " + value, read).empty());
    CHECK(ratio == expected);
  }
}

TEST_CASE("jitter is a word or a ratio") {
  policy::BackoffOptions backoff;
  const auto read = [&](Reader& keys) { keys.jitter("j", backoff); };
  CHECK(errors_of("j = \"ful\"", read) ==
        "f:1:5: \"j\" must be \"full\", \"equal\", \"none\" or a number from 0 to 1, not \"ful\" "
        "[full]\n");
  CHECK_FALSE(errors_of("j = 1.5", read).empty());
  CHECK(errors_of("j = \"none\"", read) == "");
  CHECK(backoff.jitter == policy::JitterKind::none);
  CHECK(errors_of("j = 0.3", read) == "");
  CHECK(backoff.jitter == policy::JitterKind::ratio);
  CHECK(backoff.jitter_ratio == 0.3);
}

TEST_CASE("conditions are checked against where they are listed") {
  policy::ConditionSet set;
  const auto read_as = [&](ConditionUse use) {
    return [&set, use](Reader& keys) { keys.conditions("on", set, use); };
  };
  for (const ConditionUse use :
       {ConditionUse::retry, ConditionUse::breaker, ConditionUse::fallback}) {
    CHECK(errors_of("on = [\"conect\"]", read_as(use)) ==
          "f:1:7: unknown condition \"conect\" in \"on\" [connect]\n");
    CHECK_FALSE(errors_of("on = [503]", read_as(use)).empty());
    CHECK_FALSE(errors_of("on = \"5xx\"", read_as(use)).empty());
    CHECK(errors_of("on = [\"connect\", \"reset\", \"timeout\", \"5xx\", \"429\", \"503\"]",
                    read_as(use)) == "");
    CHECK(set.matches_status(503));
  }
  for (const std::string condition : {"open", "overload", "rate_limited"}) {
    CAPTURE(condition);
    const std::string document = "on = [\"" + condition + "\"]";
    CHECK_FALSE(errors_of(document, read_as(ConditionUse::breaker)).empty());
    CHECK(errors_of(document, read_as(ConditionUse::fallback)).empty());
    CHECK(errors_of(document, read_as(ConditionUse::retry)).empty() ==
          (condition != "rate_limited"));
  }
  CHECK(errors_of("on = []", read_as(ConditionUse::retry)).empty());
  CHECK(set == policy::ConditionSet());
}

TEST_CASE("methods become bits, and a slip is named") {
  std::uint32_t bits = 0;
  const auto read = [&](Reader& keys) { keys.methods("m", bits); };
  CHECK(errors_of("m = [\"get\", \"FETCH\", 1]", read) ==
        "f:1:6: unknown method \"get\" in \"m\" [GET]\n"
        "f:1:13: unknown method \"FETCH\" in \"m\" [PATCH]\n"
        "f:1:22: each item of \"m\" must be a method, not 1\n");
  CHECK(errors_of("m = [\"GET\", \"POST\"]", read).empty());
  CHECK(bits == (http::bit(http::Method::get) | http::bit(http::Method::post)));
}

TEST_CASE("counts, rates and texts") {
  std::optional<int> workers;
  std::optional<Rate> rate;
  std::optional<std::uint64_t> bytes;
  std::vector<net::Cidr> ranges;
  const auto read = [&](Reader& keys) {
    keys.count("workers", workers, {1, 64}, "auto");
    keys.rate("rate", rate);
    keys.byte_rate("bytes", bytes);
    keys.ranges("ranges", ranges);
  };
  CHECK(errors_of("workers = \"off\"\nrate = \"1/h\"\nbytes = \"1/s\"\nranges = [\"x\"]\n", read) ==
        "f:1:11: \"workers\" must be an integer from 1 to 64, or \"auto\", not \"off\"\n"
        "f:2:8: \"rate\" must be a rate such as \"100/s\" or \"6000/m\", or \"off\", not \"1/h\"\n"
        "f:3:9: \"bytes\" must be bytes a second such as \"240B/s\" or \"1KiB/s\", or \"off\", not "
        "\"1/s\"\n"
        "f:4:11: each item of \"ranges\" must be an address or a range such as \"10.0.0.0/8\", not "
        "\"x\"\n");
  CHECK(errors_of("workers = 4\nrate = \"100/s\"\nbytes = \"1KiB/s\"\nranges = [\"::1\"]\n",
                  read) == "");
  CHECK(workers == 4);
  CHECK(rate->count == 100);
  CHECK(bytes == 1024);
  CHECK(ranges.size() == 1);
  CHECK(errors_of("workers = \"auto\"\nrate = \"off\"\nbytes = \"off\"\nranges = []\n", read) ==
        "");
  CHECK_FALSE(workers.has_value());
  CHECK_FALSE(rate.has_value());
  CHECK_FALSE(bytes.has_value());
  CHECK(ranges.empty());
}

TEST_CASE("a value from the environment is never repeated, a broken one not spoken of twice") {
  Node node;
  node.kind = Node::Kind::text;
  node.text = "hunter2";
  node.from_environment = true;
  CHECK(describe(node).find("hunter2") == std::string::npos);

  Node root;
  node.kind = Node::Kind::broken;
  root.entries.push_back({"size", {1, 1}, node});
  Diagnostics diagnostics;
  Reader reader(diagnostics, root, "");
  std::uint64_t size = 1;
  reader.size("size", size);
  reader.finish();
  CHECK_FALSE(diagnostics.has_errors());
}

}  // namespace holdfast::app
