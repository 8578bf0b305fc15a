-- A mix as a small service sees it:  wrk -s mixed.lua URL
-- Of twenty requests sixteen are GETs of a small answer, one is a GET of 16 KiB, and three are POSTs,
-- one of them under an Idempotency-Key of its own. Always in the same order.
local folder = debug.getinfo(1, "S").source:match("^@(.*/)") or ""
dofile(folder .. "report.lua")

local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

local sent = 0
local small, large, post
local body = '{"amount":1200,"currency":"EUR"}'
local prefix

function init(arguments)
  small = wrk.format("GET", "/")
  large = wrk.format("GET", "/bytes/16384")
  wrk.headers["Content-Type"] = "application/json"
  post = wrk.format("POST", "/", nil, body)
  prefix = os.time() .. "-" .. number .. "-"
end

function request()
  sent = sent + 1
  local turn = sent % 20
  if turn == 5 then return large end
  if turn == 10 or turn == 15 then return post end
  if turn ~= 0 then return small end
  wrk.headers["Idempotency-Key"] = prefix .. sent
  return wrk.format("POST", "/", nil, body)
end
