-- The plainest request there is:  wrk -s get.lua URL
-- The status of an answer is left to wrk, which counts those of 400 and above: a function of ours
-- for each answer would make wrk the slowest part of a fast chain.
local folder = debug.getinfo(1, "S").source:match("^@(.*/)") or ""
dofile(folder .. "report.lua")

wrk.headers["Accept"] = "*/*"
wrk.headers["User-Agent"] = "wrk"
