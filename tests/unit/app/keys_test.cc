#include "holdfast/app/keys.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "holdfast/app/admin_records.h"
#include "holdfast/policy/idempotency_key.h"
#include "tests/unit/app/config_support.h"

namespace holdfast::app {
namespace {

using policy::Milliseconds;
using policy::Verdict;

const proxy::Config& config() {
  static const LoadedConfig loaded = load(
      "[upstream.app]\nendpoints = [\"http://127.0.0.1:3000\"]\n"
      "[[route]]\nname = \"plain\"\nupstream = \"app\"\nmatch = { path = \"/plain\" }\n"
      "[[route]]\nname = \"charge\"\nupstream = \"app\"\nmatch = { path = \"/charge\" }\n"
      "idempotency = { enabled = true, methods = [\"POST\", \"PATCH\"] }\n"
      "[[route]]\nname = \"tenants\"\nupstream = \"app\"\nmatch = { path = \"/tenants\" }\n"
      "idempotency = { enabled = true, namespace = \"shared\", scope = [\"header:X-Tenant\", "
      "\"authorization\"], scope_missing = \"reject\" }\n"
      "[[route]]\nname = \"open\"\nupstream = \"app\"\n"
      "idempotency = { enabled = true, scope = [\"none\"] }\n");
  return *loaded.config;
}

KeyQuestion asked(std::string route, std::string key, std::vector<std::string> scope = {},
                  std::string method = "POST") {
  return {"", std::move(route), std::move(key), std::move(scope), std::move(method)};
}

KeyQuestion by_id(std::string id) {
  KeyQuestion question;
  question.id = std::move(id);
  return question;
}

std::string error_of(const KeyQuestion& question) {
  const auto id = record_id_of(config(), question);
  return id ? "" : id.error();
}

/// The id as a request with these fields has it.
Digest id_of_request(const std::string& route_name, std::string_view method, std::string_view key,
                     std::string_view authorization, std::string_view tenant) {
  for (const proxy::RouteConfig& route : config().routes) {
    if (route.name != route_name) continue;
    const auto values_of = [&](std::string_view field) {
      const std::string_view value = field == "authorization" ? authorization : tenant;
      return value.empty() ? std::vector<std::string_view>() : std::vector{value};
    };
    const policy::Scope scope = policy::scope_of(route.idempotency.scope, values_of);
    return policy::record_id(route.idempotency.name_space, scope.digest, method, key);
  }
  FAIL("no such route");
  return {};
}

RecordView view_of(Verdict verdict) {
  verdict.attempt = 2;
  const auto view = parse_record_page(record_page(Digest{}, verdict));
  REQUIRE(view);
  return *view;
}

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a question that has no record says why") {
  struct Case {
    KeyQuestion question;
    std::string_view says;
  };
  const std::vector<Case> cases = {
      {by_id("00ff"), "64 hexadecimal digits"},
      {by_id(std::string(64, 'x')), "64 hexadecimal digits"},
      {asked("nowhere", "k"), "there is no route \"nowhere\""},
      {asked("plain", "k"), "route \"plain\" keeps no records"},
      {asked("charge", "k", {}, "PUT"), "keeps no records of PUT: idempotency.methods has POST, P"},
      {asked("charge", ""), "--key is no key: empty"},
      {asked("charge", "a b"), "--key is no key: charset"},
      {asked("charge", std::string(256, 'k')), "--key is no key: length"},
      {asked("charge", "k", {"a", "b"}), "has 1 sources of scope (authorization), and --scope"},
      {asked("open", "k", {"a"}), "has 0 sources of scope"},
      {asked("tenants", "k"), "takes no key without x-tenant and authorization: give --scope"},
      {asked("tenants", "k", {"t"}), "takes no key without x-tenant and authorization"},
  };
  for (const Case& one : cases) {
    CAPTURE(error_of(one.question));
    CHECK(contains(error_of(one.question), one.says));
  }
}

TEST_CASE("the id is the one that the request has") {
  const auto id = [](const KeyQuestion& question) {
    return record_id_of(config(), question).value();
  };
  CHECK(id(asked("charge", "k")) == id_of_request("charge", "POST", "k", "", ""));
  CHECK(id(asked("charge", "\"k\"")) == id_of_request("charge", "POST", "k", "", ""));
  CHECK(id(asked("charge", "k", {"Bearer x"})) ==
        id_of_request("charge", "POST", "k", "Bearer x", ""));
  CHECK(id(asked("charge", "k", {" Bearer x "})) ==
        id_of_request("charge", "POST", "k", "Bearer x", ""));
  CHECK(id(asked("charge", "k", {}, "PATCH")) == id_of_request("charge", "PATCH", "k", "", ""));
  CHECK(id(asked("tenants", "k", {"t", "Bearer x"})) ==
        id_of_request("tenants", "POST", "k", "Bearer x", "t"));
  CHECK(id(asked("open", "k")) == id_of_request("open", "POST", "k", "ignored", "ignored"));
  CHECK(id(asked("charge", "k")) != id(asked("charge", "k", {""})));

  const Digest some = id(asked("charge", "k"));
  CHECK(id(by_id(hex(some))) == some);
}

TEST_CASE("what is no record is not taken for one") {
  for (const std::string text : {"", "[]", "{}", "{\"id\":\"a\"}", "{\"id\":1,\"state\":\"gone\"}",
                                 "<html>", "{\"state\":\"gone\"}"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_record_page(text));
  }
  const auto strange = parse_record_page(R"({"id":"a","state":"gone","age_ms":"x","status":null})");
  REQUIRE(strange);
  CHECK(strange->age == Milliseconds(0));
  CHECK(strange->status == 0);
}

TEST_CASE("each state says what a client sees and what to do") {
  Verdict unknown;
  unknown.kind = Verdict::Kind::unknown;
  unknown.reason = "reset";
  unknown.age = Milliseconds(133'000);
  const std::string text = describe(view_of(unknown), "a.toml");
  CAPTURE(text);
  CHECK(contains(text, "state      unknown: nobody knows"));
  CHECK(contains(text, "reason     reset\n"));
  CHECK(contains(text, "age        2m 13s since it was claimed\n"));
  CHECK(contains(text, "attempt    2\n"));
  CHECK(contains(text, "gets 409 outcome-unknown"));
  const std::string command = "holdfast keys resolve --config a.toml --id " + std::string(64, '0');
  CHECK(contains(text, command + " --outcome executed\n"));
  CHECK(contains(text, command + " --outcome not_executed\n"));
  CHECK_FALSE(contains(text, "status"));

  Verdict inflight;
  inflight.kind = Verdict::Kind::inflight;
  inflight.lease_left = Milliseconds(12'300);
  CHECK(contains(describe(view_of(inflight), ""), "it reads unknown in 12.3s at the latest"));

  Verdict completed;
  completed.kind = Verdict::Kind::completed;
  completed.status = 201;
  completed.headers = "Location: /charges/7\r\n";
  completed.age = Milliseconds(0);
  const std::string done = describe(view_of(completed), "");
  CHECK(contains(done, "status     201\nlocation   /charges/7\n"));
  CHECK(contains(done, "age        0.0s since it was settled\n"));
  CHECK(contains(done, "the stored answer, 201, with Idempotent-Replayed: true"));

  Verdict gone;
  gone.kind = Verdict::Kind::gone;
  gone.reason = "resolved";
  CHECK(
      contains(describe(view_of(gone), ""), "409 result-unavailable; it is never executed again"));
}

TEST_CASE("a time is told in the two units that matter") {
  struct Case {
    std::int64_t milliseconds;
    std::string_view words;
  };
  for (const Case one :
       {Case{0, "0.0s"}, Case{59'949, "59.9s"}, Case{60'000, "1m 0s"}, Case{3'599'999, "59m 59s"},
        Case{3'600'000, "1h 0m"}, Case{86'399'999, "23h 59m"}, Case{86'400'000, "1d 0h"},
        Case{180'000'000, "2d 2h"}}) {
    Verdict verdict;
    verdict.kind = Verdict::Kind::gone;
    verdict.age = Milliseconds(one.milliseconds);
    const std::string text = describe(view_of(verdict), "");
    CAPTURE(text);
    CHECK(contains(text, "age        " + std::string(one.words) + " since"));
  }
}

TEST_CASE("nobody to ask is the machine's refusal, and a wrong question is not asked") {
  const LoadedConfig off =
      load("[admin]\nlisten = \"off\"\n" + with_route("idempotency = { enabled = true }\n"));
  const KeyReport unasked = keys_show(*off.config, "f", by_id(std::string(64, '0')));
  CHECK(unasked.exit_code == 1);
  CHECK(unasked.text == "error: admin.listen is \"off\"\n");

  const LoadedConfig nobody = load("[admin]\nlisten = \"unix:/nonexistent/x.sock\"\n" +
                                   with_route("idempotency = { enabled = true }\n"));
  const KeyReport refused = keys_resolve(*nobody.config, by_id(std::string(64, '0')), true);
  CHECK(refused.exit_code == 3);
  CHECK(contains(refused.text, "No such file or directory"));
  CHECK(keys_resolve(*nobody.config, by_id("short"), true).exit_code == 1);
}

}  // namespace holdfast::app
