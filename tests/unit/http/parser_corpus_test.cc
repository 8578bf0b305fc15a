#include <doctest/doctest.h>

#include <string>
#include <string_view>

#include "tests/unit/http/parser_driver.h"

namespace holdfast::http {
namespace {

using namespace std::string_view_literals;
using test::Transcript;

enum class Outcome { complete, incomplete, refused };

struct RequestCase {
  std::string_view id;
  std::size_t completed;
  std::string_view problem;
  std::string_view bytes;
};

struct ResponseCase {
  std::string_view id;
  Method request_method;
  Outcome outcome;
  std::string_view bytes;
};

#include "tests/unit/http/parser_corpus.inc"

Outcome outcome_of(const Transcript& seen) {
  if (!seen.refusal.empty()) return Outcome::refused;
  return seen.incomplete ? Outcome::incomplete : Outcome::complete;
}

/// What one verdict consists of. How far the pieces of a refused message had come is not part of
/// it.
bool same_verdict(const Transcript& a, const Transcript& b) {
  return a.heads == b.heads && a.bodies == b.bodies && a.refusal == b.refusal &&
         a.incomplete == b.incomplete;
}

template <class Read>
void check_every_cut(const Transcript& whole, Read read) {
  CHECK(same_verdict(whole, read(test::byte_by_byte)));
  for (unsigned seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    CHECK(same_verdict(whole, read(test::random_cut(seed, 30))));
  }
}

}  // namespace

TEST_CASE("every known trick with a request has one verdict, however its bytes are cut") {
  for (const RequestCase& example : request_cases) {
    CAPTURE(example.id);
    const auto read = [&](const test::Cut& cut) { return test::read_requests(example.bytes, cut); };
    const Transcript whole = read(test::one_write);
    CHECK(whole.bodies.size() == example.completed);
    CHECK(whole.refusal == example.problem);
    check_every_cut(whole, read);
  }
}

TEST_CASE("every known trick with a response has one verdict, however its bytes are cut") {
  for (const ResponseCase& example : response_cases) {
    CAPTURE(example.id);
    const auto read = [&](const test::Cut& cut) {
      return test::read_response(example.bytes, cut, example.request_method, true);
    };
    const Transcript whole = read(test::one_write);
    CHECK(outcome_of(whole) == example.outcome);
    check_every_cut(whole, read);
  }
}

}  // namespace holdfast::http
