// The scripts that decide in Redis what policy::apply() decides elsewhere: one for each command, on
// one key, in one step that nothing can come between.
//
// A record is a hash: v (format, 1), s (state: I, C, G, U, R), k (token), f (fingerprint), a
// (attempt), l (end of the lease), t (since), and st, hd, bd, r (status, headers, body, reason).
// Times are milliseconds of Redis' own clock. The key expires at the record's end, never at its
// lease's.
//
// Contract: pure texts. Redis 7 reads in the first line what a script may do when memory is full
// (owners may still say what became of their record) or on a replica. An older Redis knows no such
// line: what must work in full memory begins with a write that needs none, for Redis lets a script
// that has written go on. Source: the project's specification of idempotency, §4 and §8.
#pragma once

#include <array>
#include <cstddef>
#include <string>

#include "holdfast/policy/idempotency.h"

namespace holdfast::store {

inline constexpr std::size_t command_count = static_cast<std::size_t>(policy::Command::resolve) + 1;

/// Before version 5 the time of a script could not be trusted to its replicas.
inline constexpr int oldest_redis = 5;

/// `major_version` of the Redis that will run it.
std::string redis_script(policy::Command command, int major_version);

/// What a connection knows of the scripts: their texts, and the names Redis gave them.
struct RedisScripts {
  std::array<std::string, command_count> text;
  std::array<std::string, command_count> sha;
};

}  // namespace holdfast::store
