-- A small POST with an Idempotency-Key:  wrk -s keyed.lua URL -- PREFIX [COUNT]
-- Without COUNT every request has a new key; with it the keys 1 to COUNT come again and again. The
-- PREFIX none leaves the key out.
local folder = debug.getinfo(1, "S").source:match("^@(.*/)") or ""
dofile(folder .. "report.lua")

local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

local sent = 0
local prefix, count

function init(arguments)
  prefix = (arguments[1] or "key") ~= "none" and (arguments[1] or "key") .. "-" .. number .. "-"
  count = tonumber(arguments[2] or "0")
  wrk.method = "POST"
  wrk.body = '{"amount":1200,"currency":"EUR"}'
  wrk.headers["Content-Type"] = "application/json"
  wrk.headers["Authorization"] = "account-1"
end

function request()
  sent = sent + 1
  local key = count > 0 and sent % count or sent
  if prefix then wrk.headers["Idempotency-Key"] = prefix .. key end
  return wrk.format()
end
