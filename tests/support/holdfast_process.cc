#include "tests/support/holdfast_process.h"

#include <doctest/doctest.h>
#include <signal.h>

#include <cstdlib>

namespace holdfast::testing {
namespace {

bool has_table(std::string_view text, std::string_view name) {
  return text.starts_with(name) || text.find("\n" + std::string(name)) != text.npos;
}

/// The first `listen = "…"` after the table's name.
std::string listen_address(const std::string& text, const std::string& table) {
  constexpr std::string_view key = "listen = \"";
  const auto found = text.find(key, text.find(table));
  if (found == text.npos) return "";
  const auto start = found + key.size();
  return text.substr(start, text.find('"', start) - start);
}

std::string quoted_list(const std::vector<std::string>& texts) {
  std::string list;
  for (const std::string& text : texts) list += (list.empty() ? "\"" : ", \"") + text + "\"";
  return "[" + list + "]";
}

}  // namespace

std::string Setup::text() const {
  std::string result = "[server]\n";
  if (server.find("workers") == server.npos) result += "workers = 1\n";
  result += server + "\n";
  result += "[upstream.app]\nendpoints = " + quoted_list(endpoints) + "\n" + upstream + "\n";
  result += "[[route]]\nname = \"main\"\nupstream = \"app\"\n" + route + "\n";
  return result + more + "\n";
}

std::string Holdfast::complete(std::string_view text) const {
  std::string result;
  if (!has_table(text, "[server]")) result += "[server]\nworkers = 1\n";
  if (!has_table(text, "[admin]")) result += "[admin]\nlisten = \"" + admin_address_ + "\"\n";
  if (!has_table(text, "[[listener]]")) {
    result += "[[listener]]\nname = \"main\"\nlisten = \"" + address_ + "\"\n";
  }
  return result + "\n" + std::string(text);
}

Holdfast::Holdfast(std::string_view text, RunOptions options)
    : address_("127.0.0.1:" + std::to_string(free_port())),
      admin_address_("127.0.0.1:" + std::to_string(free_port())) {
  for (const auto& [name, content] : options.files) folder_.write(name, content);
  write_config(text);
  const std::string whole = complete(text);
  address_ = listen_address(whole, "[[listener]]");
  admin_address_ = listen_address(whole, "[admin]");
  start(options);
}

void Holdfast::start(const RunOptions& options) {
  std::vector<std::string> command = options.under;
  for (const std::string& word :
       {holdfast_binary(), std::string("run"), std::string("--config"), config_path_}) {
    command.push_back(word);
  }
  process_ = std::make_unique<ChildProcess>(command, options.environment, options.standard_output);
  expect_clean_end_ = true;
  if (options.wait_until_ready) wait_until_ready();
}

Holdfast::~Holdfast() {
  if (!expect_clean_end_) return;
  if (process_->running()) process_->signal(SIGTERM);
  const auto code = process_->wait_for_exit(10s);
  const std::string log = process_->standard_error().text();
  CHECK_MESSAGE(code.has_value(), "holdfast did not end after SIGTERM; its stderr:\n" << log);
  if (code) CHECK_MESSAGE(*code == 0, "holdfast ended with " << *code << "; its stderr:\n" << log);
}

void Holdfast::wait_until_ready() {
  const bool ready = eventually([this] {
    if (!process_->running()) return true;
    try {
      return admin("/readyz").status == 200;
    } catch (const WireError&) {
      return false;
    }
  });
  if (!ready || !process_->running()) {
    FAIL("holdfast is not ready; its stderr:\n" << process_->standard_error().text());
  }
}

Headers Holdfast::headers_for_admin(const Headers& headers) {
  Headers all = headers;
  if (!all.has("Host")) all.add("Host", "localhost");
  return all;
}

Metrics Holdfast::metrics() const {
  const Response response = admin("/metrics");
  REQUIRE(response.status == 200);
  return Metrics(response.body);
}

bool Holdfast::wait_metric(std::string_view name, const Labels& labels, double expected) const {
  return eventually([&] { return metric(name, labels) == expected; });
}

std::string Holdfast::breaker_state(const std::string& upstream) const {
  const Metrics now = metrics();
  std::string states;
  for (const char* state : {"closed", "open", "half_open"}) {
    if (now.value("holdfast_breaker_state", {{"upstream", upstream}, {"state", state}}) == 1) {
      states += state;
    }
  }
  return states;
}

std::vector<nlohmann::json> Holdfast::access_log() const {
  std::vector<nlohmann::json> lines;
  for (const std::string& line : process_->standard_output().lines()) {
    lines.push_back(nlohmann::json::parse(line));
  }
  return lines;
}

nlohmann::json Holdfast::wait_access_log(std::size_t count) const {
  const bool came = eventually([&] { return process_->standard_output().lines().size() >= count; });
  REQUIRE_MESSAGE(came, "access log lines: " << process_->standard_output().text());
  return access_log().at(count - 1);
}

void Holdfast::write_config(std::string_view text) {
  config_path_ = folder_.write("holdfast.toml", complete(text));
}

bool Holdfast::reload(std::string_view text) {
  const auto outcome = [this] {
    const Metrics now = metrics();
    return std::pair(now.value("holdfast_config_generation"),
                     now.value("holdfast_config_last_reload_successful"));
  };
  const auto before = outcome();
  write_config(text);
  signal(SIGHUP);
  auto after = before;
  const bool seen = eventually([&] { return (after = outcome()) != before; });
  REQUIRE_MESSAGE(seen, "no reload was counted; stderr:\n" << process_->standard_error().text());
  return after.second == 1;
}

int Holdfast::stop() {
  signal(SIGTERM);
  return process_->wait_for_exit().value_or(-1);
}

#ifdef HOLDFAST_SANITIZED
const bool built_with_sanitizers = true;
#else
const bool built_with_sanitizers = std::getenv("HOLDFAST_SANITIZED") != nullptr;
#endif

std::string holdfast_binary() {
  const char* other = std::getenv("HOLDFAST_BINARY");
  return other != nullptr ? other : HOLDFAST_BINARY;
}

CommandResult run_holdfast(std::vector<std::string> arguments, const Environment& environment) {
  arguments.insert(arguments.begin(), holdfast_binary());
  return run_command(arguments, environment);
}

}  // namespace holdfast::testing
