-- 1 KiB up, the same 1 KiB down.
dofile("perf/wrk/report.lua")
wrk.method = "POST"
wrk.body = string.rep("x", 1024)
wrk.headers["Content-Type"] = "application/octet-stream"
