// Bodies of problems: JSON with the members that were given, whatever bytes they are made of.
#include <nlohmann/json.hpp>
#include <string>

#include "holdfast/http/idempotency_problem.h"
#include "holdfast/http/problem.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace holdfast;
  using namespace holdfast::fuzz;
  Input input(data, size);
  const std::string_view request_id = input.line();
  const std::string_view reason = input.line();
  const std::string_view detail = input.rest();

  std::string body;
  http::append_problem_json(body, "bad_request", "Title", 400, detail, request_id);
  const auto problem = nlohmann::json::parse(body, nullptr, false);
  promise(problem.is_object() && problem.size() == 5, "a problem has five members");
  promise(problem["type"] == "urn:problem-type:holdfast:bad-request", "its type is its name");

  const auto kind = static_cast<http::IdempotencyProblem>(
      size % (static_cast<std::size_t>(http::IdempotencyProblem::capacity) + 1));
  std::string keyed;
  http::append_idempotency_problem(keyed, kind, http::status_of(kind), request_id,
                                   {reason, detail, 201});
  const auto told = nlohmann::json::parse(keyed, nullptr, false);
  promise(told.is_object() && told["code"] == http::name(kind), "a problem says its code");
  return 0;
}
