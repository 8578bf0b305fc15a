// What an operator does about keys: the admin pages, `holdfast keys`, metrics and logs, against the
// real binary.
#include <utility>

#include "tests/support/keyed_setup.h"

using namespace holdfast::testing;

namespace {

/// `holdfast keys COMMAND` about the record of this key at the route "main", sent by alice.
CommandResult keys(const Holdfast& holdfast, const std::string& command, const std::string& key,
                   const std::vector<std::string>& more = {}) {
  std::vector<std::string> words = {"keys",    command, "--config", holdfast.config_path(),
                                    "--route", "main",  "--key",    key,
                                    "--scope", "alice"};
  words.insert(words.end(), more.begin(), more.end());
  return run_holdfast(words);
}

CommandResult resolve(const Holdfast& holdfast, const std::string& key,
                      const std::string& outcome) {
  return keys(holdfast, "resolve", key, {"--outcome", outcome});
}

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

/// A holdfast over a local store that was killed while this key was being executed, and runs again.
class KilledInFlight {
 public:
  explicit KilledInFlight(const std::string& key) : holdfast_(KeyedSetup("local").to(app_)) {
    RawClient client = holdfast_.client();
    client.send(request_text("POST", "/charges", with_key(key), "amount=1"));
    REQUIRE(app_.wait_for_requests(1));
    holdfast_.signal(SIGKILL);
    holdfast_.process().wait_for_exit();
    holdfast_.ended_as_expected();
    holdfast_.start_again();
    app_.answer(reply(201, "charged"));
  }
  const Holdfast& holdfast() const { return holdfast_; }
  const ScriptedUpstream& app() const { return app_; }
  Response repeat(const std::string& key) const {
    return holdfast_.post("/charges", "amount=1", with_key(key));
  }

 private:
  ScriptedUpstream app_{never_answer()};
  Holdfast holdfast_;
};

}  // namespace

TEST_SUITE("a record that nobody knows the outcome of") {
  TEST_CASE("it is found by its key or its id, and says what to do") {
    const KilledInFlight killed("k");
    const Holdfast& holdfast = killed.holdfast();
    const Response refused = killed.repeat("k");
    CHECK(refused.status == 409);
    const std::string id = nlohmann::json::parse(refused.body)["id"];

    const CommandResult by_key = keys(holdfast, "show", "k");
    CAPTURE(by_key.output);
    CHECK(by_key.exit_code == 0);
    CHECK(by_key.error.empty());
    CHECK(contains(by_key.output, "id         " + id + "\n"));
    CHECK(contains(by_key.output, "state      unknown: "));
    CHECK(contains(by_key.output, "reason     crash\n"));
    CHECK(contains(by_key.output, "--outcome not_executed\n"));

    const CommandResult by_id =
        run_holdfast({"keys", "show", "--config", holdfast.config_path(), "--id", id});
    CHECK(by_id.exit_code == 0);
    CHECK(contains(by_id.output, "state      unknown: "));

    const auto page = nlohmann::json::parse(holdfast.admin("/idempotency/" + id).body);
    CHECK(page["state"] == "unknown");
    CHECK(page["reason"] == "crash");
    CHECK(page["attempt"] == 1);

    CHECK(killed.app().request_count() == 1);
    const auto line = holdfast.wait_access_log(1);
    CHECK(line["idempotency"] == "unknown");
    CHECK(line["idempotency_id"] == id.substr(0, 12));
  }

  TEST_CASE("executed: it is never executed again") {
    const KilledInFlight killed("k");
    const CommandResult resolved = resolve(killed.holdfast(), "k", "executed");
    CHECK(resolved.exit_code == 0);
    CHECK(contains(resolved.output, "is resolved as executed"));
    const Response refused = killed.repeat("k");
    CHECK(refused.status == 409);
    CHECK(code_of(refused) == "result-unavailable");
    CHECK(killed.app().request_count() == 1);
    CHECK(contains(keys(killed.holdfast(), "show", "k").output, "state      gone: "));
    const auto line = killed.holdfast().wait_for_log("resolved by hand");
    REQUIRE(line);
    CHECK(contains(*line, R"("outcome":"executed")"));

    const CommandResult again = resolve(killed.holdfast(), "k", "not_executed");
    CHECK(again.exit_code == 1);
    CHECK(contains(again.error, "The record is gone; only an unknown outcome can be resolved."));
  }

  TEST_CASE("not executed: the next repetition executes it, once") {
    const KilledInFlight killed("k");
    CHECK(resolve(killed.holdfast(), "k", "not_executed").exit_code == 0);
    CHECK(keys(killed.holdfast(), "show", "k").exit_code == 1);
    CHECK(killed.repeat("k").status == 201);
    CHECK(killed.repeat("k").headers.get("Idempotent-Replayed") == "true");
    CHECK(killed.app().request_count() == 2);
    const CommandResult shown = keys(killed.holdfast(), "show", "k");
    CHECK(contains(shown.output, "state      completed: "));
    CHECK(contains(shown.output, "status     201\n"));
  }
}

TEST_SUITE("keys that are not there, and nobody to ask") {
  TEST_CASE("another scope, another method and another key are other records") {
    const ScriptedUpstream app(reply(201, "charged"));
    const Holdfast holdfast(KeyedSetup("memory").to(app, "methods = [\"POST\", \"PATCH\"]"));
    CHECK(holdfast.post("/charges", "", with_key("k")).status == 201);
    CHECK(keys(holdfast, "show", "k").exit_code == 0);
    CHECK(keys(holdfast, "show", "\"k\"").exit_code == 0);

    const CommandResult other_method = keys(holdfast, "show", "k", {"--method", "PATCH"});
    CHECK(other_method.exit_code == 1);
    CHECK(contains(other_method.error, "no record "));
    CHECK(contains(other_method.error, "see --method and --scope"));
    CHECK(keys(holdfast, "show", "K").exit_code == 1);
    CHECK(run_holdfast(
              {"keys", "show", "--config", holdfast.config_path(), "--route", "main", "--key", "k"})
              .exit_code == 1);
    CHECK(resolve(holdfast, "nobody", "executed").exit_code == 1);
  }

  TEST_CASE("a wrong command line is usage, and an instance that is gone a refusal") {
    const ScriptedUpstream app(reply(200));
    Holdfast holdfast(KeyedSetup("memory").to(app));
    const std::string& config = holdfast.config_path();
    for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
             {"keys"},
             {"keys", "show"},
             {"keys", "show", "--config", config},
             {"keys", "show", "--config", config, "--route", "main"},
             {"keys", "show", "--config", config, "--key", "k"},
             {"keys", "show", "--config", config, "--id", "x", "--route", "main", "--key", "k"},
             {"keys", "resolve", "--config", config, "--id", "x"},
             {"keys", "resolve", "--config", config, "--id", "x", "--outcome", "yes"}}) {
      const CommandResult result = run_holdfast(words);
      CAPTURE(result.error);
      CHECK(result.exit_code == 2);
    }
    CHECK(keys(holdfast, "show", "k").exit_code == 1);
    CHECK(holdfast.stop() == 0);
    const CommandResult gone = keys(holdfast, "show", "k");
    CHECK(gone.exit_code == 3);
    CHECK(contains(gone.error, "Connection refused"));
  }

  TEST_CASE("a Redis that is gone is said to be, by page, command and gauge") {
    const ScriptedUpstream app(reply(201, "charged"));
    KeyedSetup store("redis");
    const Holdfast holdfast(store.to(app));
    CHECK(holdfast.post("/charges", "", with_key("k")).status == 201);
    CHECK(keys(holdfast, "show", "k").exit_code == 0);
    CHECK(holdfast.metric("holdfast_idempotency_store_up") == 1);
    store.redis().kill();
    const CommandResult lost = keys(holdfast, "show", "k");
    CHECK(lost.exit_code == 3);
    CHECK(contains(lost.error, "unavailable"));
    CHECK(holdfast.wait_metric("holdfast_idempotency_store_up", {}, 0));
  }
}

TEST_SUITE("what the metrics say of a store") {
  TEST_CASE("its operations, its records and that it is this replica's alone") {
    for (const std::string kind : {"memory", "local", "redis"}) {
      CAPTURE(kind);
      const ScriptedUpstream app(reply(201, "charged"));
      const KeyedSetup store(kind);
      const Holdfast holdfast(store.to(app));
      CHECK(holdfast.post("/charges", "", with_key("k")).status == 201);
      const Metrics metrics = holdfast.metrics();
      const std::string operations = "holdfast_idempotency_store_op_seconds_count";
      CHECK(metrics.value(operations, {{"op", "claim"}}) == 1);
      CHECK(metrics.value(operations, {{"op", "complete"}}) == 1);
      CHECK(metrics.value("holdfast_idempotency_inflight") == 0);
      const bool shared = kind == "redis";
      CHECK(metrics.value("holdfast_idempotency_store_local") == (shared ? 0 : 1));
      CHECK(metrics.has("holdfast_idempotency_records") == !shared);
      if (shared) continue;
      CHECK(metrics.value("holdfast_idempotency_records", {{"state", "completed"}}) == 1);
      CHECK(metrics.value("holdfast_idempotency_store_bytes") > 0);
    }
  }

  TEST_CASE("no key, no scope and no path stands in them or in a log") {
    const ScriptedUpstream app(send_and_close(""));
    Holdfast holdfast(KeyedSetup("memory").to(app));
    CHECK(holdfast.post("/charges?q=hush-query", "", with_key("hush-key", "hush-scope")).status ==
          502);
    CHECK(holdfast.wait_for_log("idempotency: outcome unknown"));
    CHECK_FALSE(contains(holdfast.admin("/metrics").body, "hush"));
    for (const auto& line : holdfast.access_log()) CHECK_FALSE(contains(line.dump(), "hush"));
    CHECK_FALSE(holdfast.wait_for_log("hush", Milliseconds(0)));
  }

  TEST_CASE("where no route keeps records there is nothing to tell") {
    const ScriptedUpstream app(reply(200));
    const Holdfast holdfast(Setup{.endpoints = {app.url()}});
    for (const std::string& family : holdfast.metrics().families()) {
      CHECK_FALSE(family.starts_with("holdfast_idempotency"));
    }
    CHECK(holdfast.admin("/idempotency/" + std::string(64, '0')).status == 404);
  }
}
