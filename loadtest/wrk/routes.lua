-- GETs of /route-1/ to /route-N/ in turn:  wrk -s routes.lua URL -- N
local folder = debug.getinfo(1, "S").source:match("^@(.*/)") or ""
dofile(folder .. "report.lua")

local requests = {}
local last = 0

function init(arguments)
  for i = 1, tonumber(arguments[1] or "1") do
    requests[i] = wrk.format("GET", "/route-" .. i .. "/")
  end
end

function request()
  last = last % #requests + 1
  return requests[last]
end
