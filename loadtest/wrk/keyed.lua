-- A small POST with an Idempotency-Key, for loadtest/keyed:  wrk -s keyed.lua URL -- PREFIX [COUNT]
-- Without COUNT every request has a new key; with it the keys 1 to COUNT come again and again.
-- Anything but 200 is counted apart, and the run says so.
local threads = {}

function setup(thread)
  thread:set("number", #threads)
  table.insert(threads, thread)
end

function init(args)
  bad = 0
  sent = 0
  prefix = (args[1] or "key") .. "-" .. number .. "-"
  count = tonumber(args[2] or "0")
  wrk.method = "POST"
  wrk.body = '{"amount":1200,"currency":"EUR"}'
  wrk.headers["Content-Type"] = "application/json"
  wrk.headers["Authorization"] = "account-1"
end

function request()
  sent = sent + 1
  local key = sent
  if count > 0 then key = sent % count end
  if prefix ~= "none-" .. number .. "-" then wrk.headers["Idempotency-Key"] = prefix .. key end
  return wrk.format()
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
