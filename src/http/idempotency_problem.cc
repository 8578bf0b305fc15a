#include "holdfast/http/idempotency_problem.h"

#include <iterator>

#include "holdfast/http/problem.h"

namespace holdfast::http {
namespace {

struct ProblemText {
  std::string_view name;
  int status;
  int first_status;
  std::string_view title;
  bool retry_same_key;
  bool safe_new_key;
  std::string_view detail;
};

// In the order of IdempotencyProblem.
constexpr ProblemText problems[] = {
    {"key-missing", 400, 400, "Idempotency-Key is missing", false, true,
     "This route takes a request only with a key that tells it from every other one. Nothing was "
     "sent on. Make a key, for example a UUID, and keep it for every repetition of this request."},
    {"key-invalid", 400, 400, "Idempotency-Key is not valid", false, true,
     "The key cannot be read in exactly one way; `reason` says why. Nothing was sent on. Send one "
     "field line with a key of visible ASCII characters, at most as long as the route allows."},
    {"scope-missing", 400, 400, "No identity to scope the Idempotency-Key", false, true,
     "A key counts within the identity of its caller, and this request carries none. Nothing was "
     "sent on. Send the request with the credentials that this route expects."},
    {"key-reused", 422, 422, "Idempotency-Key is already used", false, false,
     "This key was used before with another request: its method, path, query, content type or body "
     "differed. This one was not sent on. Repeat the first request unchanged, or find out what "
     "became of it before you use a new key."},
    {"in-progress", 409, 409, "A request is outstanding for this Idempotency-Key", true, false,
     "A request with the same key is being processed. Repeat it later with the same key."},
    {"outcome-unknown", 409, 502, "The outcome of the request is unknown", false, false,
     "The request was sent on and no complete answer came, so it may have taken effect. It is not "
     "sent again by itself. Ask the service what became of it, or its operator with this `id`; a "
     "new key could repeat the effect."},
    {"execution-pending", 504, 504, "The request is still being executed", true, false,
     "No answer came in the time allowed, and the execution goes on. Repeat the request later with "
     "the same key to get its result; a new key would execute it a second time."},
    {"result-unavailable", 409, 502, "The result cannot be replayed", false, false,
     "The request was executed, and its answer could not be kept; `original_status` and `reason` "
     "say what is known of it. It is not executed again. Ask the service for the result."},
    {"key-expired", 412, 412, "Idempotency-Key is too old", false, false,
     "The key is older than its record is kept, so it cannot be told whether it was used. Nothing "
     "was sent on. Find out what became of the first request before you use a new key."},
    {"request-too-large", 413, 413, "Request body too large for idempotent processing", false, true,
     "A keyed request is kept whole before it is sent on, and its body is larger than this route "
     "keeps. Nothing was sent on."},
    {"store-unavailable", 503, 503, "Idempotency store unavailable", true, false,
     "The records of keys cannot be reached, so it cannot be told whether this request was "
     "executed "
     "before. This one was not sent on. Repeat it later with the same key."},
    {"capacity", 503, 503, "Idempotency capacity exhausted", true, false,
     "There is no room at the moment for another keyed request. This one was not sent on. Repeat "
     "it "
     "later with the same key."},
};
static_assert(std::size(problems) == static_cast<std::size_t>(IdempotencyProblem::capacity) + 1);

const ProblemText& text_of(IdempotencyProblem problem) {
  return problems[static_cast<std::size_t>(problem)];
}

}  // namespace

std::string_view name(IdempotencyProblem problem) {
  return text_of(problem).name;
}
std::string_view title(IdempotencyProblem problem) {
  return text_of(problem).title;
}
int status_of(IdempotencyProblem problem) {
  return text_of(problem).status;
}
int first_status_of(IdempotencyProblem problem) {
  return text_of(problem).first_status;
}
bool retry_same_key(IdempotencyProblem problem) {
  return text_of(problem).retry_same_key;
}
bool safe_new_key(IdempotencyProblem problem) {
  return text_of(problem).safe_new_key;
}

void append_idempotency_problem(std::string& out, IdempotencyProblem problem, int status,
                                std::string_view request_id, const IdempotencyMembers& members) {
  const ProblemText& text = text_of(problem);
  ProblemWriter json(out, text.name, text.title, status, text.detail);
  json.text("code", text.name);
  json.boolean("retry_same_key", text.retry_same_key);
  json.boolean("safe_new_key", text.safe_new_key);
  if (!members.reason.empty()) json.text("reason", members.reason);
  if (!members.id.empty()) json.text("id", members.id);
  if (members.original_status != 0) json.number("original_status", members.original_status);
  json.finish(request_id);
}

}  // namespace holdfast::http
