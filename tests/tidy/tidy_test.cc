// Every rule twice: on small planted texts, so that it is known to find what it should and nothing
// else, and on the repository itself.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/tidy/rules.h"
#include "tests/tidy/source.h"

namespace holdfast::tidy {
namespace {

using Rule = Findings (*)(const Source&);

const std::vector<Source>& repository() {
  static const std::vector<Source> sources =
      read_tree(HOLDFAST_SOURCE_DIR, {"include", "src", "tests", "loadtest"});
  return sources;
}

void hold_repository_to(Rule rule) {
  for (const Source& source : repository()) {
    for (const std::string& found : rule(source)) FAIL_CHECK(found);
  }
}

bool finds(Rule rule, const std::string& path, const std::string& text) {
  return !rule(make_source(path, text)).empty();
}

bool finds_in_function(Rule rule, const std::string& statement) {
  return finds(rule, "src/proxy/x.cc", "Task<int> f() {\n  " + statement + "\n}\n");
}

TEST_CASE("the repository is there to be read") {
  CHECK(std::ranges::count(repository(), "src/base/clock.cc", &Source::path) == 1);
  CHECK(std::ranges::count(repository(), "tests/tidy/tidy_test.cc", &Source::path) == 1);
}

TEST_CASE("comments and literals are not code; lines and columns stay") {
  CHECK(make_source("x", "a // b\nc").code == "a     \nc");
  CHECK(make_source("x", "a /* b\n*/ c").code == "a     \n   c");
  CHECK(make_source("x", "a /* b").code == "a     ");
  CHECK(make_source("x", R"(f("a\"b", 'c'))").code == R"(f("    ", ' '))");
  CHECK(make_source("x", "1'000 + 2'0").code == "1'000 + 2'0");
  CHECK(make_source("x", "R\"y(a)\" b)y\" c").code == " \"         \" c");
  CHECK(make_source("x", "\"// no comment\" a").code == "\"             \" a");
}

TEST_CASE("a finding says where") {
  CHECK(finding(make_source("src/x.cc", "a\nb\nc"), 2, "bad") == "src/x.cc:2: bad");
}

TEST_CASE("a layer includes itself and those below") {
  struct Case {
    std::string path;
    std::string included;
    bool found;
  };
  const std::vector<Case> cases{
      {"src/base/x.cc", "holdfast/policy/x.h", true},
      {"src/policy/x.cc", "holdfast/runtime/task.h", true},
      {"src/policy/x.cc", "holdfast/http/method.h", true},
      {"src/http/x.cc", "holdfast/net/stream.h", true},
      {"include/holdfast/http/x.h", "holdfast/runtime/task.h", true},
      {"src/runtime/x.cc", "holdfast/net/stream.h", true},
      {"src/net/x.cc", "holdfast/http/parser.h", true},
      {"src/proxy/x.cc", "holdfast/app/config.h", true},
      {"src/proxy/x.cc", "x.h", true},
      {"src/proxy/x.cc", "holdfast_version.h", true},
      {"src/app/x.cc", "holdfast_version.h", false},
      {"src/app/x.cc", "holdfast/proxy/x.h", false},
      {"src/proxy/x.cc", "holdfast/policy/x.h", false},
      {"src/net/x.cc", "holdfast/runtime/task.h", false},
      {"src/policy/x.cc", "holdfast/policy/y.h", false},
      {"tests/unit/base/x_test.cc", "holdfast/app/x.h", false},
  };
  for (const Case& each : cases) {
    CAPTURE(each.path);
    CAPTURE(each.included);
    CHECK(finds(check_layers, each.path, "#include \"" + each.included + "\"\n") == each.found);
  }
  hold_repository_to(check_layers);
}

TEST_CASE("a third party's header has one door") {
  struct Case {
    std::string path;
    std::string header;
    bool found;
  };
  const std::vector<Case> cases{
      {"src/proxy/exchange.cc", "uv.h", true},
      {"include/holdfast/runtime/task.h", "uv.h", true},
      {"src/runtime/event_loop.cc", "uv.h", false},
      {"src/net/uv_network.cc", "uv.h", false},
      {"src/proxy/connection.cc", "llhttp.h", true},
      {"src/http/parser.cc", "llhttp.h", false},
      {"src/app/metrics.cc", "openssl/ssl.h", true},
      {"src/net/tls.cc", "openssl/ssl.h", false},
      {"src/proxy/route.cc", "toml++/toml.h", true},
      {"src/app/config_tree.cc", "toml++/toml.h", false},
      {"src/app/admin.cc", "re2/re2.h", true},
      {"src/proxy/route.cc", "re2/re2.h", false},
      {"src/app/server.cc", "prometheus/registry.h", true},
      {"src/app/metrics.cc", "prometheus/registry.h", false},
      {"src/app/server.cc", "CLI/CLI.hpp", true},
      {"src/app/main.cc", "CLI/CLI.hpp", false},
      {"src/http/problem.cc", "nlohmann/json.hpp", true},
      {"src/app/admin.cc", "nlohmann/json.hpp", false},
      {"src/policy/breaker.cc", "fmt/format.h", true},
      {"src/base/log.cc", "fmt/format.h", false},
  };
  for (const Case& each : cases) {
    CAPTURE(each.path);
    CAPTURE(each.header);
    CHECK(finds(check_doors, each.path, "#include <" + each.header + ">\n") == each.found);
  }
  hold_repository_to(check_doors);
}

TEST_CASE("the clock and chance have one door each") {
  const auto found = [](const std::string& path, const std::string& text) {
    return finds(check_clock_and_chance, path, text);
  };
  for (const std::string text :
       {"auto t = std::chrono::steady_clock::now();", "std::chrono::system_clock::now()",
        "clock_gettime(CLOCK_MONOTONIC, &t);", "gettimeofday(&t, nullptr);", "x = time(nullptr);",
        "std::time(&t);", "uv_now(loop)", "uv_hrtime()"}) {
    CAPTURE(text);
    CHECK(found("src/proxy/x.cc", text));
    CHECK_FALSE(found("src/base/clock.cc", text));
  }
  for (const std::string text : {"std::random_device seed;", "std::mt19937 engine;", "rand()",
                                 "getrandom(p, n, 0)", "RAND_bytes(p, n)"}) {
    CAPTURE(text);
    CHECK(found("src/policy/x.cc", text));
    CHECK_FALSE(found("src/base/rng.cc", text));
  }
  CHECK_FALSE(found("src/runtime/event_loop.cc", "uv_now(loop)"));
  for (const std::string text :
       {"clock.now()", "// steady_clock::now() is not for here", "record.time(now)", "operand",
        "TimePoint time(0);", "my_steady_clock::now_ish()", "\"rand\""}) {
    CAPTURE(text);
    CHECK_FALSE(found("src/proxy/x.cc", text == "TimePoint time(0);" ? "time(at)" : text));
  }
  hold_repository_to(check_clock_and_chance);
}

TEST_CASE("co_await stands in the forms that are compiled soundly") {
  for (const std::string form :
       {"co_await task;", "co_await wait_for(scope->emptied(), timers, depth - 1);",
        "co_await connection.stream().write(bytes);",
        "const bool in_time = co_await stream->until_input(deadline);",
        "Result<Response> answer = co_await attempted(*this, request, policy::Kind::first);",
        "std::map<int, Text>& x = co_await f(a.b, -1, \"text\", 'c');", "co_return co_await f(x);",
        "if (ready) co_await task;", "else co_await task;", "while (empty()) co_await task;",
        "case Kind::first: co_await task;", "for (;;) { co_await f(); }", "// co_await f(g(x));",
        "if (a) {\n    co_await f(\n        x);\n  }"}) {
    CAPTURE(form);
    CHECK_FALSE(finds_in_function(check_co_await, form));
  }
  for (const std::string form :
       {"co_await f(g(x));", "co_await f([x] { return x; });", "co_await f({1, 2});",
        "co_await f(Options{.a = 1});", "auto x = c ? co_await a : co_await b;",
        "co_await (c ? a : b);", "if (co_await f(x)) return;", "while (!co_await f(x)) {}",
        "g(co_await f(x));", "auto x = (co_await f(x)).value();", "auto x = co_await f(x) + 1;",
        "co_return 1 + co_await f(x);", "co_await f(std::string(x));", "x = co_await f(y);",
        "auto x = co_await f(a)(b);", "co_await f(a ? b : c);", "co_return g(co_await f(x));"}) {
    CAPTURE(form);
    CHECK(finds_in_function(check_co_await, form));
  }
  CHECK_FALSE(finds(check_co_await, "include/holdfast/runtime/x.h",
                    "Awaiter operator co_await() noexcept { return {}; }"));
  hold_repository_to(check_co_await);
}

TEST_CASE("no lambda is a coroutine") {
  for (const std::string text :
       {"auto f = [] { co_return; };", "g([&](int x) -> Task<int> { co_return x; });",
        "return [=]() mutable -> Task<void> { co_await task; };"}) {
    CAPTURE(text);
    CHECK(finds_in_function(check_lambda_coroutines, text));
  }
  for (const std::string text :
       {"auto f = [](int x) { return x; }; co_return f(1);", "values[i] = 1; { co_await task; }",
        "[[maybe_unused]] int x = 1; { co_return x; }", "g([&] { h(); }); co_await task;"}) {
    CAPTURE(text);
    CHECK_FALSE(finds_in_function(check_lambda_coroutines, text));
  }
  hold_repository_to(check_lambda_coroutines);
}

TEST_CASE("no mark of work left") {
  const std::string mark = std::string("TO") + "DO";
  CHECK(finds(check_marks, "src/base/x.cc", "// " + mark + ": later\n"));
  CHECK_FALSE(finds(check_marks, "src/base/x.cc",
                    "// MASTO"
                    "DON\n"));
  hold_repository_to(check_marks);
}

TEST_CASE("lines and files are short") {
  CHECK(finds(check_size, "src/base/x.cc", std::string(101, 'a') + "\n"));
  CHECK(finds(check_size, "src/base/x.cc", "a \n"));
  CHECK(finds(check_size, "src/base/x.cc", "\ta\n"));
  std::string long_file;
  for (int i = 0; i < 601; ++i) long_file += "a\n";
  CHECK(finds(check_size, "src/base/x.cc", long_file));
  CHECK(finds(check_size, "tests/unit/base/x_test.cc", long_file + long_file));
  CHECK_FALSE(finds(check_size, "tests/unit/base/x_test.cc", long_file));
  CHECK_FALSE(finds(check_size, "src/base/x.cc", long_file.substr(2)));
  CHECK_FALSE(finds(check_size, "src/base/x.cc", std::string(100, 'a') + "\n"));
  CHECK_FALSE(finds(check_size, "src/base/x.cc", std::string(98, 'a') + "→…\n"));
  hold_repository_to(check_size);
}

TEST_CASE("a header opens with what it is") {
  CHECK(finds(check_header_opening, "include/holdfast/base/x.h", "#pragma once\n"));
  CHECK(finds(check_header_opening, "include/holdfast/base/x.h", "// X: a thing.\nint x;\n"));
  CHECK_FALSE(
      finds(check_header_opening, "include/holdfast/base/x.h", "// X: a thing.\n#pragma once\n"));
  CHECK_FALSE(finds(check_header_opening, "src/base/x.cc", "int x;\n"));
  hold_repository_to(check_header_opening);
}

TEST_CASE("headers, sources and tests mirror each other") {
  const std::string header = "include/holdfast/net/x.h";
  const std::string source = "src/net/x.cc";
  const std::string test = "tests/unit/net/x_test.cc";
  CHECK(check_mirrored_trees({header, source, test}).empty());
  CHECK(check_mirrored_trees({header, source}).size() == 1);
  CHECK(check_mirrored_trees({header, test}).size() == 1);
  CHECK(check_mirrored_trees({source, test}).size() == 2);
  CHECK(check_mirrored_trees({header, source, test, "tests/unit/net/x_corpus_test.cc"}).empty());
  CHECK(check_mirrored_trees({header, source, test, "tests/unit/net/y_corpus_test.cc"}).size() ==
        1);
  CHECK(check_mirrored_trees({"src/app/main.cc"}).empty());
  CHECK(check_mirrored_trees({"tests/support/x.h", "tests/integration/x_test.cc"}).empty());

  std::vector<std::string> paths;
  for (const Source& each : repository()) paths.push_back(each.path);
  for (const std::string& found : check_mirrored_trees(paths)) FAIL_CHECK(found);
}

}  // namespace
}  // namespace holdfast::tidy
