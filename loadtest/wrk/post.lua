-- POSTs, which are never retried blindly:  wrk -s post.lua URL [-- BYTES]
-- With BYTES the body is that long; without, it is a small JSON.
local folder = debug.getinfo(1, "S").source:match("^@(.*/)") or ""
dofile(folder .. "report.lua")

function init(arguments)
  local bytes = tonumber(arguments[1])
  wrk.method = "POST"
  wrk.body = bytes and string.rep("x", bytes) or '{"amount":1200,"currency":"EUR"}'
  wrk.headers["Content-Type"] = bytes and "application/octet-stream" or "application/json"
end
