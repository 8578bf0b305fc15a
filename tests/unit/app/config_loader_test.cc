#include "holdfast/app/config_loader.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "holdfast/http/method.h"
#include "tests/unit/app/config_support.h"

namespace holdfast::app {
namespace {

const std::string source_dir = HOLDFAST_SOURCE_DIR;

std::string content_of(const std::string& path) {
  std::ifstream file(path);
  REQUIRE(file.good());
  std::ostringstream content;
  content << file.rdbuf();
  return content.str();
}

}  // namespace

TEST_CASE("every error of a file is told at once: the golden test") {
  // On purpose other text than expected is shown whole: copy it to errors.txt when it is better.
  const std::string golden = source_dir + "/tests/unit/app/golden";
  const auto loaded = load_document("errors.toml", content_of(golden + "/errors.toml"), {});
  REQUIRE_FALSE(loaded.has_value());
  const std::string expected = content_of(golden + "/errors.txt");
  CHECK_MESSAGE(loaded.error().render() == expected, loaded.error().render());
  const auto errors = std::count(expected.begin(), expected.end(), '^');
  CHECK(loaded.error().first_place() == "errors.toml:3:1: unknown key \"sever\" (and " +
                                            std::to_string(errors - 1) +
                                            " more, see holdfast validate)");
}

TEST_CASE("a file that cannot be read, or is not TOML, says so") {
  const auto missing = load_config("/nonexistent/holdfast.toml", {});
  REQUIRE_FALSE(missing.has_value());
  CHECK(missing.error().render() ==
        "/nonexistent/holdfast.toml: error: cannot read the configuration: No such file or "
        "directory\n");
  CHECK(missing.error().first_place() ==
        "/nonexistent/holdfast.toml: cannot read the configuration: No such file or directory");
  CHECK_FALSE(load_config("/", {}).has_value());

  CHECK(refuses("a = \n", "f.toml:1:"));
  CHECK(refuses("a = \"\xff\"\n", "f.toml:1:"));
  CHECK(refuses(with_route("upstream = \"app\"\n"), "f.toml:5:"));
  CHECK(errors_of("") == "f.toml:1:1: error: the file is empty\n\n^\n");
  CHECK(refuses("# nothing\n", "f.toml:1:1: error: the file is empty"));
}

TEST_CASE("the smallest configuration has every default") {
  const LoadedConfig loaded = load(with_route(""));
  const proxy::Config& config = *loaded.config;
  CHECK(loaded.warnings.empty());
  REQUIRE(config.listeners.size() == 1);
  CHECK(config.listeners[0].name == "listener-1");
  CHECK(config.listeners[0].listen.text == "127.0.0.1:8470");
  CHECK(config.admin.listen->text == "127.0.0.1:8471");
  REQUIRE(config.routes.size() == 1);
  const proxy::RouteConfig& route = config.routes[0];
  CHECK(route.name == "route-1");
  CHECK(route.upstream == "app");
  CHECK(route.match.path_kind == proxy::MatchConfig::PathKind::any);
  CHECK(route.retry.attempts == 3);
  CHECK((route.retry.methods & http::bit(http::Method::get)) != 0);
  CHECK((route.retry.methods & http::bit(http::Method::post)) == 0);
  CHECK(route.timeout == policy::TimeoutOptions());
  CHECK(config.upstreams.at("app").breaker == policy::BreakerOptions());
}

TEST_CASE("a file without a route is right, and warned of") {
  const LoadedConfig loaded = load("[log]\nlevel = \"warn\"\n");
  CHECK(loaded.config->routes.empty());
  CHECK(loaded.warnings.find("warning: there is no [[route]]") != std::string::npos);
}

TEST_CASE("what can never be used is warned of") {
  const LoadedConfig loaded =
      load(with_route("[[route]]\nrespond = { status = 200 }\n"
                      "[upstream.spare]\nendpoints = [\"http://h\"]\n"));
  CHECK(loaded.warnings ==
        "f.toml:5:1: warning: route \"route-2\" is never reached: \"route-1\" matches everything\n"
        "[[route]]\n^\n"
        "f.toml:7:11: warning: no route uses upstream \"spare\"\n"
        "[upstream.spare]\n          ^\n");
}

TEST_CASE("the nearest level wins, key by key, sub-tables too, arrays whole") {
  const LoadedConfig loaded = load(R"(
[defaults.timeout]
connect = "1ms"
total = "1ms"
idle = "1ms"
[defaults.retry]
attempts = 7
on = ["429", "5xx"]
backoff = { base = "1ms", max = "1ms" }
[[defaults.fallback]]
body = "defaults"
[[defaults.fallback]]
body = "second"

[upstream.app]
endpoints = ["http://127.0.0.1:3000"]
timeout = { total = "2ms", idle = "2ms" }
retry = { backoff = { max = "2ms" }, on = ["connect"] }

[upstream.other]
endpoints = ["http://127.0.0.1:3001"]

[[route]]
upstream = "app"
timeout = { idle = "3ms" }
retry.backoff.kind = "constant"
[[route.fallback]]
body = "route"

[[route]]
upstream = "other"
match = { path = "/other" }
)");
  const proxy::RouteConfig& route = loaded.config->routes[0];
  CHECK(route.timeout.connect == std::chrono::milliseconds(1));
  CHECK(route.timeout.total == std::chrono::milliseconds(2));
  CHECK(route.timeout.idle == std::chrono::milliseconds(3));
  CHECK(route.retry.attempts == 7);
  CHECK(route.retry.on.has(ErrorGroup::connect));
  CHECK_FALSE(route.retry.on.matches_status(429));
  CHECK(route.retry.backoff.base == std::chrono::milliseconds(1));
  CHECK(route.retry.backoff.max == std::chrono::milliseconds(2));
  CHECK(route.retry.backoff.kind == policy::BackoffKind::constant);
  REQUIRE(route.fallbacks.size() == 1);
  CHECK(route.fallbacks[0].response.body == "route");

  const proxy::RouteConfig& other = loaded.config->routes[1];
  CHECK(other.timeout.total == std::chrono::milliseconds(1));
  CHECK(other.retry.on.matches_status(429));
  REQUIRE(other.fallbacks.size() == 2);
  CHECK(other.fallbacks[0].response.body == "defaults");

  // Where each value was set.
  CHECK(loaded.origins.at("/route/0/timeout/connect").line == 3);
  CHECK(loaded.origins.at("/route/0/timeout/total").line == 17);
  CHECK(loaded.origins.at("/route/0/timeout/idle").line == 25);
  CHECK(loaded.origins.at("/route/0/retry/backoff/max").line == 18);
  CHECK(loaded.origins.at("/route/1/fallback/1/body").line == 13);
  CHECK_FALSE(loaded.origins.contains("/route/0/retry/hedge_after"));
}

TEST_CASE("a level is checked where it stands, also if no route uses it") {
  CHECK(refuses("[defaults]\ntimeout = { total = 1 }\n", "f.toml:2:21:"));
  CHECK(refuses("[upstream.x]\nendpoints = [\"http://h\"]\nretry = { attempts = 0 }\n",
                "f.toml:3:22:"));
  CHECK(refuses("[[defaults.fallback]]\nupstream = \"x\"\n", "there is no upstream \"x\""));
}

TEST_CASE("two of a name and two at an address are refused") {
  CHECK(refuses(
      "[[listener]]\nlisten = \"[::1]:1\"\n[[listener]]\nlisten = \"[::1]:1\"\n",
      "f.toml:4:10: error: listener \"listener-2\" listens where listener \"listener-1\" does"));
  CHECK(refuses("[[listener]]\nlisten = \"127.0.0.1:8471\"\n",
                "listens where the admin listener does"));
  CHECK(refuses("[admin]\nlisten = \"127.0.0.1:8470\"\n", "listens where the admin listener does"));
  CHECK(refuses("[[listener]]\nname = \"listener-2\"\n[[listener]]\nlisten = \"127.0.0.1:1\"\n",
                "there are two listeners \"listener-2\""));
  CHECK(refuses(with_route("name = \"a\"\n[[route]]\nname = \"a\"\nupstream = \"app\"\n"),
                "f.toml:7:8: error: there are two routes \"a\", the first in line 5"));
  // Port 0 is another one each time.
  CHECK(load("[admin]\nlisten = \"127.0.0.1:0\"\n[[listener]]\nlisten = \"127.0.0.1:0\"\n"
             "[[listener]]\nlisten = \"127.0.0.1:0\"\n")
            .config->listeners.size() == 2);
  CHECK(load("[admin]\nlisten = \"off\"\n[[listener]]\nlisten = \"127.0.0.1:8471\"\n")
            .config->listeners.size() == 1);
}

TEST_CASE("strings take their variables from the environment, and an error never shows a value") {
  const std::string document =
      "[upstream.app]\nendpoints = [\"http://127.0.0.1:${PORT:-80}\"]\n"
      "[[route]]\nupstream = \"${APP}\"\n"
      "rewrite.set_headers = { X-Cost = \"$$1\", X-Dollar = \"$1\" }\n";
  const LoadedConfig loaded = load(document, {{"APP", "app"}, {"PORT", "3000"}});
  CHECK(loaded.config->upstreams.at("app").endpoints[0].endpoint.port == 3000);
  CHECK(loaded.config->routes[0].upstream == "app");
  CHECK(loaded.config->routes[0].rewrite.set_headers[0].second == "$1");
  CHECK(loaded.config->routes[0].rewrite.set_headers[1].second == "$1");
  CHECK(load(document, {{"APP", "app"}}).config->upstreams.at("app").endpoints[0].endpoint.port ==
        80);

  CHECK(errors_of(document) ==
        "f.toml:4:12: error: the environment variable APP is not set and has no default\n"
        "upstream = \"${APP}\"\n           ^\n");
  CHECK(errors_of(document, {{"APP", "hunter2"}}).find("hunter2") == std::string::npos);
  CHECK(errors_of(document, {{"APP", "app"}, {"PORT", "hunter2"}}).find("hunter2") ==
        std::string::npos);
}

TEST_CASE("relative paths start at the configuration's folder") {
  std::string folder = (std::filesystem::temp_directory_path() / "holdfast-XXXXXX").string();
  REQUIRE(mkdtemp(folder.data()) != nullptr);
  std::ofstream(folder + "/page.html") << "<p>";
  std::ofstream(folder + "/holdfast.toml")
      << "[[route]]\nrespond = { body_file = \"page.html\" }\n";
  const auto loaded = load_config(folder + "/holdfast.toml", {});
  REQUIRE(loaded.has_value());
  CHECK(loaded->config->routes[0].respond->body == "<p>");

  std::ofstream(folder + "/page.html") << std::string((1 << 20) + 1, 'x');
  const auto too_large = load_config(folder + "/holdfast.toml", {});
  REQUIRE_FALSE(too_large.has_value());
  CHECK(too_large.error().first_place().ends_with(
      ":2:25: cannot read body_file \"page.html\": it is larger than 1 MiB"));
  std::filesystem::remove_all(folder);
}

TEST_CASE("the files in conf/ are right, without a warning") {
  for (const std::string name : {"holdfast.toml", "minimal.toml"}) {
    CAPTURE(name);
    const auto loaded = load_config(source_dir + "/conf/" + name, {});
    REQUIRE_MESSAGE(loaded.has_value(), loaded.error().render());
    CHECK(loaded->warnings == "");
  }
}

TEST_CASE("a thousand routes and a hundred upstreams load in no time") {
  std::ostringstream document;
  document << "[defaults]\ntimeout = { total = \"3s\" }\n";
  for (int i = 0; i < 100; ++i) {
    document << "[upstream.u" << i << "]\nendpoints = [\"http://127.0.0.1:" << 3000 + i << "\"]\n"
             << "retry = { attempts = 2 }\n";
  }
  for (int i = 0; i < 1000; ++i) {
    document << "[[route]]\nname = \"r" << i << "\"\nmatch = { host = \"h" << i % 50
             << ".local\", path_prefix = \"/p" << i << "\" }\nupstream = \"u" << i % 100
             << "\"\ntimeout = { per_try = \"1s\" }\n";
  }
  const std::clock_t start = std::clock();
  const LoadedConfig loaded = load(document.str());
  // Well under a second in a release build; the bound leaves room for sanitizers. It is of this
  // process's own time: how busy the machine is says nothing.
  CHECK(std::clock() - start < 5 * CLOCKS_PER_SEC);
  CHECK(loaded.config->routes.size() == 1000);
  CHECK(loaded.config->routes[999].retry.attempts == 2);
}

TEST_CASE("a step of a JSON pointer is escaped") {
  CHECK(pointer_step("a~b/c") == "a~0b~1c");
  CHECK(pointer_step("plain") == "plain");
}

}  // namespace holdfast::app
