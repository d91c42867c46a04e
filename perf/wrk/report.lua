-- Every window ends with this one line; perf/tools/wrk.py reads it. wrk's own text rounds and abbreviates.
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    "PERF requests=%d duration_us=%d bytes=%d connect=%d read=%d write=%d status=%d timeout=%d p50_us=%d p99_us=%d max_us=%d\n",
    summary.requests, summary.duration, summary.bytes, e.connect, e.read, e.write, e.status, e.timeout,
    latency:percentile(50), latency:percentile(99), latency.max))
end
