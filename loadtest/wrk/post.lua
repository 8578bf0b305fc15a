-- A small POST, which is never retried blindly:  wrk -s post.lua URL
wrk.method = "POST"
wrk.body = '{"amount":1200,"currency":"EUR"}'
wrk.headers["Content-Type"] = "application/json"
