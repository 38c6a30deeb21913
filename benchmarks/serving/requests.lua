-- For wrk: sends the bodies in the file RECSIM_BENCH_BODIES, one per line, in turns; prints one line of JSON.
local bodies = {}
for line in io.lines(os.getenv("RECSIM_BENCH_BODIES")) do bodies[#bodies + 1] = line end
local at = 0

request = function()
  at = at % #bodies + 1
  return wrk.format("POST", nil, {["Content-Type"] = "application/json"}, bodies[at])
end

done = function(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "seconds": %.6f, "p50_ms": %.4f, "p99_ms": %.4f, "refused": %d, "broken": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
