-- What the scripts beside this one share: the last line of a run, for a reader and for a shell:
--   result REQUESTS BAD REQUESTS_A_SECOND P50_MS P99_MS
-- BAD are the answers of 400 and above and the failures to connect, send, receive, or wait. A run
-- with bad answers is no measurement: an error may be fast.
function done(summary, latency)
  local errors = summary.errors
  local bad = errors.connect + errors.read + errors.write + errors.timeout + errors.status
  if bad > 0 then
    print(string.format("bad: connect %d, read %d, write %d, timeout %d, status %d", errors.connect,
                        errors.read, errors.write, errors.timeout, errors.status))
  end
  print(string.format("result %d %d %.0f %.3f %.3f", summary.requests, bad,
                      summary.requests / (summary.duration / 1e6),
                      latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
