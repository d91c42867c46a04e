-- 16 requests leave in one write; wrk waits for all 16 answers.
dofile("perf/wrk/report.lua")
function init(args)
  local one = wrk.format("GET", "/")
  sixteen = string.rep(one, 16)
end
function request()
  return sixteen
end
