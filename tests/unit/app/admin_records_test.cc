#include "holdfast/app/admin_records.h"

#include <doctest/doctest.h>

#include <string>

namespace holdfast::app {
namespace {

const std::string id_text = "00ff" + std::string(60, 'a');
const Digest id = [] {
  Digest digest;
  digest.fill(0xaa);
  digest[0] = 0x00;
  digest[1] = 0xff;
  return digest;
}();

std::string error_of(const std::string& body) {
  const auto resolution = parse_resolution(body);
  return resolution ? "" : resolution.error();
}

}  // namespace

TEST_CASE("an id is 64 hexadecimal digits, and nothing near it") {
  for (const std::string& text :
       {std::string(), id_text.substr(1), id_text + "a", "0x" + id_text.substr(2),
        "-0" + id_text.substr(2), "+1" + id_text.substr(2), " 0" + id_text.substr(2),
        id_text.substr(1) + "g", id_text.substr(1) + " "}) {
    CAPTURE(text);
    CHECK_FALSE(parse_record_id(text));
  }
  CHECK(parse_record_id(id_text) == id);
  CHECK(parse_record_id("00FF" + std::string(60, 'A')) == id);
  CHECK(parse_record_id(hex(Digest{})) == Digest{});
}

TEST_CASE("a page has every member, null where a state has no such thing") {
  policy::Verdict verdict;
  verdict.kind = policy::Verdict::Kind::absent;
  CHECK(record_page(id, verdict) == "{\n  \"id\": \"" + id_text +
                                        "\",\n"
                                        "  \"state\": \"absent\",\n"
                                        "  \"age_ms\": null,\n"
                                        "  \"attempt\": null,\n"
                                        "  \"lease_left_ms\": null,\n"
                                        "  \"status\": null,\n"
                                        "  \"reason\": null,\n"
                                        "  \"location\": null,\n"
                                        "  \"etag\": null\n}\n");
  // A store's text that no store of ours has written is not passed on.
  verdict.kind = policy::Verdict::Kind::completed;
  verdict.status = 200;
  verdict.headers = "Location: /a\nETag";
  const std::string page = record_page(id, verdict);
  CHECK(page.find("\"location\": null") != std::string::npos);
  CHECK(page.find("\"status\": 200") != std::string::npos);
}

TEST_CASE("a resolution is an id and one of two outcomes") {
  const std::string of_id = R"({"id":")" + id_text + R"(","outcome":)";
  for (const std::string& body :
       {std::string(), std::string("{}"), std::string("null"), of_id,
        R"({"id":")" + id_text + R"("})", of_id + R"("executed","more":1})"}) {
    CAPTURE(body);
    CHECK(error_of(body) == "The body is a JSON object with \"id\" and \"outcome\".");
  }
  for (const std::string body :
       {R"({"id":"abc","outcome":"executed"})", R"({"id":1,"outcome":"executed"})",
        R"({"key":"a","outcome":"executed"})"}) {
    CAPTURE(body);
    CHECK(error_of(body) == "\"id\" is a record's id: 64 hexadecimal digits.");
  }
  for (const std::string outcome : {"\"\"", "\"Executed\"", "true", "null"}) {
    CAPTURE(outcome);
    CHECK(error_of(of_id + outcome + "}") == "\"outcome\" is \"executed\" or \"not_executed\".");
  }
  for (const bool executed : {true, false}) {
    const auto resolution =
        parse_resolution(of_id + (executed ? "\"executed\"}" : "\"not_executed\"}"));
    REQUIRE(resolution);
    CHECK(resolution->id == id);
    CHECK(resolution->executed == executed);
  }
}

TEST_CASE("what was resolved is kept as long as the longest key, and no less than a day") {
  proxy::Config config;
  CHECK(resolved_ttl(config) == std::chrono::hours(24));
  config.routes.resize(2);
  config.routes[0].idempotency.enabled = true;
  config.routes[0].idempotency.ttl = std::chrono::hours(1);
  config.routes[1].idempotency.ttl = std::chrono::hours(100);  // not enabled
  CHECK(resolved_ttl(config) == std::chrono::hours(24));
  config.routes[1].idempotency.enabled = true;
  CHECK(resolved_ttl(config) == std::chrono::hours(100));
}

}  // namespace holdfast::app
