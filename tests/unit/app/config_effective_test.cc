#include "holdfast/app/config_effective.h"

#include <doctest/doctest.h>

#include <string>

#include "tests/unit/app/config_support.h"

namespace holdfast::app {

TEST_CASE("the effective configuration holds every default, in the form of the file") {
  const Json json = effective_config(load(with_route("timeout = { total = \"3s\" }\n")));
  CHECK(json["server"]["workers"] == "auto");
  CHECK(json["server"]["min_body_rate"] == "240B/s");
  CHECK(json["server"]["max_target_bytes"] == "16KiB");
  CHECK(json["server"]["max_body_bytes"] == "off");
  CHECK(json["log"]["level"] == "info");
  CHECK(json["admin"]["listen"] == "127.0.0.1:8471");
  CHECK(json["listener"][0]["name"] == "listener-1");
  const Json& upstream = json["upstream"]["app"];
  CHECK(upstream["endpoints"][0]["url"] == "http://127.0.0.1:3000");
  CHECK(upstream["balance"] == "least_request");
  CHECK(upstream["pool"]["max_requests"] == "off");
  CHECK(upstream["breaker"]["failures"] == Json({"connect", "reset", "timeout", "5xx"}));
  const Json& route = json["route"][0];
  CHECK(route["name"] == "route-1");
  CHECK(route["match"] == Json::object());
  CHECK(route["timeout"]["total"] == "3s");
  CHECK(route["timeout"]["per_try"] == "off");
  CHECK(route["retry"]["on"] == Json({"connect", "reset", "502", "503", "504"}));
  CHECK(route["retry"]["backoff"]["jitter"] == "full");
  CHECK(route["fallback"] == Json::array());
  const Json& idempotency = route["idempotency"];
  CHECK(idempotency["enabled"] == false);
  CHECK(idempotency["methods"] == Json({"POST"}));
  CHECK(idempotency["namespace"] == "route-1");
  CHECK(idempotency["scope"] == Json({"authorization"}));
  CHECK(idempotency["ttl"] == "24h");
  CHECK(idempotency["in_flight_wait"] == "off");
  CHECK(idempotency["max_response_bytes"] == "1MiB");
  CHECK(idempotency.size() == 22);
  CHECK(json["store"]["kind"] == "local");
  CHECK(json["store"]["path"].get<std::string>().ends_with("/holdfast.db"));
  CHECK(json["store"]["timeout"] == "100ms");
  CHECK(json["store"].size() == 11);
}

TEST_CASE("the store's URL is shown without user and password") {
  const auto shown = [](const std::string& url) {
    const LoadedConfig loaded =
        load("[store]\nkind = \"redis\"\nurl = \"" + url + "\"\n", {{"SECRET", "s3cret"}});
    CHECK(effective_json(loaded).find("s3cret") == std::string::npos);
    return effective_config(loaded)["store"]["url"].get<std::string>();
  };
  CHECK(shown("redis://s3cret:s3cret@127.0.0.1:6380/2") == "redis://127.0.0.1:6380/2");
  CHECK(shown("redis://:s3cret@h") == "redis://h:6379/0");
  CHECK(shown("redis://:${SECRET}@h") == "[redacted]");
}

TEST_CASE("the TLS of the store is shown where it is used") {
  const auto shown = [](const std::string& url) {
    return effective_config(load("[store]\nkind = \"redis\"\nurl = \"" + url + "\"\n"))["store"];
  };
  CHECK(shown("redis://h").count("tls") == 0);
  CHECK(shown("rediss://h")["tls"] ==
        Json{{"ca", ""}, {"server_name", ""}, {"verify", true}, {"cert", ""}, {"key", ""}});
}

TEST_CASE("every word of idempotency is written as the file has it") {
  const Json json = effective_config(load(with_route(
      "idempotency = { scope = [\"header:X-Tenant\", \"authorization\"], in_flight_wait = \"1s\", "
      "missing_key = \"generate\", fingerprint = \"body\", record = \"no_5xx\", "
      "upstream_honours_key = true }\n")));
  const Json& idempotency = json["route"][0]["idempotency"];
  CHECK(idempotency["scope"] == Json({"header:x-tenant", "authorization"}));
  CHECK(idempotency["in_flight_wait"] == "1s");
  CHECK(idempotency["missing_key"] == "generate");
  CHECK(idempotency["fingerprint"] == "body");
  CHECK(idempotency["record"] == "no_5xx");
  CHECK(idempotency["on_unknown"] == "reexecute");
  CHECK(effective_config(load(with_route(
            "idempotency = { scope = [\"none\"] }\n")))["route"][0]["idempotency"]["scope"] ==
        Json({"none"}));
}

TEST_CASE("secrets are redacted: credentials by their header, and what the environment gave") {
  const std::string document = R"(
[upstream.app]
endpoints = ["http://${TARGET}:80"]
[[route]]
upstream = "app"
match = { headers = { Authorization = "Basic s3cret", X-Tier = "gold" } }
[route.rewrite.set_headers]
X-Api-Key = "s3cret"
X-Auth-Token = "s3cret"
"A/b~c" = "${KEY}"
Plain = "shown"
[[route.fallback]]
headers = { Set-Cookie = "s3cret" }
body = "${KEY}"
[[route]]
match = { path = "/${KEY}" }
respond = { headers = { Cookie = "s3cret" }, body = "${KEY:-default}" }
)";
  // "A/b~c" is no header's name: it is here to see that such a key is refused before it can be
  // shown.
  CHECK(refuses(document, "is no header's name"));
  std::string right = document;
  right.replace(right.find("A/b~c"), 5, "A~b|c");
  const LoadedConfig loaded = load(right, {{"TARGET", "s3cret.local"}, {"KEY", "s3cret"}});
  const std::string text = effective_json(loaded);
  CHECK(text.find("s3cret") == std::string::npos);
  CHECK(text.find("shown") != std::string::npos);
  CHECK(text.find("gold") != std::string::npos);
  CHECK(routes_json(loaded).find("s3cret") == std::string::npos);

  const Json json = effective_config(loaded);
  CHECK(json["upstream"]["app"]["endpoints"][0] == "[redacted]");
  CHECK(json["route"][0]["rewrite"]["set_headers"]["A~b|c"] == "[redacted]");
  CHECK(json["route"][1]["match"]["path"] == "[redacted]");
}

TEST_CASE("conditions are told as groups and classes where all of it is listed") {
  const Json json = effective_config(
      load(with_route("retry = { on = [\"4xx\", \"429\", \"500\", \"open\"] }\n")));
  CHECK(json["route"][0]["retry"]["on"] == Json({"open", "4xx", "500"}));
}

TEST_CASE("a long body is told by its size, and bytes that are not UTF-8 do no harm") {
  const std::string document = "[[route]]\nrespond = { body = \"${BODY}${BODY2:-x}\" }\n";
  const LoadedConfig loaded =
      load("[[route]]\nrespond = { body = \"" + std::string(2000, 'x') + "\" }\n");
  CHECK(effective_config(loaded)["route"][0]["respond"]["body"] == "(2000 bytes)");
  CHECK_FALSE(effective_json(load(document, {{"BODY", "\xff"}})).empty());
  CHECK(to_text(Json("\xff"), -1) == "\"\xEF\xBF\xBD\"");
}

TEST_CASE("/routes tells what each route matches and who answers") {
  const LoadedConfig loaded =
      load(with_route("match = { path_prefix = \"/v1\", methods = [\"GET\"] }\n"
                      "[[route]]\nrespond = { status = 404 }\n"));
  CHECK(Json::parse(routes_json(loaded)) == Json::parse(R"([
    {"name": "route-1", "match": {"path_prefix": "/v1", "methods": ["GET"]}, "upstream": "app"},
    {"name": "route-2", "match": {}, "respond": {"status": 404, "headers": {}, "body": ""}}
  ])"));
}

}  // namespace holdfast::app
