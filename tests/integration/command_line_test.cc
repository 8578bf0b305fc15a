// The command line: what each command prints, and with which code it ends.
#include "tests/support/suite.h"

using namespace holdfast::testing;

namespace {

const std::string good =
    "[upstream.app]\nendpoints = [\"http://127.0.0.1:3000\"]\n"
    "[[route]]\nname = \"main\"\nupstream = \"app\"\ntimeout = { total = \"3s\" }\n";

/// A configuration file and the commands on it.
class Commands {
 public:
  explicit Commands(std::string_view text) : path_(folder_.write("holdfast.toml", text)) {}

  CommandResult run(std::string command, std::vector<std::string> more = {},
                    const Environment& environment = {}) const {
    std::vector<std::string> words{std::move(command), "--config", path_};
    words.insert(words.end(), more.begin(), more.end());
    return run_holdfast(words, environment);
  }
  const std::string& path() const { return path_; }

 private:
  TemporaryFolder folder_;
  std::string path_;
};

}  // namespace

TEST_CASE("validate says ok and counts") {
  const Commands commands(good +
                          "[[listener]]\nlisten = \"127.0.0.1:1\"\n[[listener]]\nlisten = "
                          "\"127.0.0.1:2\"\n");
  const CommandResult result = commands.run("validate");
  CHECK(result.exit_code == 0);
  CHECK(result.output == commands.path() + ": ok (2 listeners, 1 upstreams, 1 routes)\n");
  CHECK(result.error.empty());
}

TEST_CASE("validate counts the listener that nobody wrote") {
  CHECK(Commands(good).run("validate").output.find("(1 listeners,") != std::string::npos);
}

TEST_CASE("validate tells every error, its place, its line and what may have been meant") {
  const Commands commands(
      "[server]\n"
      "drain_timout = \"5s\"\n"
      "workers = \"many\"\n"
      "[upstream.app]\n"
      "endpoints = [\"http://127.0.0.1:3000\"]\n"
      "[[route]]\n"
      "upstream = \"ap\"\n"
      "timeout = { total = \"3 seconds\" }\n");
  const CommandResult result = commands.run("validate");
  CHECK(result.exit_code == 1);
  CHECK(result.output.empty());
  const std::string& file = commands.path();
  for (const std::string place :
       {":2:1: error: ", ":3:11: error: ", ":7:12: error: ", ":8:21: error: "}) {
    CAPTURE(result.error);
    CHECK(result.error.find(file + place) != std::string::npos);
  }
  CHECK(result.error.find("drain_timout = \"5s\"\n^") != std::string::npos);
  CHECK(result.error.find("did you mean \"drain_timeout\"?") != std::string::npos);
  CHECK(result.error.find("upstream = \"ap\"\n           ^") != std::string::npos);
  CHECK(result.error.find("did you mean \"app\"?") != std::string::npos);
}

TEST_CASE("a file that is no TOML gives its first syntax error") {
  const Commands commands("[server\nname = \n");
  const CommandResult result = commands.run("validate");
  CHECK(result.exit_code == 1);
  CHECK(result.error.starts_with(commands.path() + ":1:"));
}

TEST_CASE("what is not built yet is refused by name, and checked all the same") {
  const struct {
    std::string text;
    std::string message;
  } cases[] = {
      {"[store]\nurl = \"rediss://host\"\ntls = { ca = \"nowhere.pem\" }\n",
       "cannot use ca \"nowhere.pem\": No such file or directory"},
      {"[store]\nkind = \"tape\"\n", "kind"},
      {"[defaults.rate_limit]\nrate = \"100/s\"\n", "not in this version"},
      {"[defaults.concurrency]\nmax = 10\n", "not in this version"},
  };
  for (const auto& one : cases) {
    const CommandResult result = Commands(one.text + good).run("validate");
    CAPTURE(one.text);
    CAPTURE(result.error);
    CHECK(result.exit_code == 1);
    CHECK(result.error.find(one.message) != std::string::npos);
  }
}

TEST_CASE("the environment fills a string; without a default it must be there") {
  const Commands commands(
      "[upstream.app]\nendpoints = [\"http://${HOST_OF_APP}:${PORT_OF_APP:-3000}\"]\n"
      "[[route]]\nrespond = { body = \"$$5 and $x\" }\n");
  CHECK(commands.run("validate", {}, {{"HOST_OF_APP", "127.0.0.1"}}).exit_code == 0);
  const CommandResult missing = commands.run("validate");
  CHECK(missing.exit_code == 1);
  CHECK(missing.error.find("HOST_OF_APP") != std::string::npos);
  CHECK(missing.error.find(":2:") != std::string::npos);
}

TEST_CASE("explain names the route and where each value comes from") {
  const Commands commands(good);
  const CommandResult result =
      commands.run("explain", {"GET", "http://a.example/x", "-H", "X-A: 1"});
  CHECK(result.exit_code == 0);
  CHECK(matches(result.output, "main"));
  CHECK(matches(result.output, "total.*3s.*:6"));
  CHECK(matches(result.output, "connect.*1s.*default"));
  CHECK(matches(result.output, "attempts.*3.*default"));
  CHECK(matches(result.output, "min_requests.*20.*default"));
}

TEST_CASE("explain says when no route takes the request") {
  const Commands commands("[[route]]\nmatch = { host = \"b.example\" }\nrespond = {}\n");
  const CommandResult result = commands.run("explain", {"GET", "http://a.example/x"});
  CHECK(result.output.find("no-route") != std::string::npos);
}

TEST_CASE("version names the program, its commit, compiler and libraries") {
  const CommandResult result = run_holdfast({"version"});
  CHECK(result.exit_code == 0);
  for (const std::string word : {"holdfast", "libuv", "llhttp", "OpenSSL"}) {
    CAPTURE(word);
    CHECK(result.output.find(word) != std::string::npos);
  }
  CHECK(matches(result.output, "(?i)(gcc|g\\+\\+|clang)"));
  CHECK(matches(result.output, "[0-9]+\\.[0-9]+\\.[0-9]+"));
}

TEST_CASE("wrong usage is 2, with a word on stderr") {
  const std::vector<std::vector<std::string>> usages{
      {}, {"nonsense"}, {"run"}, {"validate"}, {"run", "--config"}, {"version", "--no-such-flag"}};
  for (const auto& words : usages) {
    const CommandResult result = run_holdfast(words);
    CHECK(result.exit_code == 2);
    CHECK_FALSE(result.error.empty());
  }
}

TEST_CASE("run with a configuration that is wrong or not there ends with 1") {
  CHECK(Commands("[[route]]\nupstream = \"none\"\n").run("run").exit_code == 1);
  const CommandResult missing = run_holdfast({"run", "--config", "/nonexistent/holdfast.toml"});
  CHECK(missing.exit_code == 1);
  CHECK(missing.error.find("/nonexistent/holdfast.toml") != std::string::npos);
}

TEST_CASE("run with a port that is taken ends with 3 and names it") {
  const ListeningSocket taken("127.0.0.1:0");
  const std::string admin = "127.0.0.1:" + std::to_string(free_port());
  for (const bool admin_is_taken : {false, true}) {
    CAPTURE(admin_is_taken);
    const std::string listen = admin_is_taken ? admin : taken.address();
    const Commands commands("[server]\nworkers = 2\n[admin]\nlisten = \"" +
                            (admin_is_taken ? taken.address() : admin) +
                            "\"\n[[listener]]\nlisten = \"" + listen + "\"\n" + good);
    const CommandResult result = commands.run("run");
    CHECK(result.exit_code == 3);
    CHECK(result.error.find(taken.address()) != std::string::npos);
  }
}

TEST_CASE("ready is 0 for a running instance and 1 for none") {
  Holdfast holdfast(good);
  const std::vector<std::string> command{"ready", "--config", holdfast.config_path()};
  CHECK(run_holdfast(command).exit_code == 0);
  CHECK(holdfast.stop() == 0);
  CHECK(run_holdfast(command).exit_code == 1);
}
