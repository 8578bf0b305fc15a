#include "holdfast/store/redis_scripts.h"

#include <string_view>

#include "holdfast/base/assert.h"

namespace holdfast::store {
namespace {

using policy::Command;

/// Numbers go through '%.0f': Lua would write a large one as 1e+12.
constexpr std::string_view head = R"(
local R = KEYS[1]
local function text(number) return string.format('%.0f', number) end
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local function since(t) return text(now - (tonumber(t) or now)) end
)";

/// What became of a record, for whoever knows its request. h = {v, s, k, f, a, l, r}
constexpr std::string_view outcome = R"(
local function read() return redis.call('HMGET', R, 'v', 's', 'k', 'f', 'a', 'l', 'r') end
local function corrupt(h)
  return h[1] ~= '1' or not h[2] or not h[3]
    or (h[2] ~= 'R' and (not tonumber(h[5]) or (h[2] == 'I' and not tonumber(h[6]))))
end
local function lease_over(h) return h[2] == 'I' and tonumber(h[6]) <= now end
local function outcome(h)
  if h[2] == 'C' then
    local c = redis.call('HMGET', R, 'st', 'hd', 'bd', 't')
    return {'COMPLETED', c[1], c[2], c[3], since(c[4])}
  end
  if h[2] == 'G' then
    local c = redis.call('HMGET', R, 'st', 'hd', 't')
    return {'GONE', c[1], c[2], h[7], since(c[3])}
  end
  if lease_over(h) then return {'UNKNOWN', 'lease_expired'} end
  if h[2] == 'I' then return {'INFLIGHT', text(tonumber(h[6]) - now)} end
  return {'UNKNOWN', h[7]}
end
)";

// ARGV: token fingerprint lease_ms ttl_ms reexecute(0|1)
constexpr std::string_view claim = R"(
local function start(attempt)
  redis.call('HSET', R, 'v', '1', 's', 'I', 'k', ARGV[1], 'f', ARGV[2], 'a', attempt,
             'l', text(now + tonumber(ARGV[3])), 't', text(now))
  redis.call('PEXPIRE', R, ARGV[4])
  return {'ACQUIRED', text(attempt)}
end
local function start_over(attempt)
  redis.call('DEL', R)
  return start(attempt)
end
if redis.call('EXISTS', R) == 0 then return start(1) end
local h = read()
if corrupt(h) then return {'CORRUPT'} end
if h[2] == 'R' then
  if h[3] == ARGV[1] then return {'REVOKED'} end
  return start_over(1)
end
if h[2] == 'I' and h[3] == ARGV[1] then return {'ACQUIRED', h[5]} end
if h[4] ~= ARGV[2] then return {'MISMATCH', h[2]} end
if lease_over(h) then
  h[2] = 'U'
  h[7] = 'lease_expired'
  if ARGV[5] ~= '1' then redis.call('HSET', R, 's', 'U', 'r', h[7]) end
end
if h[2] == 'U' and ARGV[5] == '1' then return start_over(tonumber(h[5]) + 1) end
return outcome(h)
)";

// ARGV: fingerprint
constexpr std::string_view peek = R"(
if redis.call('EXISTS', R) == 0 then return {'ABSENT'} end
local h = read()
if corrupt(h) then return {'CORRUPT'} end
if h[2] == 'R' then return {'ABSENT'} end
if h[4] ~= ARGV[1] then return {'MISMATCH', h[2]} end
return outcome(h)
)";

constexpr std::string_view inspect = R"(
if redis.call('EXISTS', R) == 0 then return {'ABSENT'} end
local h = read()
if corrupt(h) then return {'CORRUPT'} end
if h[2] == 'R' then return {'ABSENT'} end
local c = redis.call('HMGET', R, 'st', 'hd', 't')
local left = '0'
if lease_over(h) then
  h[2] = 'U'
  h[7] = 'lease_expired'
elseif h[2] == 'I' then
  left = text(tonumber(h[6]) - now)
end
if h[2] ~= 'U' and h[2] ~= 'G' then h[7] = false end
return {'RECORD', h[2], h[5], since(c[3]), left, c[1], c[2], h[7]}
)";

// ARGV: executed(0|1) ttl_ms
constexpr std::string_view resolve = R"(
if redis.call('EXISTS', R) == 0 then return {'ABSENT'} end
local h = read()
if corrupt(h) then return {'CORRUPT'} end
if h[2] == 'R' then return {'ABSENT'} end
if h[2] ~= 'U' and not lease_over(h) then return {'REFUSED', h[2]} end
if ARGV[1] ~= '1' then
  redis.call('DEL', R)
  return {'ABSENT'}
end
redis.call('HSET', R, 's', 'G', 'st', '0', 'hd', '', 'r', 'resolved', 't', text(now))
redis.call('PEXPIRE', R, ARGV[2])
return {'GONE', '0', '', 'resolved', '0'}
)";

// ARGV: token fingerprint lease_ms ttl_ms attempt
constexpr std::string_view renew = R"(
local k = redis.call('HMGET', R, 'k', 's')
if not k[1] then
  redis.call('HSET', R, 'v', '1', 's', 'I', 'k', ARGV[1], 'f', ARGV[2], 'a', ARGV[5],
             'l', text(now + tonumber(ARGV[3])), 't', text(now))
  redis.call('PEXPIRE', R, ARGV[4])
  return {'REASSERTED'}
end
if k[1] ~= ARGV[1] or k[2] == 'R' then return {'FENCED'} end
if k[2] == 'C' or k[2] == 'G' then return {'DONE'} end
redis.call('HSET', R, 's', 'I', 'l', text(now + tonumber(ARGV[3])))
return {'OK'}
)";

// ARGV: token fingerprint ttl_ms status headers attempt body
constexpr std::string_view complete = R"(
local k = redis.call('HMGET', R, 'k', 's')
if k[2] == 'R' or (k[1] and k[1] ~= ARGV[1]) then return {'FENCED'} end
if k[2] == 'C' or k[2] == 'G' then return {'ALREADY'} end
redis.call('HSET', R, 'v', '1', 's', 'C', 'k', ARGV[1], 'f', ARGV[2], 'a', ARGV[6],
           'st', ARGV[4], 'hd', ARGV[5], 'bd', ARGV[7], 't', text(now))
redis.call('PEXPIRE', R, ARGV[3])
return {k[1] and 'OK' or 'REASSERTED'}
)";

// ARGV: token fingerprint ttl_ms status headers attempt reason
constexpr std::string_view tombstone = R"(
local k = redis.call('HMGET', R, 'k', 's')
if k[2] == 'R' or (k[1] and k[1] ~= ARGV[1]) then return {'FENCED'} end
if k[2] == 'C' or k[2] == 'G' then return {'ALREADY'} end
redis.call('HSET', R, 'v', '1', 's', 'G', 'k', ARGV[1], 'f', ARGV[2], 'a', ARGV[6],
           'st', ARGV[4], 'hd', ARGV[5], 'r', ARGV[7], 't', text(now))
redis.call('PEXPIRE', R, ARGV[3])
return {'OK'}
)";

// ARGV: token remember_ms
// The token stays behind: this owner's own claim or renewal may still be on its way.
constexpr std::string_view release = R"(
local k = redis.call('HMGET', R, 'k', 's')
if k[1] and k[1] ~= ARGV[1] then return {'FENCED'} end
if k[2] == 'C' or k[2] == 'G' then return {'DONE'} end
redis.call('DEL', R)
redis.call('HSET', R, 'v', '1', 's', 'R', 'k', ARGV[1])
redis.call('PEXPIRE', R, ARGV[2])
return {'OK'}
)";

// ARGV: token reason
constexpr std::string_view mark_unknown = R"(
local k = redis.call('HMGET', R, 'k', 's')
if not k[1] then return {'ABSENT'} end
if k[1] ~= ARGV[1] then return {'FENCED'} end
if k[2] ~= 'I' then return {'ALREADY'} end
redis.call('HSET', R, 's', 'U', 'r', ARGV[2])
return {'OK'}
)";

/// What a script may do where others may not.
enum class Needs { memory, no_memory, no_writes };

struct Script {
  Needs needs;
  bool reads_outcome;
  std::string_view body;
};

Script script_of(Command command) {
  switch (command) {
    case Command::claim:
      return {Needs::memory, true, claim};
    case Command::peek:
      return {Needs::no_writes, true, peek};
    case Command::renew:
      return {Needs::no_memory, false, renew};
    case Command::complete:
      return {Needs::memory, false, complete};
    case Command::tombstone:
      return {Needs::no_memory, false, tombstone};
    case Command::release:
      return {Needs::no_memory, false, release};
    case Command::mark_unknown:
      return {Needs::no_memory, false, mark_unknown};
    case Command::inspect:
      return {Needs::no_writes, true, inspect};
    case Command::resolve:
      return {Needs::no_memory, true, resolve};
  }
  HOLDFAST_ASSERT(false);
  return {};
}

std::string_view first_line(Needs needs) {
  switch (needs) {
    case Needs::no_memory:
      return "#!lua flags=allow-oom\n";
    case Needs::no_writes:
      return "#!lua flags=no-writes\n";
    case Needs::memory:
      break;
  }
  return "#!lua\n";
}

/// A write that changes nothing: no record has a field of this name.
constexpr std::string_view harmless_write = "redis.call('HDEL', KEYS[1], '')\n";

}  // namespace

std::string redis_script(policy::Command command, int major_version) {
  const Script script = script_of(command);
  std::string text;
  if (major_version >= 7) {
    text = first_line(script.needs);
  } else if (script.needs == Needs::no_memory) {
    text = harmless_write;
  }
  text += head;
  if (script.reads_outcome) text += outcome;
  text += script.body;
  return text;
}

}  // namespace holdfast::store
