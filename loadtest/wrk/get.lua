-- The plainest request there is, for loadtest/first-look:  wrk -s get.lua URL
-- Anything but 200 is counted apart, and the run says so: a fast error is no result.
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init()
  bad = 0
  wrk.headers["Accept"] = "*/*"
  wrk.headers["User-Agent"] = "wrk"
end

function response(status)
  if status ~= 200 then bad = bad + 1 end
end

-- One line for a shell to read: requests, bad answers, requests a second, p99 in ms.
function done(summary, latency)
  local total_bad = summary.errors.connect + summary.errors.read + summary.errors.write +
                    summary.errors.timeout
  for _, thread in ipairs(threads) do total_bad = total_bad + thread:get("bad") end
  print(string.format("result %d %d %.0f %.2f", summary.requests, total_bad,
                      summary.requests / (summary.duration / 1e6), latency:percentile(99) / 1000))
end
