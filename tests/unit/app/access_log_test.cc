#include "holdfast/app/access_log.h"

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/capture_file.h"
#include "tests/support/golden.h"

using namespace holdfast;
using namespace holdfast::app;
using namespace std::chrono_literals;

namespace {

using proxy::ExchangeRecord;

ExchangeRecord forwarded() {
  ExchangeRecord record;
  record.route = 1;
  record.route_name = "charge";
  record.method = http::Method::post;
  record.method_text = "POST";
  record.path = "/v1/charges";
  record.status = 201;
  record.upstream = "payments";
  record.endpoint = "10.0.0.5:8443";
  record.attempts = 2;
  record.breaker = "closed";
  record.bytes_in = 318;
  record.bytes_out = 18446744073709551615u;
  record.request_id = "0190163d-8694-739b-aea5-966c26f8ad91";
  record.trace_id = "4bf92f3577b34da6a3ce929d0e0e4736";
  record.client = "127.0.0.1";
  record.started = WallTime(1767323045678ms);
  record.duration = 1234567ns;
  return record;
}

ExchangeRecord failed() {
  ExchangeRecord record = forwarded();
  record.status = 503;
  record.endpoint = "";
  record.attempts = 0;
  record.error = "destination_unavailable";
  record.breaker = "open";
  record.trace_id = "";
  record.duration = 999ns;
  return record;
}

ExchangeRecord keyed() {
  ExchangeRecord record = forwarded();
  record.idempotency = "replayed";
  record.idempotency_id = "0123456789ab";
  record.attempts = 0;
  return record;
}

ExchangeRecord fallen_back() {
  ExchangeRecord record = forwarded();
  record.status = 200;
  record.error = "http_response_timeout";
  record.breaker = "half_open";
  record.fallback = true;
  record.duration = 15s + 1us;
  return record;
}

ExchangeRecord refused() {
  ExchangeRecord record;
  record.method_text = "BREW";
  record.path = "/";
  record.status = 404;
  record.error = "http_request_error";
  record.request_id = "r1";
  record.client = "unix";
  return record;
}

ExchangeRecord gone() {
  ExchangeRecord record = forwarded();
  record.status = 0;
  record.client = "2001:db8::7";
  return record;
}

ExchangeRecord nothing_known() {
  return {};
}

ExchangeRecord hostile() {
  ExchangeRecord record = forwarded();
  record.method = http::Method::other;
  record.method_text = "M\"X";
  record.path =
      "/a\",\"status\":200,\"x\":\"\\\n{\"time\":\"\x01\x1b[31m\x7f\xff\xc3\x28\xe2\x82\xac";
  record.request_id = "id=1 status=200\r\n";
  record.trace_id = "-";
  return record;
}

std::vector<ExchangeRecord> typical() {
  return {forwarded(), failed(), keyed(),         fallen_back(),
          refused(),   gone(),   nothing_known(), hostile()};
}

std::string typical_lines() {
  std::string text;
  for (const ExchangeRecord& record : typical()) append_access_line(text, record);
  return text;
}

/// What an AccessLog writes to its descriptor.
std::string written(const proxy::LogConfig& config, const std::vector<ExchangeRecord>& records) {
  testing::CaptureFile file;
  {
    LogSink sink(file.fd());
    AccessLog log(sink, config);
    for (const ExchangeRecord& record : records) log.write(record);
  }
  return file.text();
}

std::string all_lines(const std::vector<ExchangeRecord>& records) {
  std::string text;
  for (const ExchangeRecord& record : records) append_access_line(text, record);
  return text;
}

}  // namespace

TEST_CASE("typical and hostile requests") {
  testing::check_golden("access.jsonl", typical_lines());
}

TEST_CASE("every JSON line has the members of the contract in its order") {
  const std::vector<std::string> members = {
      "time",        "route",       "method",         "path",     "status",
      "duration_ms", "upstream",    "endpoint",       "attempts", "error",
      "breaker",     "idempotency", "idempotency_id", "fallback", "bytes_in",
      "bytes_out",   "request_id",  "trace_id",       "client"};
  for (const ExchangeRecord& record : typical()) {
    std::string line;
    append_access_line(line, record);
    std::vector<std::string> keys;
    const auto json = nlohmann::ordered_json::parse(line);
    for (const auto& item : json.items()) keys.push_back(item.key());
    CHECK(keys == members);
  }
}

TEST_CASE("no text from outside leaves its member or its line") {
  rc::check([](const std::string& path, const std::string& request_id) {
    ExchangeRecord record = forwarded();
    record.path = path;
    record.request_id = request_id;
    std::string line;
    append_access_line(line, record);
    RC_ASSERT(line.find('\n') == line.size() - 1);
    const auto json = nlohmann::json::parse(line);
    RC_ASSERT(json.size() == 19u);
    RC_ASSERT(json["status"] == 201);
  });
}

TEST_CASE("`access` says which requests are written") {
  ExchangeRecord not_found = forwarded();
  not_found.status = 404;  // the upstream's own answer
  ExchangeRecord upstream_failed = forwarded();
  upstream_failed.status = 500;
  ExchangeRecord cut_short = forwarded();
  cut_short.error = "http_response_incomplete";

  const std::vector<ExchangeRecord> fine = {forwarded(), not_found};
  const std::vector<ExchangeRecord> bad = {failed(), fallen_back(),   refused(),
                                           gone(),   upstream_failed, cut_short};
  std::vector<ExchangeRecord> every = fine;
  every.insert(every.end(), bad.begin(), bad.end());

  proxy::LogConfig config;
  CHECK(written(config, every) == all_lines(every));
  config.access = proxy::AccessLog::errors;
  CHECK(written(config, every) == all_lines(bad));
  config.access = proxy::AccessLog::off;
  CHECK(written(config, every) == "");
}

TEST_CASE(
    "a reload changes the choice for the next line; the format of the other log is no matter") {
  testing::CaptureFile file;
  std::string expected;
  {
    LogSink sink(file.fd());
    proxy::LogConfig config;
    AccessLog log(sink, config);
    log.write(forwarded());
    append_access_line(expected, forwarded());
    config.format = LogFormat::text;
    config.access = proxy::AccessLog::errors;
    log.configure(config);
    log.write(forwarded());
    log.write(failed());
    append_access_line(expected, failed());
  }
  CHECK(file.text() == expected);
}
