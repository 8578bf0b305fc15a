#include "holdfast/http/idempotency_problem.h"

#include <doctest/doctest.h>

#include <set>
#include <string>
#include <string_view>

namespace holdfast::http {
namespace {

using Problem = IdempotencyProblem;

struct Row {
  Problem problem;
  std::string_view name;
  int status;
  int first_status;
  std::string_view title;
  bool retry_same_key;
  bool safe_new_key;
};

constexpr Row rows[] = {
    {Problem::key_missing, "key-missing", 400, 400, "Idempotency-Key is missing", false, true},
    {Problem::key_invalid, "key-invalid", 400, 400, "Idempotency-Key is not valid", false, true},
    {Problem::scope_missing, "scope-missing", 400, 400, "No identity to scope the Idempotency-Key",
     false, true},
    {Problem::key_reused, "key-reused", 422, 422, "Idempotency-Key is already used", false, false},
    {Problem::in_progress, "in-progress", 409, 409,
     "A request is outstanding for this Idempotency-Key", true, false},
    {Problem::outcome_unknown, "outcome-unknown", 409, 502, "The outcome of the request is unknown",
     false, false},
    {Problem::execution_pending, "execution-pending", 504, 504,
     "The request is still being executed", true, false},
    {Problem::result_unavailable, "result-unavailable", 409, 502, "The result cannot be replayed",
     false, false},
    {Problem::key_expired, "key-expired", 412, 412, "Idempotency-Key is too old", false, false},
    {Problem::request_too_large, "request-too-large", 413, 413,
     "Request body too large for idempotent processing", false, true},
    {Problem::store_unavailable, "store-unavailable", 503, 503, "Idempotency store unavailable",
     true, false},
    {Problem::capacity, "capacity", 503, 503, "Idempotency capacity exhausted", true, false},
};

std::string body_of(Problem problem, const IdempotencyMembers& members = {}) {
  std::string body;
  append_idempotency_problem(body, problem, status_of(problem), "r-1", members);
  return body;
}

}  // namespace

TEST_CASE("each problem of idempotency is the one that the specification lists") {
  for (const Row& row : rows) {
    CAPTURE(row.name);
    CHECK(name(row.problem) == row.name);
    CHECK(status_of(row.problem) == row.status);
    CHECK(first_status_of(row.problem) == row.first_status);
    CHECK(title(row.problem) == row.title);
    CHECK(retry_same_key(row.problem) == row.retry_same_key);
    CHECK(safe_new_key(row.problem) == row.safe_new_key);
  }
}

TEST_CASE("no problem invites to both the same key and a new one") {
  for (const Row& row : rows) CHECK_FALSE((row.retry_same_key && row.safe_new_key));
}

TEST_CASE("a problem of idempotency is told member by member") {
  std::string out = "before ";
  append_idempotency_problem(out, Problem::in_progress, 409, "r-\"1\"");
  CHECK(out ==
        R"(before {"type":"urn:problem-type:holdfast:in-progress",)"
        R"("title":"A request is outstanding for this Idempotency-Key","status":409,)"
        R"("detail":"A request with the same key is being processed. Repeat it later with the )"
        R"(same key.","code":"in-progress","retry_same_key":true,"safe_new_key":false,)"
        R"("request_id":"r-\"1\""})");
}

TEST_CASE("members that only some problems have are left out when they are empty") {
  const std::string without = body_of(Problem::result_unavailable);
  for (const char* member : {"\"reason\"", "\"id\"", "\"original_status\""}) {
    CHECK(without.find(member) == std::string::npos);
  }
  CHECK(body_of(Problem::result_unavailable, {.reason = "too_large", .original_status = 201})
            .ends_with(R"("safe_new_key":false,"reason":"too_large","original_status":201,)"
                       R"("request_id":"r-1"})"));
  CHECK(body_of(Problem::outcome_unknown, {.reason = "reset", .id = "00ff"})
            .ends_with(R"("safe_new_key":false,"reason":"reset","id":"00ff","request_id":"r-1"})"));
}

TEST_CASE("the status is the caller's where a problem has two") {
  std::string out;
  append_idempotency_problem(out, Problem::outcome_unknown, 502, "r-1");
  CHECK(out.find("\"status\":502") != std::string::npos);
}

TEST_CASE("each detail is a text of its own") {
  std::set<std::string> details;
  for (const Row& row : rows) {
    const std::string body = body_of(row.problem);
    const std::size_t begin = body.find("\"detail\":\"") + 10;
    const std::string detail = body.substr(begin, body.find("\",\"code\"") - begin);
    CAPTURE(detail);
    CHECK(detail.size() > 40);
    CHECK(detail.ends_with('.'));
    CHECK(details.insert(detail).second);
  }
}

}  // namespace holdfast::http
