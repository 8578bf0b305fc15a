// The command line. Exit codes: 0 done, 1 the configuration or the input is wrong, 2 wrong usage, 3
// the machine refused.
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "holdfast/app/config_loader.h"
#include "holdfast/app/explain.h"
#include "holdfast/app/keys.h"
#include "holdfast/app/machine.h"
#include "holdfast/app/ready.h"
#include "holdfast/app/server.h"
#include "holdfast/http/parser_version.h"
#include "holdfast/net/tls_version.h"
#include "holdfast/runtime/event_loop_version.h"
#include "holdfast_version.h"

namespace holdfast::app {
namespace {

constexpr int exit_done = 0;
constexpr int exit_wrong_input = 1;
constexpr int exit_wrong_usage = 2;

/// Of `holdfast keys resolve --outcome`; the first says that it was.
const std::vector<std::string> outcomes = {"executed", "not_executed"};

struct Arguments {
  std::string config_path;
  ExplainRequest explain;
  KeyQuestion key;
  std::string outcome;
};

void print(std::FILE* stream, const std::string& text) {
  std::fputs(text.c_str(), stream);
}

std::string compiler() {
#if defined(__clang__)
  return "clang " __clang_version__;
#else
  return "g++ " __VERSION__;
#endif
}

/// The configuration, with its warnings on stderr; or nothing, with its errors there.
std::optional<LoadedConfig> load(const std::string& path) {
  auto loaded = load_config(path, process_environment());
  if (!loaded) {
    print(stderr, loaded.error().render());
    return std::nullopt;
  }
  print(stderr, loaded->warnings);
  return std::move(loaded).value();
}

int validate(const Arguments& arguments) {
  const auto loaded = load(arguments.config_path);
  if (!loaded) return exit_wrong_input;
  const proxy::Config& config = *loaded->config;
  std::printf("%s: ok (%zu listeners, %zu upstreams, %zu routes)\n", arguments.config_path.c_str(),
              config.listeners.size(), config.upstreams.size(), config.routes.size());
  return exit_done;
}

int explain_request(const Arguments& arguments) {
  const auto loaded = load(arguments.config_path);
  if (!loaded) return exit_wrong_input;
  const auto explanation = explain(*loaded, arguments.config_path, arguments.explain);
  if (!explanation) {
    print(stderr, "error: " + explanation.error() + "\n");
    return exit_wrong_input;
  }
  print(stdout, *explanation);
  return exit_done;
}

int ready(const Arguments& arguments) {
  const auto loaded = load_config(arguments.config_path, process_environment());
  if (!loaded) {
    print(stderr, loaded.error().render());
    return exit_wrong_input;
  }
  const auto& admin = loaded->config->admin.listen;
  if (!admin) {
    print(stderr, "not ready: admin.listen is \"off\" in " + arguments.config_path + "\n");
    return exit_wrong_input;
  }
  const auto answer = ask_ready(admin->address);
  if (answer) return exit_done;
  print(stderr, "not ready: " + admin->text + ": " + answer.error() + "\n");
  return exit_wrong_input;
}

/// Says what `holdfast keys` has found out.
int tell(const KeyReport& report) {
  print(report.exit_code == exit_done ? stdout : stderr, report.text);
  return report.exit_code;
}

int keys_show(const Arguments& arguments) {
  const auto loaded = load(arguments.config_path);
  if (!loaded) return exit_wrong_input;
  return tell(app::keys_show(*loaded->config, arguments.config_path, arguments.key));
}

int keys_resolve(const Arguments& arguments) {
  const auto loaded = load(arguments.config_path);
  if (!loaded) return exit_wrong_input;
  const bool executed = arguments.outcome == outcomes[0];
  return tell(app::keys_resolve(*loaded->config, arguments.key, executed));
}

int version() {
  std::printf("holdfast %s\ncommit %s\ncompiler %s\nlibuv %s\nllhttp %s\nOpenSSL %s\n",
              HOLDFAST_VERSION, HOLDFAST_COMMIT, compiler().c_str(),
              runtime::libuv_version().c_str(), http::llhttp_version().c_str(),
              net::openssl_version().c_str());
  return exit_done;
}

CLI::App* add_command(CLI::App& app, const char* name, const char* does, Arguments& arguments) {
  CLI::App* command = app.add_subcommand(name, does);
  command->add_option("--config", arguments.config_path, "the configuration file")
      ->required()
      ->type_name("FILE");
  return command;
}

/// A command about one record: by its id, or by the route and the key.
CLI::App* add_key_command(CLI::App& keys, const char* name, const char* does,
                          Arguments& arguments) {
  KeyQuestion& question = arguments.key;
  CLI::App* command = add_command(keys, name, does, arguments);
  CLI::Option* id = command->add_option("--id", question.id, "the record's id, from a problem's id")
                        ->type_name("HEX");
  CLI::Option* route =
      command->add_option("--route", question.route, "the route's name")->type_name("NAME");
  CLI::Option* key = command->add_option("--key", question.key, "the key, as the client sent it")
                         ->type_name("KEY")
                         ->needs(route);
  route->needs(key);
  command
      ->add_option("--scope", question.scope,
                   "the value of what the route's scope names (Authorization unless set); once for "
                   "each, in its order")
      ->type_name("VALUE")
      ->allow_extra_args(false)
      ->needs(key);
  command->add_option("--method", question.method, "the request's method, POST unless given")
      ->needs(key);
  id->excludes(key);
  command->final_callback([id, key] {
    if (id->empty() && key->empty()) throw CLI::RequiredError("--id, or --route and --key");
  });
  return command;
}

int main(int argc, char** argv) {
  CLI::App app(
      "holdfast, a sidecar proxy: timeouts, retries, circuit breakers and fallbacks from one file");
  app.require_subcommand(1);
  Arguments arguments;
  const CLI::App* run_command =
      add_command(app, "run", "Run in the foreground; SIGHUP reloads, SIGTERM drains", arguments);
  const CLI::App* validate_command =
      add_command(app, "validate", "Check a configuration and report every error", arguments);
  CLI::App* explain_command = add_command(
      app, "explain", "Say which route takes a request, and what then holds", arguments);
  explain_command->add_option("METHOD", arguments.explain.method, "the request's method")
      ->required();
  explain_command
      ->add_option("URL", arguments.explain.url,
                   "http://host/path, or /path; for CONNECT host:port")
      ->required();
  explain_command->add_option("-H,--header", arguments.explain.headers, "a header, 'Name: value'")
      ->allow_extra_args(false);
  explain_command->add_option("--listener", arguments.explain.listener,
                              "the listener it comes in at");
  const CLI::App* ready_command =
      add_command(app, "ready", "Ask the running instance whether it is ready", arguments);
  CLI::App* keys_command =
      app.add_subcommand("keys", "Look at an idempotency record, or say what became of it");
  keys_command->require_subcommand(1);
  const CLI::App* show_command = add_key_command(
      *keys_command, "show", "Tell what became of a key, and what to do next", arguments);
  CLI::App* resolve_command = add_key_command(
      *keys_command, "resolve", "Say whether an unknown outcome was executed", arguments);
  resolve_command->add_option("--outcome", arguments.outcome, "what the upstream's records say")
      ->required()
      ->check(CLI::IsMember(outcomes));
  const CLI::App* version_command =
      app.add_subcommand("version", "Print the version, and those of the libraries");

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? exit_done : exit_wrong_usage;
  }
  if (*run_command) return run({arguments.config_path, HOLDFAST_VERSION, HOLDFAST_COMMIT});
  if (*validate_command) return validate(arguments);
  if (*explain_command) return explain_request(arguments);
  if (*ready_command) return ready(arguments);
  if (*show_command) return keys_show(arguments);
  if (*resolve_command) return keys_resolve(arguments);
  return *version_command ? version() : exit_wrong_usage;
}

}  // namespace
}  // namespace holdfast::app

int main(int argc, char** argv) {
  holdfast::app::occupy_standard_descriptors();
  return holdfast::app::main(argc, argv);
}
