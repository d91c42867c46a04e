-- A new connection for each request.
dofile("perf/wrk/report.lua")
wrk.headers["Connection"] = "close"
