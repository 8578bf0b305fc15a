// Checksums of records in a file: a disk may give back other bytes than it was given.
//
// What a record says and what it answers are summed up apart, as most operations need no answer.
// The id is in both, so that no record stands for another's key, and no answer for another's
// record.
//
// Contract: pure. The first 8 bytes of a SHA-256; against damage, not against somebody who writes
// into the file.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "holdfast/base/digest.h"
#include "holdfast/policy/idempotency.h"

namespace holdfast::store {

using Checksum = std::array<char, 8>;

/// Everything but the headers and the body; `size` as it is stored with it.
Checksum checksum_of_record(const Digest& id, const policy::Record& record, std::int64_t size);
/// The headers and the body.
Checksum checksum_of_answer(const Digest& id, const policy::Record& record);

inline std::string_view text_of(const Checksum& checksum) {
  return {checksum.data(), checksum.size()};
}

}  // namespace holdfast::store
