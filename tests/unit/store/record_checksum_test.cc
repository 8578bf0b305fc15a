#include "holdfast/store/record_checksum.h"

#include <doctest/doctest.h>

#include <functional>
#include <vector>

namespace holdfast::store {
namespace {

using policy::Milliseconds;
using policy::Record;

TEST_CASE("every field has its part in one of the two checksums") {
  const Digest id{1};
  const Record record;
  const std::vector<std::function<void(Record&)>> of_record = {
      [](Record& r) { r.state = policy::RecordState::completed; },
      [](Record& r) { r.token = "t"; },
      [](Record& r) { r.fingerprint[31] = 1; },
      [](Record& r) { r.reason = "t"; },
      [](Record& r) { r.attempt = 7; },
      [](Record& r) { r.lease_until += Milliseconds(1); },
      [](Record& r) { r.since += Milliseconds(1); },
      [](Record& r) { r.expires += Milliseconds(1); },
      [](Record& r) { r.status = 1; },
  };
  const std::vector<std::function<void(Record&)>> of_answer = {
      [](Record& r) { r.headers = "a"; },
      [](Record& r) { r.body = "a"; },
  };
  std::vector<Checksum> seen = {checksum_of_record(id, record, 0),
                                checksum_of_record(id, record, 1),
                                checksum_of_record(Digest{2}, record, 0)};
  for (const auto& change : of_record) {
    Record other = record;
    change(other);
    seen.push_back(checksum_of_record(id, other, 0));
    CHECK(checksum_of_answer(id, other) == checksum_of_answer(id, record));
  }
  seen.push_back(checksum_of_answer(id, record));
  seen.push_back(checksum_of_answer(Digest{2}, record));
  for (const auto& change : of_answer) {
    Record other = record;
    change(other);
    seen.push_back(checksum_of_answer(id, other));
    CHECK(checksum_of_record(id, other, 0) == checksum_of_record(id, record, 0));
  }
  for (std::size_t i = 0; i < seen.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) CHECK(seen[i] != seen[j]);
  }
}

}  // namespace
}  // namespace holdfast::store
