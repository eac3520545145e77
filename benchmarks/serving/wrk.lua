-- POSTs the bodies of a file, one a line, in turn: wrk … -s wrk.lua URL -- FILE
-- At the end one line of JSON: requests, seconds, errors by kind, latencies in milliseconds.
local requests, next_request = {}, 0

function init(args)
  for body in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format("POST", nil, nil, body)
  end
end

function request()
  next_request = next_request % #requests + 1
  return requests[next_request]
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "seconds": %.6f, "p50": %.4f, "p90": %.4f, "p99": %.4f, "max": %.4f, ' ..
    '"refused": %d, "broken": %d, "not_2xx": %d}\n',
    summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(90) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3,
    errors.connect, errors.read + errors.write + errors.timeout, errors.status))
end
