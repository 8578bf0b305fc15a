#include "holdfast/store/record_checksum.h"

#include <algorithm>

namespace holdfast::store {
namespace {

Checksum beginning_of(const Digest& digest) {
  Checksum checksum;
  std::copy_n(digest.begin(), checksum.size(), checksum.begin());
  return checksum;
}

std::string_view in_bytes(const std::int64_t& number) {
  return {reinterpret_cast<const char*>(&number), sizeof number};
}

std::int64_t to_number(policy::StoreTime time) {
  return time.time_since_epoch().count();
}

}  // namespace

Checksum checksum_of_record(const Digest& id, const policy::Record& record, std::int64_t size) {
  Digester fields;
  fields.field(bytes_of(id)).field(record.token).field(bytes_of(record.fingerprint));
  fields.field(record.reason);
  for (const std::int64_t number :
       {static_cast<std::int64_t>(record.state), std::int64_t{record.attempt},
        to_number(record.lease_until), to_number(record.since), to_number(record.expires),
        std::int64_t{record.status}, size}) {
    fields.field(in_bytes(number));
  }
  return beginning_of(fields.finish());
}

Checksum checksum_of_answer(const Digest& id, const policy::Record& record) {
  Digester fields;
  fields.field(bytes_of(id)).field(record.headers).field(record.body);
  return beginning_of(fields.finish());
}

}  // namespace holdfast::store
